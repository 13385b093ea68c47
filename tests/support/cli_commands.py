"""The command line as operators start it, of the very package that is tested here."""

import asyncio
import atexit
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paperclip_claude_k8s

SOURCE = str(Path(paperclip_claude_k8s.__file__).parents[1])
STATE = tempfile.mkdtemp(prefix="claude-k8s-tests-")
"""Records of commands whose test does not care."""
atexit.register(shutil.rmtree, STATE, ignore_errors=True)
GLANCE = 0.005
HEARING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Becomes the command that follows: in the background both would be ignored."""


def _env(more: dict[str, str] | None) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": SOURCE, "CLAUDE_K8S_STATE_DIR": STATE, **(more or {})}


async def claude_k8s(
    *args: str, env: dict[str, str] | None = None, within: Sequence[str] = ()
) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    async with shell(*args, env=env, within=within) as process:
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def shell(
    *args: str, env: dict[str, str] | None = None, within: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command under way; ended with the block, if it has not by itself. `within`: words in front of it."""
    process = await asyncio.create_subprocess_exec(
        *within,
        sys.executable,
        "-ISc",
        HEARING,
        sys.executable,
        "-m",
        "paperclip_claude_k8s",
        *args,
        env=_env(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def listens(pid: int) -> bool:
    """Whether the process has come so far that it catches SIGTERM: an interpreter takes its time to start."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@dataclass(frozen=True, slots=True)
class Desk:
    """An operator with a state folder of their own, who starts commands and has them killed."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def run(self, *args: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any], str]:
        """Exit code, the one JSON object that is all of stdout, stderr."""
        code, out, err = await claude_k8s(*args, env=self.all_env(env))
        loaded: dict[str, Any] = json.loads(out)
        return code, loaded, err

    def all_env(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {"CLAUDE_K8S_STATE_DIR": str(self.state), **self.env, **(more or {})}

    def record(self) -> dict[str, Any] | None:
        """That of the only run, once it is there."""
        for path in self.state.glob("runs/*/record.json"):
            loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return loaded
        return None

    def saved(self) -> bytes:
        """The only run's transcript."""
        return b"".join(path.read_bytes() for path in self.state.glob("runs/*/transcript.ndjson"))

    async def until(self, seen: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not seen():  # noqa: ASYNC110  # another process leaves files
                await asyncio.sleep(GLANCE)

    async def killed(
        self, how: signal.Signals, seen: Callable[[], bool], *args: str
    ) -> tuple[int | None, str, str]:
        """Exit code, stdout and stderr of a command that gets a signal once something is seen."""
        async with shell(*args, env=self.all_env()) as process, asyncio.TaskGroup() as group:
            said = group.create_task(process.communicate())
            await self.until(lambda: (listens(process.pid) and seen()) or process.returncode is not None)
            with suppress(ProcessLookupError):
                process.send_signal(how)
            out, err = await said
        return process.returncode, out.decode(), err.decode()
