"""Whether a message about a Pod that does not start ends the wait, or which time budget it uses."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.objects import a_job, a_pod

from paperclip_claude_k8s.cluster.model import Condition, EventSnapshot, Known, Waiting
from paperclip_claude_k8s.verdict.obstacles import (
    Obstacles,
    image_is_missing,
    refusal_is_final,
    volume_source_is_missing,
)
from paperclip_claude_k8s.verdict.start import NeverStarts, StartBudget, StillWaiting, judge_start

MESSAGES = tomllib.loads(Path(__file__).with_name("obstacle_messages.toml").read_text(encoding="utf-8"))


def each(table: str) -> pytest.MarkDecorator:
    """Run a test with each message of this table."""
    return pytest.mark.parametrize("message", MESSAGES[table].values(), ids=MESSAGES[table])


@each("final_refusals")
def test_final_refusal_of_the_pod_ends_the_wait(message: str) -> None:
    assert refusal_is_final(message)
    verdict = judge_start(Known(job=a_job()), Obstacles(refusal=message))
    assert isinstance(verdict, NeverStarts)
    assert message in verdict.why
    assert not verdict.retryable


@each("temporary_refusals")
def test_temporary_refusal_uses_the_schedule_budget(message: str) -> None:
    assert not refusal_is_final(message)
    verdict = judge_start(Known(job=a_job()), Obstacles(refusal=message))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.SCHEDULE
    assert message in verdict.why


def test_earlier_refusal_is_ignored_once_the_pod_exists() -> None:
    verdict = judge_start(
        Known(job=a_job(), pod=a_pod()), Obstacles(refusal=MESSAGES["final_refusals"]["Pod Security"])
    )
    assert isinstance(verdict, StillWaiting)


@each("missing_images")
def test_missing_image_has_a_budget_of_its_own(message: str) -> None:
    assert image_is_missing(message)
    verdict = judge_start(Known(job=a_job(), pod=a_pod(Waiting("ErrImagePull", message))))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.MISSING_IMAGE


@each("refused_users")
def test_container_that_would_run_as_root_despite_run_as_non_root_never_starts(message: str) -> None:
    waiting = Waiting("CreateContainerConfigError", message)
    verdict = judge_start(Known(job=a_job(), pod=a_pod(waiting)))
    assert isinstance(verdict, NeverStarts)
    assert message in verdict.why
    assert "set `runAsUser`" in verdict.why


@each("registry_faults")
def test_fault_of_the_registry_uses_the_pull_budget(message: str) -> None:
    assert not image_is_missing(message)
    verdict = judge_start(Known(job=a_job(), pod=a_pod(Waiting("ErrImagePull", message))))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.PULL


def test_pause_between_pulls_keeps_the_error_of_the_last_pull() -> None:
    """Kubelets before 1.30 report only "Back-off pulling image" between two attempts."""
    failed = a_pod(Waiting("ErrImagePull", MESSAGES["missing_images"]["containerd"]))
    pausing = a_pod(Waiting("ImagePullBackOff", 'Back-off pulling image "x:1"'))
    verdict = judge_start(Known(job=a_job(), pod=pausing), Obstacles().with_pod(failed))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.MISSING_IMAGE
    assert 'Back-off pulling image "x:1": failed to pull' in verdict.why


def an_event(reason: str, message: str) -> EventSnapshot:
    return EventSnapshot("u", "Warning", reason, message, "Pod/x", datetime(2026, 1, 1, tzinfo=UTC))


def test_pull_error_in_an_event_is_found_if_the_pod_status_lacks_it() -> None:
    event = an_event(
        "Failed", f'Failed to pull image "x:1": rpc error: {MESSAGES["missing_images"]["containerd"]}'
    )
    pausing = a_pod(Waiting("ImagePullBackOff", 'Back-off pulling image "x:1"'))
    verdict = judge_start(Known(job=a_job(), pod=pausing), Obstacles().with_events([event]))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.MISSING_IMAGE


@pytest.mark.parametrize(
    "message",
    [
        'MountVolume.SetUp failed for volume "keys" : secret "keys" not found',
        'MountVolume.SetUp failed for volume "conf" : configmap "conf" not found',
        'MountVolume.SetUp failed for volume "keys" : references non-existent secret key: id_rsa',
    ],
)
def test_missing_source_of_a_volume_uses_the_start_budget(message: str) -> None:
    assert volume_source_is_missing(message)
    known = Known(job=a_job(), pod=a_pod(Waiting("ContainerCreating")))
    failed = Obstacles().with_events([an_event("FailedMount", message)])
    verdict = judge_start(known, failed)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.START
    assert message in verdict.why
    mounted = judge_start(known, failed.with_events([an_event("Pulling", 'Pulling image "x"')]))
    assert isinstance(mounted, StillWaiting)
    assert mounted.budget is StartBudget.PULL


def test_volume_that_is_attached_elsewhere_uses_the_pull_budget() -> None:
    event = an_event("FailedAttachVolume", "Multi-Attach error for volume: it is attached elsewhere")
    known = Known(job=a_job(), pod=a_pod(Waiting("ContainerCreating")))
    verdict = judge_start(known, Obstacles().with_events([event]))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.PULL


def test_pod_whose_claim_does_not_exist_never_starts() -> None:
    why = (
        '0/3 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/3 nodes are available'
    )
    unscheduled = (Condition("PodScheduled", "False", "Unschedulable", why),)
    verdict = judge_start(Known(job=a_job(), pod=a_pod(node="", conditions=unscheduled)))
    assert isinstance(verdict, NeverStarts)
    assert 'persistentvolumeclaim "data" not found' in verdict.why


def test_failed_pull_that_only_events_report_is_quoted_until_the_image_is_pulled() -> None:
    """A busy kubelet reports the container's state much later than its Events."""
    message = f'Failed to pull image "x:1": rpc error: {MESSAGES["missing_images"]["containerd"]}'
    failed = Obstacles().with_events(
        [an_event("Failed", message), an_event("Failed", "Error: ImagePullBackOff")]
    )
    known = Known(job=a_job(), pod=a_pod(Waiting("ContainerCreating")))
    verdict = judge_start(known, failed)
    assert isinstance(verdict, StillWaiting)
    assert (verdict.budget, verdict.why) == (StartBudget.MISSING_IMAGE, message)
    pulled = judge_start(known, failed.with_events([an_event("Pulled", "Successfully pulled image")]))
    assert isinstance(pulled, StillWaiting)
    assert pulled.budget is StartBudget.PULL


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("0/3 nodes are available: 3 node(s) didn't match pod affinity rules.", "in use on a node"),
        ("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", "in another zone"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "storage class"),
        ("1 node(s) didn't find available persistent volumes to bind.", "storage class"),
    ],
)
def test_message_about_a_volume_that_prevents_scheduling_is_explained(message: str, meaning: str) -> None:
    unscheduled = (Condition("PodScheduled", "False", "Unschedulable", message),)
    verdict = judge_start(Known(job=a_job(), pod=a_pod(node="", conditions=unscheduled)))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget == StartBudget.SCHEDULE
    assert message in verdict.why
    assert meaning in verdict.why


def test_volume_that_is_still_attached_to_another_node_is_reported() -> None:
    event = EventSnapshot(
        "e", "Warning", "FailedAttachVolume", 'Multi-Attach error for volume "pvc-1" Volume is in use'
    )
    verdict = judge_start(Known(job=a_job(), pod=a_pod()), Obstacles().with_events([event]))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget == StartBudget.PULL
    assert "still attached to another node" in verdict.why
