from datetime import UTC, datetime

from tests.support.objects import a_job, finished

from paperclip_claude_k8s.verdict.slot import Adopt, Claimant, Free, Leaving, Taken, judge_slot

WE = Claimant(run="run-1", task="task-1")


def test_no_job_means_the_slot_is_free() -> None:
    assert judge_slot([], WE) == Free()


def test_finished_jobs_do_not_hold_the_slot() -> None:
    assert judge_slot([a_job(run="other", conditions=finished())], WE) == Free()


def test_a_living_job_of_another_run_blocks_and_is_named() -> None:
    verdict = judge_slot([a_job("their-job", run="other")], WE)
    assert isinstance(verdict, Taken)
    assert "their-job" in verdict.failure.message


def test_our_own_earlier_attempt_is_adopted_newest_first() -> None:
    older = a_job("older")
    newer = a_job("newer", created=datetime(2026, 2, 1, tzinfo=UTC))
    assert judge_slot([older, newer], WE) == Adopt(newer)


def test_a_job_this_process_runs_already_is_never_adopted() -> None:
    job = a_job()
    assert isinstance(judge_slot([job], WE, {job.ref.uid}), Taken)


def test_a_job_under_deletion_is_waited_for() -> None:
    job = a_job(run="other", deleting=True)
    assert judge_slot([job], WE) == Leaving((job,))


def test_other_tasks_do_not_count_when_the_scope_is_the_task() -> None:
    other = a_job(run="other", task="task-2")
    assert judge_slot([other], Claimant("run-1", "task-1", only_task=True)) == Free()
    assert isinstance(judge_slot([other], WE), Taken)
