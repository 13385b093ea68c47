"""When the npm package lets Python delete a Job: after the server has stored the result, and not before."""

from pathlib import Path
from typing import Any

from tests.support.bridge import a_context
from tests.support.node import node_host, run_step

from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import JOBS


def retry_of(ctx: dict[str, Any], run: str) -> dict[str, Any]:
    return {**ctx, "runId": run, "context": {**ctx["context"], "retryOfRunId": ctx["runId"]}}


def log_of(outcome: dict[str, Any], name: str) -> str:
    return "".join(chunk for _, chunk in outcome["callbacks"][name]["log"])


async def test_job_is_deleted_when_the_server_has_stored_the_result(
    shim: Path, dev_cluster: DevCluster
) -> None:
    ctx = a_context(dev_cluster, "run-1")
    outcome, _ = await node_host(shim, [run_step("one", ctx, storesAfterMs=400)])
    assert outcome["results"]["one"]["exitCode"] == 0
    assert list(dev_cluster.store.list(JOBS)) == []


async def test_result_that_the_server_failed_to_store_is_returned_by_the_next_run(
    shim: Path, dev_cluster: DevCluster
) -> None:
    ctx = a_context(dev_cluster, "run-1")
    pause = {"name": "pause", "method": "sleep", "ms": 500}  # meanwhile the host fails to store the result
    outcome, _ = await node_host(
        shim, [run_step("one", ctx, loses=True), pause, run_step("two", retry_of(ctx, "run-2"))]
    )
    one, two = outcome["results"]["one"], outcome["results"]["two"]
    assert (two["exitCode"], two["costUsd"]) == (0, one["costUsd"])
    assert "Created K8s Job" not in log_of(outcome, "two")
    assert list(dev_cluster.store.list(JOBS)) == []


async def test_next_run_of_the_agent_waits_while_a_result_is_stored(
    shim: Path, dev_cluster: DevCluster
) -> None:
    ctx = a_context(dev_cluster, "run-1")
    ctx["config"]["concurrencyWaitSec"] = 0
    other = {**ctx, "runId": "run-2", "context": {**ctx["context"], "taskId": "another-task"}}
    outcome, _ = await node_host(shim, [run_step("one", ctx, storesAfterMs=1500), run_step("two", other)])
    # if "two" had not waited for the deletion of the first Job, this Job would have blocked it
    assert outcome["results"]["two"]["exitCode"] == 0, outcome["results"]["two"]


async def test_stop_of_the_server_waits_until_results_are_stored(shim: Path, dev_cluster: DevCluster) -> None:
    ctx = a_context(dev_cluster, "run-1")
    pause = {"name": "pause", "method": "sleep", "ms": 3500}  # meanwhile the package passes the signal on
    steps = [run_step("one", ctx, storesAfterMs=700), {"name": "signal", "method": "sigterm"}, pause]
    outcome, _ = await node_host(shim, steps)
    assert outcome["results"]["one"]["exitCode"] == 0
    assert outcome["signals"] == [{"name": "SIGTERM", "active": 0, "open": 0}]


async def test_job_is_deleted_although_the_server_loses_its_lease_after_the_result(
    shim: Path, dev_cluster: DevCluster
) -> None:
    """The server also reports a lost lease if it finds that the run has ended meanwhile."""
    ctx = a_context(dev_cluster, "run-1")
    await node_host(shim, [run_step("one", ctx, storesAfterMs=300, losesLeaseAfterwards=True)])
    assert list(dev_cluster.store.list(JOBS)) == []


async def test_job_is_deleted_although_the_server_sends_no_events(
    shim: Path, dev_cluster: DevCluster
) -> None:
    stored_js = shim / "stored.js"
    stored_js.write_text(stored_js.read_text().replace("subscribeAllCompanyLiveEvents", "renamed"))
    outcome, _ = await node_host(shim, [run_step("one", a_context(dev_cluster, "run-1"), storesAfterMs=400)])
    assert outcome["results"]["one"]["exitCode"] == 0
    assert list(dev_cluster.store.list(JOBS)) == []
