"""The public helpers accept objects and exceptions of a Kubernetes client, and plain dicts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes_asyncio.client import (
    V1ContainerState,
    V1ContainerStateRunning,
    V1ContainerStateTerminated,
    V1ContainerStatus,
    V1Job,
    V1ObjectMeta,
    V1Pod,
    V1PodStatus,
    V1Status,
)
from kubernetes_asyncio.client.exceptions import ApiException

from paperclip_claude_k8s import helpers
from paperclip_claude_k8s.cluster.client_objects import json_of
from paperclip_claude_k8s.cluster.model import Terminated

TERMINATED = V1ContainerStateTerminated(
    exit_code=137, reason="OOMKilled", finished_at=datetime(2026, 1, 1, tzinfo=UTC)
)
STATE = V1ContainerState(terminated=TERMINATED)
STATUS = V1ContainerStatus(name="claude", state=STATE, image="i", image_id="i", ready=False, restart_count=0)
SIDECAR = V1ContainerStatus(name="dind", image="i", image_id="i", ready=False, restart_count=0)
POD = V1Pod(
    metadata=V1ObjectMeta(name="p"), status=V1PodStatus(phase="Failed", container_statuses=[SIDECAR, STATUS])
)
TERMINATED_STATES: list[Any] = [
    *(TERMINATED, STATE, STATUS, POD),
    *(TERMINATED.to_dict(), STATE.to_dict(), STATUS.to_dict(), POD.to_dict(), json_of(POD)),
    {"exitCode": 137, "reason": "OOMKilled", "message": None, "signal": None},
    {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    Terminated(137, "OOMKilled"),
]


@pytest.mark.parametrize("state", TERMINATED_STATES, ids=range(len(TERMINATED_STATES)))
def test_terminated_state_of_a_container_is_read_in_every_form(state: object) -> None:
    message = helpers.build_partial_run_error(137, "", "", state)
    assert message == ("Claude exited with code 137 [pod: reason=OOMKilled, SIGKILL (commonly OOMKilled)]")
    cause = helpers.describe_truncation_cause(state)
    assert cause == "exit code 137, SIGKILL (commonly OOMKilled), reason=OOMKilled"


@pytest.mark.parametrize(
    "state",
    [
        *(V1ContainerState(running=V1ContainerStateRunning()), {"running": {}}, {"waiting": {}}, 7, "x"),
        *(V1Pod(status=V1PodStatus(phase="Failed", reason="Evicted")), {"status": {"phase": "Pending"}}),
    ],
)
def test_state_that_is_not_terminated_counts_as_unknown(state: object) -> None:
    assert helpers.describe_truncation_cause(state) == "pod state unavailable — exit cause unknown"
    assert helpers.build_partial_run_error(1, "", "", state) == "Claude exited with code 1"


@pytest.mark.parametrize(
    "lookup", [{"podMissing": False, "phase": "Running"}, {"pod_missing": False, "phase": "Running"}]
)
def test_lookup_of_the_pod_is_read_from_a_mapping(lookup: dict[str, Any]) -> None:
    cause = helpers.describe_truncation_cause(None, lookup)
    assert cause == helpers.describe_truncation_cause(None, pod_missing=False, phase="Running")
    assert "(pod phase=Running)" in cause
    assert helpers.describe_truncation_cause(None, {"podMissing": True}).startswith("pod is gone")


@pytest.mark.parametrize("status", [STATUS, STATUS.to_dict(), json_of(STATUS)])
def test_status_of_the_agents_container_is_described(status: object) -> None:
    text = helpers.describe_pod_terminated_error("p", "Failed", [{"name": "istio-proxy"}, status])
    assert text == "Pod p reached phase=Failed: claude exited 137 (OOMKilled)"


def test_pod_without_statuses_of_containers_is_described_by_its_phase() -> None:
    statuses = V1PodStatus(phase="Failed").container_statuses
    text = helpers.describe_pod_terminated_error("p", "Failed", statuses)
    assert text == "Pod p reached phase=Failed"


def _job(**labels: str) -> V1Job:
    names = {f"paperclip.io/{key.replace('_', '-')}": value for key, value in labels.items()}
    return V1Job(metadata=V1ObjectMeta(name="ac-job", namespace="agents", labels={**names, "my_team": "x"}))


@pytest.mark.parametrize("form", [lambda job: job, V1Job.to_dict, json_of])
def test_orphan_is_classified_in_every_form(form: Any) -> None:
    job = form(_job(task_id="t", session_id="s"))
    classify = helpers.classify_orphan
    assert classify(job, {"taskId": "t", "sessionId": None}) == "reattach"
    assert classify(job, {"task_id": "t", "session_id": "s"}) == "reattach"
    assert classify(job, {"taskId": None, "sessionId": "s"}) == "block_task_unknown"
    assert classify(form(_job(session_id="s")), {"taskId": "t"}) == "block_task_unknown"
    assert classify(job, {"taskId": "u", "sessionId": "s"}) == "block_task_mismatch"
    assert classify(job, {"taskId": "t", "sessionId": "r"}) == "block_session_mismatch"


def test_expected_task_of_an_orphan_is_compared_as_a_label_value() -> None:
    assert helpers.classify_orphan(_job(task_id="PROJ42"), {"taskId": "PROJ#42"}) == "reattach"


def test_json_of_a_job_keeps_underscores_in_label_names() -> None:
    labels = {"paperclip.io/task-id": "t", "my_team": "x"}
    assert json_of(_job(task_id="t"))["metadata"]["labels"] == labels
    assert json_of(_job(task_id="t").to_dict())["metadata"]["labels"] == labels


def test_job_of_an_unexpected_type_has_an_unknown_task() -> None:
    for odd in (None, 7, "job", object(), {"metadata": 7}):
        assert helpers.classify_orphan(odd, {"taskId": "t"}) == "block_task_unknown"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiException(status=404, reason="Not Found"), True),
        (ApiException(status=403, reason="Forbidden"), False),
        ({"kind": "Status", "code": 404, "reason": "NotFound"}, True),
        ({"kind": "Status", "code": 409}, False),
        ({"code": 404}, False),
        (V1Status(code=404, status="Failure"), True),
        (V1Status(code=403, status="Failure"), False),
        (V1Job(), False),
    ],
)
def test_missing_object_is_recognised_in_every_form_of_error(error: object, *, expected: bool) -> None:
    assert helpers.is_k8s_404(error) is expected


def test_required_login_is_detected_in_the_result_and_its_url_in_any_output() -> None:
    detect = helpers.detect_claude_login_required
    assert detect({"result": "All good"}) == (False, None)
    assert detect(None, "please log in") == (False, None)
    assert detect({"result": "Please log in to continue"}).requires_login
    url = "https://claude.ai/oauth/authorize?code=1"
    assert detect({"result": "Not logged in"}, f"Visit {url}.", "") == (True, url)
    assert detect({}, "", f"See {url}") == (False, url)


def test_label_value_is_cut_to_a_given_length() -> None:
    assert helpers.sanitize_label_value("a" * 200) == "a" * 63
    assert helpers.sanitize_label_value("ab-cd", 3) == "ab"
    assert helpers.sanitize_label_value("ab", 0) is None
