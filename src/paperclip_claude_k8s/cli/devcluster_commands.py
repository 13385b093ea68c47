"""`claude-k8s devcluster`: a development cluster that outlives the command that starts it.

`up` starts `serve` in the background. `serve` holds a lock for as long as it runs, which shows other commands
whether the cluster is up. `serve` also writes its pid to a file, so that `down` can end the process.
"""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_reply
from paperclip_claude_k8s.cli.options import (
    DEV_NAMESPACE,
    OptionsInvalid,
    check_claude,
    is_locked,
    running_devcluster,
)
from paperclip_claude_k8s.cli.runs.disk import REAL_DISK, private_opener
from paperclip_claude_k8s.cli.runs.replies import Reply, failure
from paperclip_claude_k8s.cli.runs.state import devcluster_folder, state_error

START_STOP_TIMEOUT = 20.0
"""Seconds within which the cluster must start, or stop with all its Pods."""
STAND_IN = "a stand-in, which replays a recorded session whatever the prompt is"
"""Describes what runs in Pods in place of the Claude CLI unless --claude is given."""
LOCK_CHECK_INTERVAL = 0.05
"""Seconds between two checks of whether the cluster is up."""


def up(claude: Path | None) -> int:
    """Start the cluster unless it is running, and print its kubeconfig, namespace and pid.

    Exit code 1: the cluster does not start. 2: the file `claude` does not exist.
    """
    folder = devcluster_folder(os.environ)
    try:
        check_claude(claude)
    except OptionsInvalid as invalid:
        return print_reply(failure("usage", str(invalid)), USAGE)
    if running_devcluster(os.environ) is None:
        try:
            _make_private_folder(folder)
            _start_serving(folder, claude)
        except OSError as error:
            stop = state_error(folder, error, "set CLAUDE_K8S_STATE_DIR to a folder")
            return print_reply(failure(stop.error, stop.detail), FAILED)
        asyncio.run(_wait_until(up=True))
    if running_devcluster(os.environ) is None:
        detail = f"the development cluster did not start; see {folder / 'log'}"
        return print_reply({"status": "failed", "error": "not_up", "detail": detail}, FAILED)
    return print_reply(_up_reply(folder), DONE)


def _start_serving(folder: Path, claude: Path | None) -> None:
    command = [
        sys.executable,
        "-P",  # imports no modules from the working folder
        "-m",
        "paperclip_claude_k8s",
        "devcluster",
        "serve",
    ]
    with open(folder / "log", "ab", opener=private_opener) as log:  # Path has no opener
        subprocess.Popen(  # noqa: S603  # this package
            [*command, *(["--claude", str(claude.absolute())] if claude else [])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def down() -> int:
    """Stop the cluster and all its Pods.

    Exit code 0: the cluster is stopped, even if it was not running. 1: it does not stop.
    """
    folder = devcluster_folder(os.environ)
    if is_locked(folder / "lock"):
        pid = _pid(folder)
        if pid is not None:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
            asyncio.run(_wait_until(up=False))
    if is_locked(folder / "lock"):
        detail = (
            f"the development cluster does not stop; end the process that holds a lock on {folder / 'lock'}"
        )
        return print_reply({"status": "failed", "error": "not_down", "detail": detail}, FAILED)
    return print_reply({"status": "down"}, DONE)


def status() -> int:
    """Print whether the cluster is up. Exit code 0: up. 1: down."""
    if running_devcluster(os.environ) is None:
        return print_reply({"status": "down"}, FAILED)
    return print_reply(_up_reply(devcluster_folder(os.environ)), DONE)


def serve(claude: Path | None) -> int:
    """Run the cluster until SIGTERM or SIGINT. Return at once if another process runs the cluster."""
    folder = devcluster_folder(os.environ)
    _make_private_folder(folder)
    with open(folder / "lock", "ab", opener=private_opener) as lock:  # Path has no opener
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return DONE
        with open(folder / "pid", "w", encoding="utf-8", opener=private_opener) as pid:  # Path has no opener
            pid.write(json.dumps(os.getpid()))
        asyncio.run(_serve(folder, claude))
    return DONE


def _make_private_folder(folder: Path) -> None:
    REAL_DISK.make_folder(folder)
    REAL_DISK.make_private(folder)


async def _serve(folder: Path, claude: Path | None) -> None:
    from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # slow to import, and only needed here

    stop_requested = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop_requested.set)
    async with DevCluster.start(claude=claude, folder=folder):
        await stop_requested.wait()


async def _wait_until(*, up: bool) -> None:
    """Wait until the cluster is up, or down if `up` is false; at most `START_STOP_TIMEOUT` seconds."""
    lock = devcluster_folder(os.environ) / "lock"
    with suppress(TimeoutError):
        async with asyncio.timeout(START_STOP_TIMEOUT):
            while (running_devcluster(os.environ) is None) if up else is_locked(lock):  # noqa: ASYNC110
                await asyncio.sleep(LOCK_CHECK_INTERVAL)  # only the lock of `serve` shows whether it is up


def _up_reply(folder: Path) -> Reply:
    return {
        "status": "up",
        "kubeconfig": str(folder / "kubeconfig"),
        "namespace": DEV_NAMESPACE,
        "pid": _pid(folder),
        "agent": agent_of_cluster(folder),
    }


def agent_of_cluster(folder: Path) -> str:
    """What runs in Pods of the running cluster: the path that --claude gave, or `STAND_IN`."""
    with suppress(OSError):
        arguments = Path(f"/proc/{_pid(folder)}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        if "--claude" in arguments:
            return arguments[arguments.index("--claude") + 1]
    return STAND_IN


def _pid(folder: Path) -> int | None:
    """The pid that `serve` wrote; None if the file is damaged, or the pid belongs to another process now."""
    try:
        pid = int((folder / "pid").read_text(encoding="utf-8"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if command.endswith(b"serve\0") or b"\0serve\0" in command else None
