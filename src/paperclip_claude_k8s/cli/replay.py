"""`claude-k8s replay`: what a run would have told with this output, from a file."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cli.codes import DONE, FAILED, USAGE
from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.options import print_answer
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.ports import utc_now
from paperclip_claude_k8s.verdict.ending import Disrupted, Ending, Exited, JobGone
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

PIECE = 256 * 1024


class ReplayInvalid(Exception):
    """What cannot be replayed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A captured stdout, and how its container ended."""

    file: Path
    exit_code: int | None = None
    pod_state: str | None = None
    """JSON with any of exitCode, reason, message, signal, deleted (bool), disrupted (a reason)."""
    quiet: bool = False
    resumed: bool | None = None
    """Whether the run went on with an earlier session; None: not told."""


def replay(recording: Recording) -> int:
    """Transcript on stderr, one JSON object on stdout; 0 is a success, 1 a failed run, 2 bad input."""
    try:
        seen = _observed(recording)
    except ReplayInvalid as error:
        return print_answer({"status": "failed", "error": "usage", "detail": str(error)}, USAGE)
    now, resumed = utc_now(), recording.resumed
    failure = classify_end(seen, OutcomeInputs(now, resumed=resumed))
    result = build_result(failure, seen, ResultInputs(now, resumed=resumed)).to_wire()
    status = "succeeded" if failure is None else "failed"
    return print_answer({"status": status, "result": result}, DONE if failure is None else FAILED)


def _observed(recording: Recording) -> Observation:
    ending = _ending(recording)
    reader = StreamReader()
    live = Live(Console(stderr=True, highlight=False), quiet=recording.quiet)
    try:
        with _opened(recording.file) as source:
            rest = b""
            while piece := source.read(PIECE):
                reader.feed(piece)
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    live.tell("stdout", line.decode("utf-8", "replace"))
            live.tell("stdout", rest.decode("utf-8", "replace"))
    except (OSError, EOFError) as error:
        raise ReplayInvalid(f"{recording.file} cannot be read: {error}") from None
    return Observation(ending, reader.finish(), None, None, RunFacts("(replay)", "(replay)"))


def _opened(path: Path) -> Any:  # noqa: ANN401  # either kind of file
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _ending(recording: Recording) -> Ending:
    told = _state(recording.pod_state)
    code = recording.exit_code if recording.exit_code is not None else told.get("exitCode")
    if code is not None and (not isinstance(code, int) or isinstance(code, bool)):
        raise ReplayInvalid("--pod-state: exitCode must be a whole number")
    words = {key: str(told.get(key) or "") for key in ("reason", "message", "disrupted")}
    signal = told.get("signal") if isinstance(told.get("signal"), int) else None
    known = code is not None or words["reason"] or words["message"] or not told
    how = Terminated(code if told or code is not None else 0, words["reason"], words["message"], signal)
    if told.get("deleted"):
        return JobGone("replay", how if known else None)
    if words["disrupted"]:
        return Disrupted("(replay)", words["disrupted"], words["message"], how if known else None)
    return Exited(how)


def _state(text: str | None) -> dict[str, Any]:
    try:
        told = json.loads(text) if text is not None else {}
    except ValueError as error:
        raise ReplayInvalid(f"--pod-state is not JSON: {error}") from None
    if not isinstance(told, dict):
        raise ReplayInvalid(
            '--pod-state must be a JSON object, such as {"exitCode": 137, "reason": "OOMKilled"}'
        )
    return told
