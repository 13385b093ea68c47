"""A host process is cut off at any API call of a run; the next process gets the result and leaves no objects.

Each test cuts a host off before or after one call, on virtual time. For the cluster that looks like a
SIGKILL; `tests/journeys/test_sigkill.py` kills real processes.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Host, jobs, lease_holders
from tests.support.in_memory_runs import WHOLE
from tests.support.run_calls import NOT_CALLED_BY_RUNS, SCENARIOS, Scenario
from tests.support.strategy_calls import NEW_README, make_project, strategy_scenarios
from tests.support.traced_cluster import Moment

from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster.kinds import CLAIMS, JOBS, PODS, SECRETS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.session_volume import CLAIM_PREFIX
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog

pytestmark = pytest.mark.looptime
BLOCKED = "k8s_concurrent_run_blocked"
DISRUPTED_AT = 15.0
"""Seconds from the start of a run to the disruption."""
REPEAT_AFTER = 70.0
"""Seconds until a blocked run is repeated; by then the Lease of a host that was cut off has expired."""


def all_scenarios(project: Path) -> dict[str, Scenario]:
    """Name → scenario. `project`: the host's folder."""
    return {**SCENARIOS, **strategy_scenarios(project)}


ALL = all_scenarios(Path("project"))
"""All scenarios, for their names and calls."""


@dataclass(slots=True)
class Invariants:
    """Conditions that hold at every moment, wherever a host is cut off."""

    fake: FakeCluster
    started_agents: set[str] = field(default_factory=set)
    """Uids of all Pods whose agent ran."""
    violations: list[str] = field(default_factory=list)

    async def watch(self) -> None:
        while True:
            changed = self.fake.store.next_change()
            self._check()
            await changed.wait()

    def _check(self) -> None:
        store = self.fake.store
        for secret in store.list(SECRETS):
            if not secret["metadata"].get("ownerReferences"):
                self.violations.append(f"Secret {secret['metadata']['name']} has no owner")
        running_pods = [pod for pod in store.list(PODS) if _is_running(pod)]
        self.started_agents |= {pod["metadata"]["uid"] for pod in running_pods}
        if len(running_pods) > 1:
            self.violations.append(f"{len(running_pods)} Pods run at once")
        for pod in running_pods:
            name = pod["metadata"]["labels"]["job-name"]
            owned = store.find(JOBS, NAMESPACE, name) is not None
            terminating = "deletionTimestamp" in pod["metadata"]  # then its Secret may be deleted
            if owned and not terminating and store.find(SECRETS, NAMESPACE, name) is None:
                self.violations.append(f"Pod {pod['metadata']['name']} runs without its Secret")


def _is_running(pod: Any) -> bool:
    return bool(pod["status"].get("phase") == "Running")


@asynccontextmanager
async def checked_cluster(folder: Path, scenario: Scenario) -> AsyncIterator[tuple[FakeCluster, Invariants]]:
    async with FakeCluster.start(folder, scenario.pod_script) as fake, asyncio.TaskGroup() as group:
        invariants = Invariants(fake)
        watching = group.create_task(invariants.watch())
        await scenario.before(fake)
        if scenario.forbidden:
            fake.faults.denied.add(scenario.forbidden)
        if scenario.refused:
            fake.faults.refuse(*scenario.refused, times=1000)
        try:
            yield fake, invariants
        finally:
            watching.cancel()


async def run_scenario(host: Host, scenario: Scenario) -> ExecutionResult:
    """Run the scenario's context, with the stop and the disruption that it prescribes."""
    stop = asyncio.Event()
    if scenario.stopped_after is not None:
        asyncio.get_running_loop().call_later(scenario.stopped_after, stop.set)
    if scenario.during is not None:
        asyncio.get_running_loop().call_later(DISRUPTED_AT, scenario.during, host.fake)
    result, _ = await host.run(**scenario.more, signal=stop)
    return result


async def run_next(host: Host, scenario: Scenario) -> tuple[ExecutionResult, HostLog]:
    """Run the scenario's context. While the run is blocked, repeat it, up to three times."""
    for _ in range(4):
        result, host_log = await host.run(**scenario.more)
        if result.error_code != BLOCKED:
            break
        await asyncio.sleep(REPEAT_AFTER)
    return result, host_log


def all_cuts() -> Iterator[Any]:
    """(scenario, call, moment) of every call; of several equal calls, only of the first two and the last."""
    for name, scenario in ALL.items():
        for call in scenario.calls:
            if not _is_middle_repetition(call, scenario):
                for moment in Moment:
                    yield pytest.param(name, call, moment, id=f"{name}, {moment} {call}")


def _is_middle_repetition(call: str, scenario: Scenario) -> bool:
    """Whether the call is neither among the first two of its kind nor the last."""
    kind, _, nth = call.partition(" (")
    later = f"{kind} ({int(nth.rstrip(')')) + 1})" if nth else ""
    return nth not in {"", "2)"} and later in scenario.calls


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of the host that some scenarios upload."""
    folder = tmp_path / "project"
    make_project(folder)
    return folder


@pytest.mark.parametrize("name", ALL)
async def test_scenario_lists_every_call_of_its_run(tmp_path: Path, project: Path, name: str) -> None:
    scenario = all_scenarios(project)[name]
    async with checked_cluster(tmp_path, scenario) as (_, invariants):
        host = Host(invariants.fake, "host-one")
        await run_scenario(host, scenario)
        await asyncio.sleep(3)
        await host.adapter.shutdown()
        assert sorted(host.cluster.calls) == sorted(scenario.calls)
        assert invariants.violations == []


def test_scenarios_cover_every_method_of_cluster() -> None:
    methods = {name for name in dir(Cluster) if not name.startswith("_")}
    called = {re.split(r"[ (]", call)[0] for scenario in ALL.values() for call in scenario.calls}
    assert methods - NOT_CALLED_BY_RUNS == called


@pytest.mark.parametrize(("name", "call", "moment"), list(all_cuts()))
async def test_host_cut_off_at_any_call_loses_no_result_and_leaves_nothing(
    tmp_path: Path, project: Path, name: str, call: str, moment: Moment
) -> None:
    scenario = all_scenarios(project)[name]
    async with checked_cluster(tmp_path, scenario) as (fake, invariants), asyncio.TaskGroup() as group:
        first = Host(fake, "host-one", lambda *given: given == (call, moment))
        running = group.create_task(_run_until_cut_off(first, scenario))
        async with asyncio.timeout(600):
            await first.cluster.cut_off.wait()
        fake.faults.request_hooks.clear()
        successor = Host(fake, "host-two")
        result, host_log = await run_next(successor, scenario)
        running.cancel()
        limited_calls = [call for call in first.cluster.finished if call in scenario.max_agents]
        last_finished = limited_calls[-1] if limited_calls else ""
        assert result.error_code in ({None} if last_finished else scenario.error_codes), result.error_message
        if result.error_code is None:
            assert host_log.stdout.encode().endswith(WHOLE)
        await asyncio.sleep(30)
        await successor.adapter.shutdown()
        assert objects_left(fake, scenario) == []
        assert len(invariants.started_agents) <= scenario.max_agents[last_finished]
        assert invariants.violations == []
        if scenario.changes_project:
            assert_changed(project)


async def _run_until_cut_off(host: Host, scenario: Scenario) -> None:
    try:
        await run_scenario(host, scenario)
        await asyncio.sleep(3)
    finally:
        await host.adapter.shutdown()


def assert_changed(project: Path) -> None:
    """Check that the agent's change is in the host's folder, and no temporary file of the adapter."""
    assert (project / "README").read_text() == NEW_README
    assert {path.name for path in project.iterdir()} == {"README", "data"}


def objects_left(fake: FakeCluster, scenario: Scenario) -> list[str]:
    """Objects that should have been deleted.

    Two objects may stay: one claim for the agent's sessions, and the process Lease of the first host.
    """
    taken = [job for job in jobs(fake) if scenario.keeps_taken_jobs and "result-taken" in str(job)]
    kept = {job["metadata"]["name"] for job in taken}
    pods = {pod["metadata"]["name"]: pod["metadata"]["labels"]["job-name"] for pod in fake.store.list(PODS)}
    named = {job["metadata"]["name"] for job in jobs(fake)}
    secrets = [secret["metadata"] for secret in fake.store.list(SECRETS)]
    named |= {meta["name"] for meta in secrets if meta["ownerReferences"][0]["name"] not in kept}
    pods_left = [pod for pod, job in pods.items() if job not in kept]
    leases = [holder for holder in lease_holders(fake, "process") if holder == "host-two"]
    names = [claim["metadata"]["name"] for claim in fake.store.list(CLAIMS)]
    claims = [name for name in names if name.startswith(CLAIM_PREFIX)]
    return [*sorted(named - kept), *pods_left, *lease_holders(fake, "slot"), *leases, *claims[1:]]
