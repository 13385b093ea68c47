"""Runs the relay script with each shell that it supports, in a folder of the test."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import program

from paperclip_claude_k8s import relay

NONCE = "0123abcd"
PREFIX = b"\x1e" + NONCE.encode()
"""The beginning of each line that the relay itself adds to the log; a space follows."""
FIRST_LINE = PREFIX + b" b 0 0\n"
"""The first line of each log: a bookmark at byte 0 and line 0."""
SHELLS = ("bash", "busybox", "dash")
APPLETS = [
    "awk",
    "cat",
    "chmod",
    "cp",
    "dd",
    "env",
    "grep",
    "head",
    "mkdir",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sleep",
    "stat",
    "tail",
    "tr",
    "wc",
]
"""The programs that the relay script may use."""


@dataclass(frozen=True, slots=True)
class RelayEnd:
    """The exit code of a relay that has ended, and what it wrote."""

    code: int
    log: bytes
    """The container's log without its first line: the agent's output and the relay's marked lines."""
    message: str
    """The termination message."""

    @property
    def stdout(self) -> bytes:
        """The log without marked lines and without the relay's note of a missing newline."""
        lines = [line for line in self.log.split(b"\n") if not line.startswith(PREFIX + b" ")]
        return b"\n".join(lines).replace(PREFIX + b" n\n", b"")

    @property
    def stderr(self) -> list[bytes]:
        prefix = PREFIX + b" e "
        return [line.removeprefix(prefix) for line in self.log.split(b"\n") if line.startswith(prefix)]

    @property
    def bookmarks(self) -> list[bytes]:
        return [line for line in self.log.split(b"\n") if line.startswith(PREFIX + b" b ")]


class RelayRunner:
    """Runs the relay as in a Pod, but as a local process with one shell, in a folder of the test."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self._env = {"PATH": path, "HOME": str(folder), "KEEP": "kept"}  # the agent must get KEEP
        (folder / "prompt").write_text("the prompt\n", encoding="utf-8")
        for name, text in relay.scripts().items():
            (folder / name).write_text(text, encoding="utf-8")

    @asynccontextmanager
    async def started(
        self, *command: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        settings = {
            relay.DIR: str(self.folder / "scratch"),
            relay.PROMPT: str(self.folder / "prompt"),
            relay.NONCE: NONCE,
            relay.MESSAGE: str(self.folder / "message"),
        }
        process = await asyncio.create_subprocess_exec(
            *relay.command(str(self.folder), command),
            env={**self._env, **settings, **(env or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def wait(self, process: asyncio.subprocess.Process) -> RelayEnd:
        """Wait until the relay has ended."""
        async with asyncio.timeout(40):
            log, own_stderr = await process.communicate()
        assert own_stderr == b""
        log = log.removeprefix(FIRST_LINE)
        message = self.folder / "message"
        text = message.read_text(encoding="utf-8") if message.exists() else ""
        return RelayEnd(process.returncode or 0, log, text)

    async def run(self, *command: str, env: Mapping[str, str] | None = None) -> RelayEnd:
        async with self.started(*command, env=env) as process:
            return await self.wait(process)


async def output_of(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    """The log of a running relay after its first line, for tests that read it before the relay ends."""
    assert process.stdout is not None
    assert await process.stdout.readline() == FIRST_LINE
    return process.stdout


def relay_runner(shell: str, folder: Path) -> RelayRunner:
    """A `RelayRunner` whose `sh` is this shell. With busybox, PATH contains only busybox's own tools."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    found = program(shell)
    for name in APPLETS if shell == "busybox" else ("sh",):
        (programs / name).symlink_to(found)
    return RelayRunner(folder, str(programs) if shell == "busybox" else f"{programs}:{os.environ['PATH']}")


def summary(ended: RelayEnd) -> relay.RelaySummary:
    """The summary in the relay's termination message."""
    found = relay.read_summary(ended.message, NONCE)
    assert found is not None, ended.message
    return found
