"""Runs a command: from its arguments to its reply and exit code.

Every command has one *reply*, an object. It is printed as JSON if stdout is no terminal, else as text; `-o`
chooses another format. Only the commands in `TEXT_COMMANDS`, `run --submit-only` and help print text in any
case. A reply that reports an error is also one line on stderr. `run_cli` runs the command and turns each
exception into a reply:

- misuse, which typer raises: error `usage`;
- SIGINT, SIGTERM or SIGHUP while the command does not handle signals itself: error `poll_aborted`. Then the
  process ends itself with the same signal, so that the shell sees 128 + n;
- any other exception: error `internal`, with a traceback on stderr.

From the moment at which a reply is printed, signals are ignored, so that the reply is complete and no second
reply follows. If stdout is closed or full, the reply goes to stderr, and the exit code is 1. If the reader of
a pipe has ended, stderr only says so.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.formats import Format, chosen_format, error_line, plain_text, serialized
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, Interrupted, reraise_signal

DONE, FAILED, USAGE = 0, 1, 2
"""Exit codes of all commands. A process that a signal ends has 128 + n instead."""
RUNNING = 2
"""Exit code of `run` and `query`: the run continues.

For these two commands, misuse exits with `FAILED`, because 2 (`USAGE`) already means that the run continues.
"""
RUN_COMMANDS = frozenset({"run", "query"})
"""Commands whose exit code 2 is `RUNNING`."""
INSTALL_COMPLETION = "--install-completion"
"""Option of typer, which writes to the files of the shell."""
TEXT_COMMANDS = frozenset({"logs", "attach", "rbac", "manifests", "policy", "report"})
"""Commands whose stdout is a text for other programs: an error is only on stderr, never in that text."""


def command_name(argv: Sequence[str]) -> str:
    """The command among the arguments, after the options that stand before it; "" without a command."""
    arguments = iter(argv)
    for argument in arguments:
        if argument == "--log-format":
            next(arguments, None)
        elif not argument.startswith("-"):
            return argument
    return ""


class ReportedError(Exception):
    """An error that a person can mend: it is reported in one line, without a traceback."""

    error: str = "usage"

    @property
    def detail(self) -> str:
        return str(self)


class StdoutUnwritable(Exception):
    """Stdout is closed or full. A reply is then on stderr instead; the output of an agent is not."""


def run_cli(command: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Run `command` with the arguments and return the exit code."""
    _open_closed_streams()
    try:
        return _run(command, argv)
    except StdoutUnwritable:
        return FAILED
    finally:
        _flush_stderr()


def _run(command: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Run the command, and report exceptions as replies. Raises `StdoutUnwritable`."""
    SIGNAL_HANDLER.install()
    try:
        return command(argv) or DONE
    except StdoutUnwritable:
        raise
    except Interrupted as interrupted:
        print_error(
            reply := {"status": "failed", "error": "poll_aborted", "detail": f"interrupted by {interrupted}"}
        )
        _print_for_programs(reply, argv)
        reraise_signal(interrupted.signum)
    except Exception as error:  # noqa: BLE001  # a bug is reported as JSON, too
        return _report_exception(error, argv)


def _open_closed_streams() -> None:
    """Open /dev/null in place of each standard stream that the parent process closed.

    Otherwise the next file that this process opens would get the stream's number, and output meant for the
    stream would be written to that file.
    """
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is `stream`
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # open until the process ends


def print_reply(
    reply: Mapping[str, Any],
    code: int = FAILED,
    output: Format | None = None,
    to_text: Callable[[Format], str] | None = None,
) -> int:
    """Print the reply as the whole of stdout, and its error on stderr; return the code.

    `output`: what `-o` names. `to_text`: returns the reply as text in this format; without it, the text is
    the reply's fields, or nothing for an error. Raises `StdoutUnwritable`.
    """
    chosen = chosen_format(output)
    if "error" in reply and code != DONE:  # `cancel` has done its work if the reply says `cancelled`
        print_error(reply)
    if chosen.is_for_programs:
        _print_content(serialized(reply, chosen))
        return code
    if content := _content(reply, chosen, to_text):
        print_text(content)
    return code


def _content(reply: Mapping[str, Any], output: Format, to_text: Callable[[Format], str] | None) -> str:
    """The reply as text. An error has no text, because it is on stderr, except with `-o name`: a run's id."""
    if "error" in reply and output is not Format.NAME:
        return ""
    if to_text is not None:
        return to_text(output)
    return "" if "error" in reply else plain_text(reply)


def print_failure(reply: Mapping[str, Any], code: int = FAILED, *, as_reply: bool = False) -> int:
    """Report an error of a command whose output is a text: as one line on stderr. Returns the code.

    `as_reply`: the text was to go to a file, so that stdout is free and also gets the error, as a reply.
    """
    if as_reply:
        return print_reply(reply, code)
    print_error(reply)
    return code


def print_error(reply: Mapping[str, Any]) -> None:
    """Print the reply's error on stderr, in one line."""
    SIGNAL_HANDLER.ignore_signals()
    with suppress(OSError):
        print(error_line(reply), file=sys.stderr, flush=True)  # noqa: T201


def print_text(text: str) -> None:
    """Print a text that is the whole of stdout. Raises `StdoutUnwritable`."""
    _print_content(text.encode("utf-8", "backslashreplace"))


def _print_content(content: bytes) -> None:
    """Print bytes that are the whole of stdout. Raises `StdoutUnwritable`."""
    SIGNAL_HANDLER.ignore_signals()  # first: a signal from here on must not cause a second reply
    line = content + b"\n"
    try:
        _write_stdout(line)
    except OSError as error:
        reason = f"Cannot write the reply to stdout ({error.strerror or error})"
        if isinstance(error, BrokenPipeError):  # its reader has what it wanted, as in `history | head -1`
            raise stdout_unwritable(f"{reason}\n".encode()) from None
        raise stdout_unwritable(f"{reason}:\n".encode() + line) from None


def _write_stdout(line: bytes) -> None:
    if sys.stdout is None:  # the parent process closed it
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout.buffer.write(line)
    sys.stdout.flush()


def _flush_stderr() -> None:
    """Flush stderr. A full disk behind stderr does not change the exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Drop the stream's buffered output, because the interpreter's flush at exit would fail again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def print_traceback(error: Exception) -> None:
    """Print the exception on stderr without control characters: it may quote an agent or a server."""
    print(neutral("".join(traceback.format_exception(error))), end="", file=sys.stderr)  # noqa: T201


def stdout_unwritable(message: bytes) -> StdoutUnwritable:
    """Write the message to stderr, and return an exception that the caller raises."""
    if sys.stdout is not None:
        _discard(sys.stdout)
    with suppress(OSError):
        sys.stderr.buffer.write(message)
        sys.stderr.flush()
    return StdoutUnwritable()


def _report_exception(error: Exception, argv: list[str]) -> int:
    """Print the reply of a command that raised this exception, and return the exit code."""
    command = command_name(argv)
    format_message = getattr(error, "format_message", None)  # typer's exceptions have it; typer is an extra
    if callable(format_message):
        error.show()  # type: ignore[attr-defined]
        reply = {"status": "failed", "error": "usage", "detail": format_message()}
        code = FAILED if command in RUN_COMMANDS else USAGE
    elif isinstance(error, ReportedError):
        print_error(reply := {"status": "failed", "error": error.error, "detail": error.detail})
        code = FAILED
    elif isinstance(error, OSError) and INSTALL_COMPLETION in argv:
        detail = f"{error.filename} cannot be written: {error.strerror}"
        print_error(reply := {"status": "failed", "error": "not_written", "detail": detail})
        code = FAILED
    else:
        print_traceback(error)
        reply = {"status": "failed", "error": "internal", "detail": f"{type(error).__name__}: {error}"}
        print_error(reply)
        code = FAILED
    if argv:  # `claude-k8s` without a command has printed its help
        _print_for_programs(reply, argv)
    return code


def _print_for_programs(reply: Mapping[str, Any], argv: list[str]) -> None:
    """Print the reply of a command that ended before its options were known, unless a person reads stdout."""
    if command_name(argv) not in TEXT_COMMANDS and chosen_format(None).is_for_programs:
        _print_content(serialized(reply, Format.JSON))
