"""Outputs of runs that fail, as the parser reads them, and the failures that the adapter reports for them."""

import json
from datetime import UTC, datetime
from typing import Any

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end

NOW = datetime(2025, 10, 1, 9, 0, tzinfo=UTC)
INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}


def api_error(message: str, status: int = 400, kind: str = "invalid_request_error") -> str:
    """An error of the API as versions of the Claude CLI up to 2.1.100 print it."""
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_0"}
    return f"API Error: {status} {json.dumps(error, separators=(',', ':'))}"


def failed_run(text: str, **fields: Any) -> Transcript:
    """The output of a run whose result is an error with this text. `fields`: other fields of the result."""
    return read(INIT, {"type": "result", "subtype": "success", "is_error": True, "result": text, **fields})


def read(*lines: dict[str, Any] | str, stderr: str = "") -> Transcript:
    """Parse a whole output."""
    reader = StreamReader()
    for line in lines:
        reader.feed(
            (line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))).encode() + b"\n"
        )
    reader.feed_stderr(stderr.encode())
    return reader.finish()


def failure_of(transcript: Transcript, *, resumed: bool | None = None) -> Failure:
    failure = classify_end(
        Observation(Exited(Terminated(1)), transcript, None, None, RunFacts("job", "ns")),
        OutcomeInputs(NOW, resumed=resumed),
    )
    assert failure is not None
    return failure
