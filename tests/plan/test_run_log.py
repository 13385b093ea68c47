"""The run log, a copy of the agent's stdout on the shared volume: when it is written, and its path."""

import pytest
from tests.support.plans import HOME, a_context, a_plan, the_job

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.plan.run_log import RunLogPlan, is_of_run, path_of_pod

PATH = "run-logs/co/ada/run-1.ndjson"


DEFAULT = None
NOT_MOUNTED = None
HOME_WITHOUT_VOLUME = HomePod("ns", "h", "i")


@pytest.mark.parametrize(
    ("home", "volume_here", "tee_run_log", "is_written"),
    [
        (HOME, "/paperclip", DEFAULT, True),
        (HOME, NOT_MOUNTED, DEFAULT, False),
        (HOME, "/paperclip", False, False),
        (HOME, NOT_MOUNTED, True, True),
        (None, "/paperclip", True, False),
        (HOME_WITHOUT_VOLUME, "/paperclip", True, False),
    ],
)
def test_run_log_needs_a_volume_in_the_pod_and_by_default_also_on_the_host(
    home: HomePod | None,
    volume_here: str | None,
    tee_run_log: bool | None,  # noqa: FBT001
    is_written: bool,  # noqa: FBT001
) -> None:
    plan = a_plan(home=home, volume_here=volume_here, teeRunLog=tee_run_log)
    assert plan.run_log == (RunLogPlan(PATH, volume_here) if is_written else None)


def test_relay_writes_to_the_annotated_path() -> None:
    job = the_job(volume_here="/data")
    assert job["metadata"]["annotations"]["paperclip.io/run-log"] == PATH
    (agent,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": relay.OUT, "value": f"/paperclip/{PATH}"} in agent["env"]


def test_second_attempt_has_another_run_log() -> None:
    first, second = a_plan(volume_here="/data"), a_plan(volume_here="/data", fresh=True)
    assert first.run_log != second.run_log


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "..", "/", "é"])
def test_ids_cannot_lead_out_of_the_folder(run_id: str) -> None:
    ctx = a_context(runId=run_id, agent={"id": "../x", "companyId": "../../up"})
    log = a_plan(ctx, volume_here="/data").run_log
    assert log is not None
    parts = log.path.split("/")
    assert len(parts) == 4
    assert not {"", ".", ".."} & set(parts)


def test_note_says_why_tee_run_log_has_no_effect_or_less_than_expected() -> None:
    assert any("no shared volume" in note for note in a_plan(home=None, teeRunLog=True).notes)
    assert any("sharedVolumeDir" in note for note in a_plan(teeRunLog=True).notes)
    assert a_plan().notes == ()


def test_file_of_a_pod_has_the_beginning_of_its_uid_in_its_name() -> None:
    assert (
        path_of_pod(PATH, "0a1b2c3d-1111-2222-3333-444455556666") == "run-logs/co/ada/run-1.0a1b2c3d.ndjson"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("run-1.ndjson", True),
        ("run-1.0a1b2c3d.ndjson", True),
        ("run-12.ndjson", False),
        ("run-12.0a1b2c3d.ndjson", False),
        ("run-1.0a1b2c3d.ndjson.old", False),
        ("run-1.x.ndjson", False),
        ("run-1", False),
        ("run+1.ndjson", False),
    ],
)
def test_is_of_run_is_true_for_run_logs_of_this_run_only(name: str, expected: bool) -> None:  # noqa: FBT001
    assert is_of_run(name, "run-1.ndjson") is expected


def test_relay_gets_no_path_without_run_log() -> None:
    (container,) = the_job()["spec"]["template"]["spec"]["containers"]
    assert {"name": relay.OUT, "value": ""} in container["env"]
