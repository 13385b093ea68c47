"""From the command line to an exit code: exactly one JSON object ends stdout, whatever happens (SPEC 12)."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.cli.codes import DONE, FAILED, USAGE
from paperclip_claude_k8s.cli.signals import SIGNALS, Interrupted, reraise_signal

ABOUT_RUNS = frozenset({"run", "query"})
"""Commands whose exit code 2 means that a run goes on, so that misuse of them is 1."""


def enter(commands: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Run the command; the exit code. `commands` raises what it cannot answer itself."""
    _occupy_closed()
    try:
        return _entered(commands, argv)
    except Unprintable:
        return FAILED
    finally:
        _empty_stderr()


def _entered(commands: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Raises `Unprintable`."""
    SIGNALS.install()
    try:
        return commands(argv) or DONE
    except Unprintable:
        raise
    except Interrupted as interrupted:
        say({"status": "failed", "error": "poll_aborted", "detail": f"interrupted by {interrupted}"})
        reraise_signal(interrupted.signum)
    except Exception as error:  # noqa: BLE001  # a bug is told in JSON as well
        return _told(error, argv)


def _occupy_closed() -> None:
    """What was closed by whoever started us must not become a file of ours: it would be written to."""
    for standard in range(3):
        try:
            os.fstat(standard)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for as long as we live


class Unprintable(Exception):
    """Stdout is closed or full; what was to be printed is on stderr."""


def say(answer: Mapping[str, Any]) -> None:
    """Print the one object that is all of stdout. Raises `Unprintable`."""
    _print(strict_json(answer, indent=2))


def print_out(text: str) -> None:
    """Print a text that is all of stdout. Raises `Unprintable`."""
    _print(text.encode("utf-8", "backslashreplace"))


def _print(told: bytes) -> None:
    """From here on no signal comes between. Raises `Unprintable`."""
    SIGNALS.stop_hearing()
    line = told + b"\n"
    try:
        _write_out(line)
    except OSError as error:
        why = f"The answer cannot be printed on stdout ({error.strerror or error}):\n"
        raise unprintable(why.encode() + line) from None


def _write_out(line: bytes) -> None:
    if sys.stdout is None:  # closed by whoever started us
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout.buffer.write(line)
    sys.stdout.flush()


def _empty_stderr() -> None:
    """Where it is full, that is nothing that should change the exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Nothing of it is written any more: the interpreter flushes it as it ends, and would fail again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def unprintable(told: bytes) -> Unprintable:
    """Say on stderr what stdout did not take, or why; to be raised."""
    if sys.stdout is not None:
        _discard(sys.stdout)
    with suppress(OSError):
        sys.stderr.buffer.write(told)
        sys.stderr.flush()
    return Unprintable()


def _told(error: Exception, argv: list[str]) -> int:
    message = getattr(error, "format_message", None)  # of typer's own exceptions, wherever they live
    if callable(message):
        if not argv:  # the bare command: its help, which is asked for in this way
            error.show()  # type: ignore[attr-defined]
            return USAGE
        error.show()  # type: ignore[attr-defined]
        say({"status": "failed", "error": "usage", "detail": message()})
        return FAILED if ABOUT_RUNS.intersection(argv[:1]) else USAGE
    traceback.print_exception(error)
    say({"status": "failed", "error": "internal", "detail": f"{type(error).__name__}: {error}"})
    return FAILED
