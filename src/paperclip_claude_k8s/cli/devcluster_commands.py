"""`claude-k8s devcluster`: a development cluster that outlives the shell it was started from."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from paperclip_claude_k8s.cli.codes import DONE, FAILED
from paperclip_claude_k8s.cli.options import (
    DEV_NAMESPACE,
    existing,
    is_locked,
    print_answer,
    standing_cluster,
)
from paperclip_claude_k8s.cli.runs.folders import devcluster_folder
from paperclip_claude_k8s.cli.runs.replies import Answer, failure
from paperclip_claude_k8s.cli.runs.state import unwritable

PATIENCE = 20.0
"""Seconds for coming up, and for going down with all Pods."""
GLANCE = 0.05


def up(claude: Path | None) -> int:
    """Start it unless it runs, and say where it is."""
    folder = devcluster_folder(os.environ)
    existing(claude)
    if standing_cluster(os.environ) is None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            stop = unwritable(folder, error, "set CLAUDE_K8S_STATE_DIR to a folder")
            return print_answer(failure(stop.error, stop.detail), FAILED)
        command = [sys.executable, "-m", "paperclip_claude_k8s", "devcluster", "serve"]
        with (folder / "log").open("ab") as log:
            subprocess.Popen(  # noqa: S603  # ourselves
                [*command, *(["--claude", str(claude.absolute())] if claude else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        asyncio.run(_until(up=True))
    if standing_cluster(os.environ) is None:
        return print_answer(
            {"status": "failed", "error": "not_up", "detail": f"it did not start; see {folder / 'log'}"},
            FAILED,
        )
    return print_answer(_standing(folder), DONE)


def down() -> int:
    """End it with all its Pods; fine where it does not run."""
    folder = devcluster_folder(os.environ)
    if is_locked(folder / "lock"):
        with suppress(OSError, ValueError):
            os.kill(_pid(folder), signal.SIGTERM)
        asyncio.run(_until(up=False))
    if is_locked(folder / "lock"):
        return print_answer(
            {"status": "failed", "error": "not_down", "detail": f"it does not end; its pid is in {folder}"},
            FAILED,
        )
    return print_answer({"status": "down"}, DONE)


def status() -> int:
    """Exit code 0 up, 1 down."""
    if standing_cluster(os.environ) is None:
        return print_answer({"status": "down"}, FAILED)
    return print_answer(_standing(devcluster_folder(os.environ)), DONE)


def serve(claude: Path | None) -> int:
    """Be the cluster, until a signal ends it. The lock is held for as long as this process lives."""
    folder = devcluster_folder(os.environ)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return DONE  # another one was faster
        (folder / "pid").write_text(json.dumps(os.getpid()), encoding="utf-8")
        asyncio.run(_serve(folder, claude))
    return DONE


async def _serve(folder: Path, claude: Path | None) -> None:
    from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # a server nobody else needs

    ended = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, ended.set)
    async with DevCluster.start(claude=claude, folder=folder):
        await ended.wait()


async def _until(*, up: bool) -> None:
    """Wait for it to come up, or to be gone; not for ever."""
    lock = devcluster_folder(os.environ) / "lock"
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while (standing_cluster(os.environ) is None) if up else is_locked(lock):  # noqa: ASYNC110
                await asyncio.sleep(GLANCE)  # another process: no event tells


def _standing(folder: Path) -> Answer:
    return {
        "status": "up",
        "kubeconfig": str(folder / "kubeconfig"),
        "namespace": DEV_NAMESPACE,
        "pid": _pid(folder),
    }


def _pid(folder: Path) -> int:
    """Raises OSError or ValueError."""
    return int(json.loads((folder / "pid").read_text(encoding="utf-8")))
