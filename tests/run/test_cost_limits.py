"""`maxCostUsdPerRun`, and the daily budget of the policy."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Host, jobs, started
from tests.support.in_memory_runs import GOOD, LONG, SESSION, UNKNOWN_SESSION_OUTPUT, WHOLE, one_host

from paperclip_claude_k8s.host.daily_spending import DailySpending, next_day
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
EVENTS = [json.loads(line) for line in WHOLE.splitlines()]
RESULT = json.dumps({**EVENTS[-1], "total_cost_usd": 7.0}).encode() + b"\n"
"""A successful result, which says that the run has cost seven dollars."""
BEGINNING = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS[:-1])
NEXT_TURN = json.dumps({**EVENTS[0], "uuid": "x"}).encode() + b"\n"
"""Another `init` event: the CLI begins another turn after its result."""


async def test_limit_is_passed_to_the_cli(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LONG) as fake:
        host = Host(fake, "host-one")
        async with started(host, config={"maxCostUsdPerRun": 2.5}):
            (job,) = jobs(fake)
        await host.adapter.shutdown()
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--max-budget-usd") + 1] == "2.5"


async def test_agent_that_works_on_above_the_limit_is_stopped(tmp_path: Path) -> None:
    script = PodScript(output=((0.0, BEGINNING), (5.0, RESULT), (8.0, NEXT_TURN)), ends_at=500.0)
    async with one_host(tmp_path, script) as (_, run):
        result, host_log = await run(config={"maxCostUsdPerRun": 5})
    assert result.error_code == "claude_max_budget"
    assert "7.00 USD" in (result.error_message or "")
    assert "Cost limit passed" in host_log.status


@pytest.mark.parametrize("limit", [5, 50, 0])
async def test_agent_that_ends_with_its_result_succeeds_at_any_cost(limit: float, tmp_path: Path) -> None:
    script = PodScript(output=((0.0, BEGINNING), (5.0, RESULT)), ends_at=8.0)
    async with one_host(tmp_path, script) as (_, run):
        result, _ = await run(config={"maxCostUsdPerRun": limit})
    assert result.error_code is None
    assert result.cost_usd == 7.0


async def test_agent_below_the_limit_works_on(tmp_path: Path) -> None:
    script = PodScript(output=((0.0, BEGINNING), (5.0, RESULT), (8.0, NEXT_TURN + RESULT)), ends_at=12.0)
    async with one_host(tmp_path, script) as (_, run):
        result, _ = await run(config={"maxCostUsdPerRun": 50})
    assert result.error_code is None


@pytest.mark.parametrize("value", [-1, "much", float("inf")])
async def test_limit_must_be_a_number_of_dollars(value: Any, tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        result, _ = await run(config={"maxCostUsdPerRun": value})
    assert result.error_code == "k8s_config_invalid"
    assert "maxCostUsdPerRun" in (result.error_message or "")


async def test_daily_budget_refuses_further_runs_of_the_agent(tmp_path: Path) -> None:
    settings = ProcessSettings(policy=Policy.read({"maxCostUsdPerAgentPerDay": 0.01}))
    async with one_host(tmp_path, GOOD, settings) as (fake, run):
        first, _ = await run()
        second, _ = await run(runId="run-2")
        other, _ = await run(runId="run-3", agent={"id": "agent-2", "companyId": "co"})
    assert first.error_code is None
    assert second.error_code == "claude_max_budget"
    assert second.retry_not_before is not None
    assert second.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert other.error_code is None
    assert fake.calls.count("create", "jobs") == 2


async def test_run_that_waits_for_its_slot_is_refused_if_the_budget_is_spent(
    tmp_path: Path,
) -> None:
    settings = ProcessSettings(policy=Policy.read({"maxCostUsdPerAgentPerDay": 0.01}))
    async with one_host(tmp_path, GOOD, settings) as (fake, run):
        waiting = {"concurrencyWaitSec": 1000}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(runId=f"run-{number}", config=waiting)) for number in range(4)]
        codes = [task.result()[0].error_code for task in tasks]
        assert codes == [None, *["claude_max_budget"] * 3]
        assert fake.calls.count("create", "jobs") == 1


async def test_second_attempt_is_refused_if_the_budget_is_spent(tmp_path: Path) -> None:
    settings = ProcessSettings(policy=Policy.read({"maxCostUsdPerAgentPerDay": 0.01}))
    lost = PodScript(output=((9.0, UNKNOWN_SESSION_OUTPUT),), exit_code=1)
    async with one_host(tmp_path, lost, settings) as (fake, run), asyncio.TaskGroup() as group:
        runtime = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
        task = group.create_task(run(runtime=runtime, config={"claimName": "paperclip-data"}))
        await asyncio.sleep(5)
        (job,) = jobs(fake)
        agent = job["metadata"]["labels"]["paperclip.io/agent-id"]
        company = job["metadata"]["labels"].get("paperclip.io/company-id", "")
        settings.spending.add((company, agent), 1.0, settings.now())  # by a run of another task
        result, _ = await task
        assert result.error_code == "claude_max_budget"
        assert fake.calls.count("create", "jobs") == 1


async def test_policy_limits_the_cost_of_a_run(tmp_path: Path) -> None:
    settings = ProcessSettings(policy=Policy.read({"maxCostUsdPerRun": 2}))
    async with one_host(tmp_path, GOOD, settings) as (_, run):
        without, _ = await run()
        above, _ = await run(config={"maxCostUsdPerRun": 3})
        replaced, _ = await run(config={"maxCostUsdPerRun": 1, "extraArgs": ["--max-budget-usd", "9"]})
        within, _ = await run(config={"maxCostUsdPerRun": 2})
    codes = [result.error_code for result in (without, above, replaced, within)]
    assert codes == ["k8s_policy_refused"] * 3 + [None]


def test_spending_starts_anew_each_day() -> None:
    spending, agent = DailySpending(), ("co", "ada")
    late = datetime(2026, 1, 1, 23, 59, tzinfo=UTC)
    spending.add(agent, 3.0, late)
    spending.add(agent, 1.5, late)
    assert spending.spent(agent, late) == 4.5
    assert spending.spent(("co", "bob"), late) == 0
    assert next_day(late) == datetime(2026, 1, 2, tzinfo=UTC)
    assert spending.spent(agent, next_day(late)) == 0
