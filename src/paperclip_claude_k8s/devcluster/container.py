"""One container as a local process: no isolation whatever, the image's name is only looked at."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paperclip_claude_k8s.devcluster.crilog import LogFile, StreamWriter

CHUNK = 64 * 1024
NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: argv, a clean environment, and the folder to run in."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


class Container:
    """A process in a session of its own, its output in a log. `code` is 128+n after a signal."""

    def __init__(self, log: LogFile) -> None:
        self.log = log
        self._process: asyncio.subprocess.Process | None = None
        self._early: Callable[[], None] | None = None

    async def run(self, command: Command) -> int:
        """Start it and wait until it and its output have ended; what it left behind is killed."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                env=dict(command.env),
                cwd=command.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._complain(f"{command.argv[0]}: {error.strerror}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        self._process = process
        try:
            if self._early is not None:
                self._early()
            return await self._ended(process)
        finally:
            self.kill()
            with suppress(ProcessLookupError):
                await process.wait()
            self.log.end()

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None  # noqa: S101  # both are pipes
        assert process.stderr is not None  # noqa: S101
        async with asyncio.TaskGroup() as group:
            group.create_task(_record(process.stdout, StreamWriter(self.log, "stdout")))
            group.create_task(_record(process.stderr, StreamWriter(self.log, "stderr")))
            code = await process.wait()
            self.kill()
        return code if code >= 0 else 128 - code

    def _complain(self, text: str) -> None:
        writer = StreamWriter(self.log, "stderr")
        writer.feed(f"{text}\n".encode())
        self.log.end()

    def terminate(self) -> None:
        """SIGTERM to the first process alone, as a runtime does; one that is being started gets it then."""
        if self._process is None:
            self._early = self.terminate
        elif self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to everything that was started in this container, or is just being started."""
        if self._process is None:
            self._early = self.kill
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


async def _record(pipe: asyncio.StreamReader, writer: StreamWriter) -> None:
    while chunk := await pipe.read(CHUNK):
        writer.feed(chunk)
    writer.close()
