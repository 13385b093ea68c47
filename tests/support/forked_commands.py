"""Starts `claude-k8s` commands without the time that Python needs to import the package.

The program `command_server.py` has imported it. It gets a message for each command: arguments, environment
and working directory as JSON, together with four file descriptors, namely stdin, stdout and stderr of the
command, and a socket. On this socket it sends the id of the process that it forks, and later its exit code.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache

READ_BEFORE_MAIN = (
    "LANG",
    "LC_",
    "PYTHON",
    "TZ",
    "TERM",
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "PY_COLORS",
)
"""Beginnings of names of variables that Python or a library reads before a command begins."""
MAX_REPLY = 20
"""Largest number of bytes of a reply, which is one number."""


class ForkedProcess:
    """A command. It has the members of `asyncio.subprocess.Process` that tests use."""

    def __init__(
        self, pid: int, replies: socket.socket, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = None
        self.stdout = stdout
        self.stderr = stderr
        self._replies = replies
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._loop.add_reader(replies, self._receive_exit_code)

    def _receive_exit_code(self) -> None:
        self._loop.remove_reader(self._replies)
        with self._replies:
            self.returncode = int(self._replies.recv(MAX_REPLY))
        self._ended.set_result(self.returncode)

    async def wait(self) -> int:
        code: int = await asyncio.shield(self._ended)
        return code

    async def communicate(self) -> tuple[bytes, bytes]:
        async with asyncio.TaskGroup() as group:
            out = group.create_task(self.stdout.read())
            err = group.create_task(self.stderr.read())
            await self.wait()
        return out.result(), err.result()

    def send_signal(self, signum: int) -> None:
        """Raises `ProcessLookupError` if the process has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def can_fork(env: Mapping[str, str], python_path: str) -> bool:
    """Whether a forked process is as good as a new one: no variable is read before the command begins."""
    others = {name: value for name, value in env.items() if (name, value) != ("PYTHONPATH", python_path)}
    return not any(name.startswith(READ_BEFORE_MAIN) for name in others)


async def fork_command(args: Sequence[str], env: Mapping[str, str], python_path: str) -> ForkedProcess:
    """Start a command. `python_path`: the folder with the package."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    (stdout, stdout_pipe), (stderr, stderr_pipe) = await _open_pipe(), await _open_pipe()
    request = {"args": list(args), "env": dict(env), "cwd": os.getcwd()}  # noqa: PTH109
    with theirs, open(os.devnull, "rb") as nothing:  # noqa: PTH123, ASYNC230
        fds = [nothing.fileno(), stdout_pipe, stderr_pipe, theirs.fileno()]
        socket.send_fds(_server(python_path)[0], [json.dumps(request).encode()], fds)
    os.close(stdout_pipe)
    os.close(stderr_pipe)
    pid = int(await asyncio.get_running_loop().sock_recv(ours, MAX_REPLY))
    return ForkedProcess(pid, ours, stdout, stderr)


async def _open_pipe() -> tuple[asyncio.StreamReader, int]:
    """A reader, and the file descriptor that writes to it."""
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
    )
    return reader, write_end


@cache
def _server(python_path: str) -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    """The program, which runs until this process ends, and the socket for requests to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.support.command_server", str(theirs.fileno())],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{python_path}:{os.getcwd()}"},  # noqa: PTH109
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    return ours, program
