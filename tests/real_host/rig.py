"""Runs the real Paperclip server and a development cluster for the checks, neither of them as root."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
SERVER_UID = 65534
"""Uid of the server if this process is root, which the server's database refuses. The bridge has it too."""
START_TIMEOUT = 900.0
"""Seconds for installing and starting the server. The first time it downloads 1.5 GB, which takes minutes."""
START_ATTEMPTS = 3
"""How often the server is started at most: on a busy machine it may not start in time."""
STOP_TIMEOUT = 30.0
"""Seconds that the server may take to stop."""
POLL_INTERVAL = 0.1
"""Seconds between two looks whether the server's process has ended."""


class RigFailed(Exception):
    """The server or the cluster could not be started."""


@dataclass(frozen=True, slots=True)
class Rig:
    """The running server and cluster."""

    url: str
    """Address of the server, which serves its pages there and its API below `/api`."""
    up_output: Mapping[str, Any]
    """The JSON object that `up.sh` printed; it contains the run that `up.sh` started."""
    kubeconfig: Path
    cache: Path
    """Where `up.sh` keeps the files of the running servers."""

    async def restart_server(self, signum: signal.Signals, *, suspended_for: float = 0.0) -> None:
        """End the server with a signal and start it again on its data.

        `suspended_for`: seconds for which the server is suspended before the signal. After `LEASE_EXPIRY`
        seconds, what the server calls its leases on runs has expired.
        """
        await self._suspend(suspended_for)
        (self._server_folder() / "restart").touch()  # tells `up.sh` to start the server again after its end
        await self._end(signum)

    async def restart_with(self, variables: Mapping[str, str], *, suspended_for: float = 0.0) -> None:
        """Kill the server and start it with these variables added. `up.sh` cannot restart that server."""
        await self._suspend(suspended_for)
        folder, proc = self._server_folder(), Path(f"/proc/{self._server_pid()}")
        command = (proc / "cmdline").read_bytes().decode().split("\0")[:-1]
        entries = (proc / "environ").read_bytes().decode().split("\0")
        env = dict(entry.split("=", 1) for entry in entries if entry)
        await self._end(signal.SIGKILL)
        with (folder / "host.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**env, **variables},
                cwd=folder / "home",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_as_server_user(),
            )
        (folder / "host.pid").write_text(str(process.pid))  # `up.sh` ends this process

    def _server_pid(self) -> int:
        return int((self._server_folder() / "host.pid").read_text())

    async def _suspend(self, seconds: float) -> None:
        if seconds:
            os.kill(self._server_pid(), signal.SIGSTOP)
            await asyncio.sleep(seconds)

    async def _end(self, signum: signal.Signals) -> None:
        pid = self._server_pid()
        os.kill(pid, signum)
        async with asyncio.timeout(STOP_TIMEOUT):
            while _is_alive(pid):  # noqa: ASYNC110  # another program's process has no event
                await asyncio.sleep(POLL_INTERVAL)

    def bridges(self) -> list[int]:
        """Return the pids of the bridges, the adapter's Python processes that the server has started."""
        children = "".join(
            path.read_text() for path in Path(f"/proc/{self._server_pid()}/task").glob("*/children")
        )
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()}
        return [pid for pid, line in lines.items() if b"paperclip_claude_k8s.bridge" in line]

    def _server_folder(self) -> Path:
        """Return the folder of the server with this port, because several can run on one machine."""
        port = urlsplit(self.url).port
        for config in self.cache.glob("run-*/home/pc/instances/default/config.json"):
            if json.loads(config.read_text())["server"]["port"] == port:
                return config.parents[4]
        raise RigFailed(f"no folder of a server with port {port} in {self.cache}")


@asynccontextmanager
async def real_host(folder: Path) -> AsyncIterator[Rig]:
    """Start a development cluster, and with `up.sh` in `folder` the server, which loads the shim."""
    public_folder = _create_public_folder()
    try:
        python = await _interpreter()
        async with _cluster(public_folder / "cluster", python) as kubeconfig:
            shim = await _shim(public_folder / "shim", python)
            async with _server(folder, shim, kubeconfig) as rig:
                yield rig
    finally:
        shutil.rmtree(public_folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _create_public_folder() -> Path:
    public_folder = Path(tempfile.mkdtemp(prefix="claude-k8s-real-"))
    public_folder.chmod(0o755)
    return public_folder


def _create_for_server_user(folder: Path) -> None:
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, SERVER_UID, SERVER_UID)


def pythonpath() -> str:
    """Return the PYTHONPATH with which another interpreter finds the project and its dependencies."""
    return os.pathsep.join([str(ROOT / "src"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])


def _as_server_user() -> dict[str, Any]:
    return {"user": SERVER_UID, "group": SERVER_UID, "extra_groups": []} if os.geteuid() == 0 else {}


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": pythonpath(), "HOME": "/nonexistent"}


async def _interpreter() -> str:
    """Return a Python that the server's user may execute and that finds the project."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        try:
            process = await asyncio.create_subprocess_exec(
                python,
                "-c",
                "import paperclip_claude_k8s.bridge.host_session",
                env=_environment(),
                stderr=asyncio.subprocess.DEVNULL,
                **_as_server_user(),
            )
        except OSError:
            continue
        if await process.wait() == 0:
            return python
    raise RigFailed(
        f"user {SERVER_UID} can execute no {version} that finds this project, not even {sys.executable}"
    )


@asynccontextmanager
async def _cluster(folder: Path, python: str) -> AsyncIterator[Path]:
    _create_for_server_user(folder)
    script = str(Path(__file__).with_name("cluster.py"))
    process = await asyncio.create_subprocess_exec(
        python,
        script,
        str(folder),
        env=_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd="/",
        **_as_server_user(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        kubeconfig = (await process.stdout.readline()).decode().strip()
        if not kubeconfig:
            raise RigFailed("the development cluster did not start")
        yield Path(kubeconfig)
    finally:
        process.stdin.close()
        await process.wait()


async def _shim(folder: Path, python: str) -> Path:
    command = ("-m", "paperclip_claude_k8s", "node-shim", "--out", str(folder), "--python", python)
    env = {**os.environ, "PYTHONPATH": pythonpath()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.DEVNULL, env=env
    )
    if await process.wait():
        raise RigFailed("claude-k8s node-shim failed")
    return folder


@asynccontextmanager
async def _server(folder: Path, shim: Path, kubeconfig: Path) -> AsyncIterator[Rig]:
    """Run `up.sh`, which stops the server when its stdin is closed."""
    config = {"kubeconfig": str(kubeconfig), "namespace": "paperclip", "image": "local/agent:1"}
    cache = Path(os.environ.get("RIG_CACHE") or Path(tempfile.gettempdir()) / "paperclip-rig")
    port = _free_port()
    env = {
        **os.environ,
        "RIG_CACHE": str(cache),
        "RIG_NETNS": "0",
        "RIG_PORT": str(port),
        "RIG_HOLD": "1",
        "RIG_SERVE_UI": "true",
        "RIG_TEST_ENV": "1",
        "RIG_NO_ISSUE": "1",
        "RIG_ADAPTER": str(shim),
        "RIG_ADAPTER_CONFIG": json.dumps(config),
        "RIG_HOST_ENV": f"PYTHONPATH={pythonpath()}",
    }
    process, up_output = await _start_server(folder, env)
    try:
        yield Rig(f"http://127.0.0.1:{port}", up_output, kubeconfig, cache)
    finally:
        await _stop_server(process)


async def _start_server(folder: Path, env: Mapping[str, str]) -> tuple[asyncio.subprocess.Process, Any]:
    """Start `up.sh`, which waits one minute for the server; return its process and what it printed."""
    for attempt in range(START_ATTEMPTS):
        process = await asyncio.create_subprocess_exec(
            "bash",
            str(folder / "up.sh"),
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                return process, await _wait_until_up(process)
        except BaseException as error:
            await _stop_server(process)
            if not isinstance(error, RigFailed) or attempt == START_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def _stop_server(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def _wait_until_up(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Wait until `up.sh` logs that it is holding the server; return the JSON object that it printed."""
    assert process.stdout is not None
    assert process.stderr is not None
    output: list[str] = []
    async with asyncio.TaskGroup() as group:
        printed = group.create_task(_read_json_object(process.stdout))
        async for line in process.stderr:
            output.append(line.decode(errors="replace"))
            if "holding" in output[-1]:
                break
        is_up = "holding" in "".join(output[-1:]) and not any("driver failed" in line for line in output)
        if not is_up:
            printed.cancel()
    if not is_up:
        raise RigFailed("the server did not start:\n" + "".join(output[-20:]))
    up_output: dict[str, Any] = json.loads(printed.result())
    return up_output


async def _read_json_object(stream: asyncio.StreamReader) -> bytes:
    """Read one indented JSON object, which ends with the first line that is only a closing brace."""
    document = b""
    async for line in stream:
        document += line
        if line.rstrip() == b"}":
            break
    return document


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
