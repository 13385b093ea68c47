"""Detached Jobs, which belong to their run and not to a host process."""

from collections.abc import Iterator

from tests.support.objects import a_job

from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.run.holder_annotations import (
    detached_annotations,
    detached_jobs_of_others,
    jobs_of_nobody,
)
from paperclip_claude_k8s.verdict.slot import Claimant, judge_slot


def identity_of(run_id: str, label: str | None) -> Identity:
    return Identity(agent_id="agent-1", run_id=run_id, agent="agent-1", run=label)


def test_detached_job_belongs_to_its_run_and_blocks_others() -> None:
    ours, theirs = identity_of("run-1", label="run-1"), identity_of("run-2", label="run-2")
    job = a_job(ours.job_name(), annotations=detached_annotations(ours))
    assert detached_jobs_of_others([job, a_job("plain")], ours) == set()
    assert detached_jobs_of_others([job, a_job("plain")], theirs) == {job.ref.uid}


def test_runs_with_ids_that_are_not_label_values_share_no_detached_job() -> None:
    ours, theirs = identity_of("@@@", label=None), identity_of("###", label=None)
    job = a_job(ours.job_name(), labels={}, annotations=detached_annotations(ours))
    assert detached_jobs_of_others([job], ours) == set()
    assert detached_jobs_of_others([job], theirs) == {job.ref.uid}


def test_detached_job_of_an_older_adapter_is_found_by_name() -> None:
    ours, theirs = identity_of("@@@", label=None), identity_of("###", label=None)
    job = a_job(ours.job_name(), labels={}, annotations={"paperclip.io/detached": "detached:None"})
    assert detached_jobs_of_others([job], ours) == set()
    assert detached_jobs_of_others([job], theirs) == {job.ref.uid}


class CountedSet(set[str]):
    """Counts how often all its elements are visited."""

    visits = 0

    def __iter__(self) -> Iterator[str]:
        self.visits += 1
        return super().__iter__()


def test_kept_jobs_are_collected_once_for_all_jobs() -> None:
    all_jobs = [a_job(f"job-{number}") for number in range(100)]
    owned, detached = CountedSet({"uid"}), CountedSet(job.ref.uid for job in all_jobs[1:])
    assert jobs_of_nobody(all_jobs, owned, detached) == all_jobs[:1]
    judge_slot(all_jobs, Claimant("run-9"), owned, detached)
    assert owned.visits <= 3
    assert detached.visits <= 3
