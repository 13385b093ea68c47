"""One container as a local process, without any isolation; its image is ignored."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paperclip_claude_k8s.devcluster.crilog import LogFile, StreamWriter
from paperclip_claude_k8s.devcluster.processes import MARK, kill_marked

CHUNK_BYTES = 64 * 1024
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of a command that cannot be started, as a shell reports them."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: argv, a clean environment, and the folder to run in."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


class Container:
    """A process in a new POSIX session, with its output in a log. `pod`: folder of its Pod."""

    def __init__(self, log: LogFile, pod: Path) -> None:
        self.log = log
        self._pod = pod
        self._process: asyncio.subprocess.Process | None = None
        self._pending_signal: Callable[[], None] | None = None
        """`terminate` or `kill`, if it was called before the process started."""

    async def run(self, command: Command) -> int:
        """Run the command to its end, and kill all other processes of its Pod.

        Returns the exit code; 128 + n if signal n ended the command.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                env={**command.env, MARK: str(self._pod)},
                cwd=command.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a null byte
            self._log_error(f"{command.argv[0]}: {getattr(error, 'strerror', None) or error}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        self._process = process
        try:
            if self._pending_signal is not None:
                self._pending_signal()
            return await self._wait(process)
        finally:
            self.kill()
            with suppress(ProcessLookupError):
                await process.wait()
            self.log.end()

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None  # noqa: S101  # both are pipes
        assert process.stderr is not None  # noqa: S101
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy_to_log(process.stdout, StreamWriter(self.log, "stdout")))
            group.create_task(_copy_to_log(process.stderr, StreamWriter(self.log, "stderr")))
            await _wait_for_exit(process.pid)
            # other processes may keep the output open, and some versions of Python wait until it is closed
            self.kill()
            code = await process.wait()
        return code if code >= 0 else 128 - code

    def _log_error(self, text: str) -> None:
        writer = StreamWriter(self.log, "stderr")
        writer.feed(f"{text}\n".encode())
        self.log.end()

    def terminate(self) -> None:
        """Send SIGTERM to the first process only, as a runtime does; if need be, when it has started."""
        if self._process is None:
            self._pending_signal = self.terminate
        elif self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to all processes of the Pod; if need be, as soon as the first one has started."""
        if self._process is None:
            self._pending_signal = self.kill
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            kill_marked(self._pod)


async def _wait_for_exit(pid: int) -> None:
    """Wait until the process has exited, although its output may still be open."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # it has exited, and its exit code has been collected
        return
    exited = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _copy_to_log(pipe: asyncio.StreamReader, writer: StreamWriter) -> None:
    while chunk := await pipe.read(CHUNK_BYTES):
        writer.feed(chunk)
    writer.close()
