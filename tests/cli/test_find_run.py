"""Which run a word means: it may be a run's id, the name of a Job, or the beginning of either."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from paperclip_claude_k8s.cli.find_run import find_record, matching_job, newest_job, recorded_job
from paperclip_claude_k8s.cli.runs.record import JobPart, Record, RunTarget
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cluster.labels import RUN_LABEL
from paperclip_claude_k8s.cluster.model import JobRef, JobSnapshot

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def a_job(name: str, run: str, *, namespace: str = "ns", minutes_after_noon: int = 0) -> JobSnapshot:
    created = NOON + timedelta(minutes=minutes_after_noon)
    return JobSnapshot(JobRef(namespace, name, f"uid-{name}"), "1", created, labels={RUN_LABEL: run})


JOBS = [
    a_job("ac-ada-1", "2f00aa"),
    a_job("ac-ada-1-fresh", "2f00aa", minutes_after_noon=5),
    a_job("ac-bob-1", "2f11bb"),
    a_job("2f00", "other"),
]
AMBIGUOUS, NO_JOB = None, ""


@pytest.mark.parametrize(
    ("word", "job"),
    [
        ("2f00aa", "ac-ada-1-fresh"),
        ("2f0", AMBIGUOUS),
        ("2f1", "ac-bob-1"),
        ("ac-bob", "ac-bob-1"),
        ("ac-ada-1", "ac-ada-1-fresh"),
        ("2f00", "2f00"),
        ("nope", NO_JOB),
        ("", NO_JOB),
    ],
)
def test_job_is_found_by_id_beginning_or_name(word: str, job: str | None) -> None:
    if job is AMBIGUOUS:
        with pytest.raises(Stop) as raised:
            matching_job(word, JOBS)
        assert raised.value.error == "ambiguous_run"
        assert "2f00aa (namespace ns)" in str(raised.value)
        return
    found = matching_job(word, JOBS)
    assert (found.ref.name if found is not None else NO_JOB) == job


def test_newest_job_does_not_depend_on_the_order_of_the_list() -> None:
    newer, older = a_job("a", "r1", minutes_after_noon=5), a_job("b", "r1")
    assert newest_job([newer, older]) is newest_job([older, newer]) is newer
    assert newest_job([]) is None


def test_same_id_in_two_namespaces_is_ambiguous() -> None:
    with pytest.raises(Stop, match="namespace east.*namespace west"):
        matching_job("r1", [a_job("a", "r1", namespace="east"), a_job("b", "r1", namespace="west")])


def test_record_is_found_by_id_beginning_or_job_name(tmp_path: Path) -> None:
    state = State(tmp_path)
    record = Record("2f00aa", "2026-11-01T12:00:00Z", {"config": {}, "agent": {"id": "ada"}})
    state.write(replace(record, jobs=(JobPart("u", "ac-ada-1"),)))
    state.write(replace(record, run_id="2f11bb"))
    for word in ("2f00aa", "2f0", "ac-ada-1", "ac-a"):
        found = find_record(word, state)
        assert found is not None
        assert found.run_id == "2f00aa"
    assert find_record("nope", state) is None
    assert find_record("", state) is None
    with pytest.raises(Stop, match="2 runs begin with '2f'"):
        find_record("2f", state)


def test_beginning_of_an_id_or_name_finds_no_record_of_another_namespace(tmp_path: Path) -> None:
    state = State(tmp_path)
    record = Record("2f00aa", "2026-11-01T12:00:00Z", {"config": {}, "agent": {"id": "ada"}})
    state.write(replace(record, jobs=(JobPart("u", "ac-ada-1"),), target=RunTarget(namespace="here")))
    for word in ("2f0", "ac-a"):
        assert find_record(word, state, namespace="there") is None
        assert find_record(word, state, namespace="here") is not None
    for name in ("2f00aa", "ac-ada-1"):
        assert find_record(name, state, namespace="there") is not None, (
            "a whole id or name means only one run"
        )
    state.write(replace(record, run_id="2f11bb", phase="reserved"))
    found = find_record("2f", state, namespace="there")
    assert found is not None
    assert found.run_id == "2f11bb"


def test_job_of_a_record_is_found_by_uid_rather_than_by_run_label() -> None:
    own, other = a_job("ac-ada-1", "2f00aa"), a_job("zz", "2f00aa", minutes_after_noon=9)
    record = Record("2f00aa", "", {}, jobs=(JobPart("uid-ac-ada-1", "ac-ada-1"),))
    assert recorded_job(record, [own, other]) == own
    assert recorded_job(replace(record, jobs=()), [other, own]) == other
    assert recorded_job(record, []) is None
