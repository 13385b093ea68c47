"""Runs `claude-k8s` commands of the package under test as a shell does, each in a process of its own."""

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
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.forked_commands import ForkedProcess, can_fork, fork_command

import paperclip_claude_k8s
from paperclip_claude_k8s.cli.shell_completion import TIME_LIMIT_VARIABLE

SOURCE = str(Path(paperclip_claude_k8s.__file__).parents[1])
STATE_FOLDER = tempfile.mkdtemp(prefix="claude-k8s-tests-")
"""State folder of commands in tests that do not look at the records of runs."""
atexit.register(shutil.rmtree, STATE_FOLDER, ignore_errors=True)
CHECK_INTERVAL = 0.005
"""Seconds between two checks of a condition."""
RESET_SIGNALS_AND_EXEC = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Program that resets SIGINT and SIGHUP, which it may inherit as ignored, and then executes its arguments."""
RunningCommand: TypeAlias = asyncio.subprocess.Process | ForkedProcess
CommandResult = tuple[int, dict[str, Any], str]
"""Exit code, the reply (the JSON object that is the whole of stdout), and stderr."""


def _env(more: dict[str, str] | None) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": SOURCE,
        "CLAUDE_K8S_STATE_DIR": STATE_FOLDER,
        TIME_LIMIT_VARIABLE: "60",  # shell completion must not give up on a busy machine
        **(more or {}),
    }


async def claude_k8s(
    *args: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
) -> tuple[int, str, str]:
    """Run a command. Returns exit code, stdout and stderr. `prefix`: see `running_command`."""
    async with running_command(*args, env=env, prefix=prefix) as process:
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def running_command(
    *args: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
) -> AsyncIterator[RunningCommand]:
    """A running command, killed at the end of the block.

    `prefix`: arguments before the command, such as those of a shell that redirects its output.
    """
    process: RunningCommand
    if not prefix and can_fork(_env(env), SOURCE):
        process = await fork_command(args, _env(env), SOURCE)
    else:
        process = await _start_command(args, env, prefix)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _start_command(
    args: Sequence[str], env: dict[str, str] | None, prefix: Sequence[str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-ISc",
        RESET_SIGNALS_AND_EXEC,
        sys.executable,
        "-m",
        "paperclip_claude_k8s",
        *args,
        env=_env(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def handles_sigterm(pid: int) -> bool:
    """Whether the process has installed a handler for SIGTERM, which it does some time after its start."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@dataclass(frozen=True, slots=True)
class CommandRunner:
    """Runs commands that share a state folder, `folder`/state."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def run(self, *args: str, env: dict[str, str] | None = None) -> CommandResult:
        code, out, err = await claude_k8s(*args, env=self.environment(env))
        reply: dict[str, Any] = json.loads(out)
        return code, reply, err

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The environment variables of the commands, and `more`."""
        return {"CLAUDE_K8S_STATE_DIR": str(self.state), **self.env, **(more or {})}

    def record(self) -> dict[str, Any] | None:
        """The record of the only run; None until there is one."""
        for path in self.state.glob("runs/*/record.json"):
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return record
        return None

    def transcript(self) -> bytes:
        """The transcript of the only run, as far as it is saved."""
        return b"".join(path.read_bytes() for path in self.state.glob("runs/*/transcript.ndjson"))

    def _transcript_exceeds(self, size: float) -> bool:
        return len(self.transcript()) > size

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true. Raises `TimeoutError` after 120 s."""
        async with asyncio.timeout(120):
            while not condition():  # noqa: ASYNC110  # another process writes files
                await asyncio.sleep(CHECK_INTERVAL)

    async def run_with_steps_at_bytes(
        self, args: Sequence[str], *steps: tuple[float, Callable[[], object]]
    ) -> CommandResult:
        """Run a command, and perform the steps (size, function) in order.

        Each function is called as soon as the transcript is longer than `size` bytes.
        """
        async with running_command(*args, env=self.environment()) as process, asyncio.TaskGroup() as group:
            communicating = group.create_task(process.communicate())
            for size, act in steps:
                await self.wait_until(partial(self._transcript_exceeds, size))
                act()
            out, err = await communicating
        reply: dict[str, Any] = json.loads(out)
        return process.returncode or 0, reply, err.decode()

    async def run_and_kill(
        self, signum: signal.Signals, condition: Callable[[], bool], *args: str
    ) -> tuple[int | None, str, str]:
        """Run a command; send it the signal once it handles SIGTERM and the condition is true.

        Returns exit code, stdout and stderr.
        """
        async with running_command(*args, env=self.environment()) as process, asyncio.TaskGroup() as group:
            communicating = group.create_task(process.communicate())
            await self.wait_until(
                lambda: (handles_sigterm(process.pid) and condition()) or process.returncode is not None
            )
            with suppress(ProcessLookupError):
                process.send_signal(signum)
            out, err = await communicating
        return process.returncode, out.decode(), err.decode()
