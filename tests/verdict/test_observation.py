"""Which part of a container's termination message an error message may quote."""

import pytest

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts


def termination_message(message: str, relay: RelaySummary | None = None) -> str:
    ending = Exited(Terminated(137, "Error", message))
    return Observation(
        ending, StreamReader().finish(), None, relay, RunFacts("job", "ns")
    ).termination_message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("OCI runtime create failed: no such file", "OCI runtime create failed: no such file"),
        ('{"type":"assistant","message":{"content":[]}}', ""),
        ('read_input_tokens":5,"output_tokens":3}}}\n{"type":"user"}\nKilled', "Killed"),
        ("\x1e0123abcd e some stderr\nplain", "plain"),
        ("", ""),
    ],
)
def test_json_and_marked_lines_are_removed_from_a_termination_message(message: str, expected: str) -> None:
    assert termination_message(message) == expected


def test_relay_summary_is_not_a_termination_message() -> None:
    assert termination_message('{"relay":"0123abcd"}', RelaySummary(1, 1, None, 137)) == ""
