"""When the agent's stdout is kept on the shared volume, and under which name."""

import pytest
from tests.support.plans import HOME, a_context, a_plan, the_job

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.plan.run_log import RunLogPlan, is_of_run, path_of_pod

PATH = "run-logs/co/ada/run-1.ndjson"


@pytest.mark.parametrize(
    ("home", "here", "wish", "kept"),
    [
        (HOME, "/paperclip", None, True),
        (HOME, None, None, False),
        (HOME, "/paperclip", False, False),
        (HOME, None, True, True),
        (None, "/paperclip", True, False),
        (HomePod("ns", "h", "i"), "/paperclip", True, False),
    ],
)
def test_it_is_on_where_the_volume_is_mounted_here_too(
    home: HomePod | None,
    here: str | None,
    wish: bool | None,  # noqa: FBT001
    kept: bool,  # noqa: FBT001
) -> None:
    plan = a_plan(home=home, volume_here=here, teeRunLog=wish)
    assert plan.run_log == (RunLogPlan(PATH, here) if kept else None)


def test_the_relay_writes_where_the_annotation_says() -> None:
    job = the_job(volume_here="/data")
    assert job["metadata"]["annotations"]["paperclip.io/run-log"] == PATH
    (agent,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": relay.OUT, "value": f"/paperclip/{PATH}"} in agent["env"]


def test_a_second_attempt_has_a_file_of_its_own() -> None:
    first, second = a_plan(volume_here="/data"), a_plan(volume_here="/data", fresh=True)
    assert first.run_log != second.run_log


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "..", "/", "é"])
def test_no_id_leads_out_of_the_folder(run_id: str) -> None:
    ctx = a_context(runId=run_id, agent={"id": "../x", "companyId": "../../up"})
    log = a_plan(ctx, volume_here="/data").run_log
    assert log is not None
    parts = log.path.split("/")
    assert len(parts) == 4
    assert not {"", ".", ".."} & set(parts)


def test_a_wish_that_has_no_effect_is_said() -> None:
    assert any("no shared volume" in note for note in a_plan(home=None, teeRunLog=True).notes)
    assert any("sharedVolumeDir" in note for note in a_plan(teeRunLog=True).notes)
    assert a_plan().notes == ()


def test_each_pod_has_a_file_of_its_own_name() -> None:
    assert (
        path_of_pod(PATH, "0a1b2c3d-1111-2222-3333-444455556666") == "run-logs/co/ada/run-1.0a1b2c3d.ndjson"
    )


@pytest.mark.parametrize(
    ("name", "ours"),
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
def test_the_files_of_a_run_are_told_by_their_names(name: str, ours: bool) -> None:  # noqa: FBT001
    assert is_of_run(name, "run-1.ndjson") is ours


def test_without_a_copy_the_relay_is_told_of_none() -> None:
    (container,) = the_job()["spec"]["template"]["spec"]["containers"]
    assert {"name": relay.OUT, "value": ""} in container["env"]
