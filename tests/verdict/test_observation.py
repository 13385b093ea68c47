"""What an observation says: which termination message may be quoted, whether the agent ended by itself."""

import pytest
from tests.support.objects import a_job, finished

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.model import JobSnapshot, Known, Terminated
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Ending,
    Exited,
    JobGone,
    Stopped,
    StoppedAfterResult,
)
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts


def termination_message(message: str, relay: RelaySummary | None = None) -> str:
    ending = Exited(Terminated(137, "Error", message))
    return Observation(
        ending, StreamReader().finish(), log=None, relay=relay, facts=RunFacts("job", "ns")
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


@pytest.mark.parametrize(
    ("ending", "job", "ended"),
    [
        (Exited(Terminated(0)), a_job(conditions=finished()), True),
        (JobGone("watch"), a_job(), True),
        (DeadlinePassed(), a_job(conditions=finished("Failed", "DeadlineExceeded")), True),
        (DeadlinePassed(), a_job(deleting=True), False),  # stopped after timeoutSec
        (Stopped(proven=True), a_job(deleting=True), False),
        (StoppedAfterResult(300), a_job(deleting=True), False),
    ],
)
def test_agent_ended_by_itself_unless_it_was_stopped(
    ending: Ending, job: JobSnapshot, *, ended: bool
) -> None:
    facts, transcript = RunFacts("job", "ns"), StreamReader().finish()
    assert (
        Observation(ending, transcript, log=None, relay=None, facts=facts, known=Known(job=job)).agent_ended
        is ended
    )


def test_relay_summary_is_not_a_termination_message() -> None:
    assert (
        termination_message(
            '{"relay":"0123abcd"}', RelaySummary(bytes=1, lines=1, sha256=None, exit_code=137)
        )
        == ""
    )
