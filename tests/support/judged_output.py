"""The result of a run with a given output, computed without a cluster, and checks that fit every result."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.result_fields import KNOWN_FIELDS
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import Ending, Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts, recover_result
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

NOW = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
EXITED = Exited(Terminated(0, "Completed", "", None))
ADAPTER_FIELDS = frozenset(
    {
        "containerExitCode",
        "conversationContinuation",
        "executionCancellation",
        "log",
        "phases",
        "session",
        "stderr",
        "stdout",
        "warnings",
        "workspace",
    }
)
"""Fields of `resultJson` that the adapter sets."""


def transcript_of(stdout: bytes, stderr: bytes = b"") -> Transcript:
    reader = StreamReader()
    reader.feed(stdout)
    reader.feed_stderr(stderr)
    return reader.finish()


def wire_of(
    stdout: bytes, stderr: bytes = b"", relay: RelaySummary | None = None, ending: Ending = EXITED
) -> dict[str, Any]:
    """The result that the host receives."""
    transcript = recover_result(transcript_of(stdout, stderr), relay)
    observation = Observation(ending, transcript, None, relay, RunFacts("job", "namespace"))
    failure = classify_end(observation, OutcomeInputs(NOW))
    return build_result(failure, observation, ResultInputs(NOW)).to_wire()


def result_line(**fields: object) -> bytes:
    """The line of a successful result; `fields` replace or add fields."""
    event = {"type": "result", "subtype": "success", "is_error": False, "result": "ok", **fields}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def assert_storable(value: object) -> None:
    """Check that strict parsers and PostgreSQL's jsonb accept the value."""
    assert json.loads(json.dumps(value, allow_nan=False)) == orjson.loads(orjson.dumps(value))
    for text in texts_in(value):
        assert "\0" not in text
        text.encode("utf-8")


def texts_in(value: object) -> Iterator[str]:
    """All texts in a JSON value, including keys."""
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield key
                yield from texts_in(inner)
        case list():
            for inner in value:
                yield from texts_in(inner)


def assert_fields_known(wire: dict[str, Any]) -> None:
    """Check that `resultJson` has only known fields of the Claude CLI and fields of the adapter."""
    assert set(wire.get("resultJson") or {}) <= ADAPTER_FIELDS | set(KNOWN_FIELDS)
