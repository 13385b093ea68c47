"""From the command line to an exit code: exactly one JSON object ends stdout, whatever happens (SPEC 12)."""

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from paperclip_claude_k8s.cli.codes import DONE, FAILED, USAGE
from paperclip_claude_k8s.cli.signals import SIGNALS, Interrupted, die_of
from paperclip_claude_k8s.ground.strict_json import strict_json

ABOUT_RUNS = frozenset({"run", "query"})
"""Commands whose exit code 2 means that a run goes on, so that misuse of them is 1."""


def enter(commands: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Run the command; the exit code. `commands` raises what it cannot answer itself."""
    SIGNALS.install()
    try:
        return commands(argv) or DONE
    except Interrupted as interrupted:
        say({"status": "failed", "error": "poll_aborted", "detail": f"interrupted by {interrupted}"})
        die_of(interrupted.signum)
    except Exception as error:  # noqa: BLE001  # a bug is told in JSON as well
        return _told(error, argv)


def say(answer: Mapping[str, Any]) -> None:
    """Print the one object that is all of stdout; from here on no signal comes between."""
    SIGNALS.stop_hearing()
    sys.stdout.buffer.write(strict_json(answer, indent=2) + b"\n")
    sys.stdout.flush()


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
