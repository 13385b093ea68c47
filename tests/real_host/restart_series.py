"""Ends the real Paperclip server in the middle of runs, again and again, and prints a line for each time.

    REAL_HOST=FOLDER python -m tests.real_host.restart_series 10 SIGTERM SIGKILL

The number says how often each signal is sent. Each time three agents work. The Pod of the first works until
the server runs again, the Pod of the second ends while no server runs, and the server is ended as soon as the
Pod of the third has ended. The result of each Job must become the result of exactly one run. Afterwards no
object of a run may exist in the cluster. Ten times with both signals take about 40 minutes.

A server may be killed after it has received a result and before it has stored the result. It then holds the
task for ever, and refuses what `claude-k8s recover` reports. In this case the Job must still exist.
"""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real_host.paperclip import CheckFailed, Paperclip, Pods, eventually, expect
from tests.real_host.restarts import LEASE_EXPIRY, recover, wait_until_ready
from tests.real_host.rig import real_host
from tests.real_host.runs import EXPECTED_USAGE
from tests.real_host.testbed import ADAPTER_TYPE, RUN_TIMEOUT, Testbed

SETTLE_TIMEOUT = 150.0
"""Seconds after a restart within which all runs must have ended and their objects must be deleted."""
RECOVER_INTERVAL = 5.0
"""Seconds between two calls of `claude-k8s recover`."""
ACTIVE = frozenset({"queued", "running", "scheduled_retry"})
WORK_SECONDS = {
    signal.SIGTERM: {"ends after": 30, "ends meanwhile": 7, "ends before": 4},
    signal.SIGKILL: {"ends after": 95, "ends meanwhile": 20, "ends before": 4},
}
"""How long each agent works after its last line. The key says when its Pod ends: before the server's end,
while no server runs, or after the restart. Before SIGKILL the server is suspended for `LEASE_EXPIRY`."""
OBJECTS = ("jobs", "pods", "secrets", "leases")
HELD_FOR_GOOD = "execution_finalization_deadline_exceeded"
"""The server's code for a run whose result it has received and not stored."""


@dataclass(frozen=True, slots=True)
class Work:
    """One agent, its task and its first run. `role`: a key of `WORK_SECONDS`."""

    role: str
    agent: str
    issue: str
    run: str


async def _begin(testbed: Testbed, signum: signal.Signals, attempt: int, role: str) -> Work:
    host, seconds = testbed.host, WORK_SECONDS[signum][role]
    name = f"{signum.name} {attempt} {role}"
    agent = await host.create_agent(name, ADAPTER_TYPE, testbed.config({"CLAUDE_SLEEP": str(seconds)}))
    issue = await host.assign(agent, name)
    run = (await host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    await testbed.pods.wait_until_running(run, RUN_TIMEOUT)
    return Work(role, agent, issue, run)


async def _end_server(testbed: Testbed, signum: signal.Signals, ending: Work) -> None:
    """End and restart the server as soon as the Pod of `ending` has ended."""

    def has_ended(pods: list[Any]) -> bool:
        return not pods or pods[0]["status"]["phase"] in {"Succeeded", "Failed"}

    await eventually(lambda: testbed.pods.of_run(ending.run), has_ended, "the Pod's end", RUN_TIMEOUT)
    if signum == signal.SIGKILL:
        await testbed.rig.restart_server(signum, suspended_for=LEASE_EXPIRY)
    else:
        await testbed.rig.restart_server(signum)
    await wait_until_ready(testbed)


async def _check(testbed: Testbed, work: Work, held_for_good: set[str]) -> str:
    """Check that each Job's result was stored for one run, or is kept; return how the agent's runs ended."""
    host = testbed.host

    async def runs() -> list[Any]:
        return await host.runs(work.agent)

    def have_ended(found: list[Any]) -> bool:
        return not any(run["status"] in ACTIVE for run in found) and (
            work.run in held_for_good or any(run["status"] == "succeeded" for run in found)
        )

    records = await eventually(runs, have_ended, f"{work.role}: runs that have ended", SETTLE_TIMEOUT)
    records = [await host.run(run["id"]) for run in records]
    logs = [await host.log(run["id"]) if run["logRef"] else "" for run in records]
    created = sum(log.count("Created K8s Job") for log in logs)
    costs = [(run["usageJson"] or {}).get("costUsd") for run in records]
    stored_costs = [cost for cost in costs if cost]
    outcomes = ", ".join(f"{run['status']} {run['errorCode'] or ''}".strip() for run in records)
    if work.run in held_for_good:
        (job,) = await testbed.pods.of_run(work.run, "jobs")
        expect(
            job["status"].get("succeeded") == 1,
            f"{work.role}: the Job keeps its result; {outcomes}",
            job["status"],
        )
        expect(not stored_costs, f"{work.role}: no run has the result; {outcomes}", costs)
        await testbed.pods.delete_jobs_of_run(work.run)
        return f"{work.role}: {outcomes}, the server refuses the task, its Job is kept"
    one_cost_per_job = [EXPECTED_USAGE["cost"]] * created
    expect(stored_costs == one_cost_per_job, f"{work.role}: {created} results; {outcomes}", costs)
    expect(costs[0] or costs[1], f"{work.role}: the first or second run has the first result", outcomes)
    return f"{work.role}: {outcomes}, {created} Job(s)"


async def _recover_all(testbed: Testbed, held_for_good: set[str]) -> None:
    """Call `claude-k8s recover` again and again: the server ends interrupted runs one after another.

    Runs whose task the server refuses to release are added to `held_for_good`.
    """
    while True:
        reply = await recover(testbed)
        held = [task for task in reply["tasks"] if task["outcome"] != "released"]
        for_good = {task["run"] for task in held if task["error_code"] == HELD_FOR_GOOD}
        expect(all(task["run"] in for_good for task in held), "all other tasks are released", held)
        held_for_good |= for_good
        await asyncio.sleep(RECOVER_INTERVAL)


async def _attempt(testbed: Testbed, signum: signal.Signals, attempt: int) -> str:
    roles = WORK_SECONDS[signum]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_begin(testbed, signum, attempt, role)) for role in roles]
    works = [task.result() for task in tasks]
    await _end_server(testbed, signum, works[-1])
    held_for_good: set[str] = set()
    async with asyncio.TaskGroup() as group:
        recovering = (
            group.create_task(_recover_all(testbed, held_for_good)) if signum == signal.SIGKILL else None
        )
        reports = [await _check(testbed, work, held_for_good) for work in works]
        if recovering is not None:
            recovering.cancel()

    async def remaining_objects() -> list[str]:
        objects = [(kind, await testbed.pods.all_of(kind)) for kind in OBJECTS]
        return [f"{kind}/{item['metadata']['name']}" for kind, items in objects for item in items]

    await eventually(
        remaining_objects, lambda found: not found, "no remaining object in the cluster", SETTLE_TIMEOUT
    )
    return "; ".join(reports)


async def main(folder: Path, times: int, signals: list[signal.Signals]) -> int:
    """Return the exit code: 0 if all attempts succeeded."""
    failed = 0
    async with real_host(folder) as rig, Paperclip.at(f"{rig.url}/api") as host:
        testbed = Testbed(rig, host, Pods(host.http, rig.kubeconfig))
        for attempt in range(1, times + 1):
            for signum in signals:
                failed += not await _succeeds(testbed, signum, attempt)
    return 1 if failed else 0


async def _succeeds(testbed: Testbed, signum: signal.Signals, attempt: int) -> bool:
    began, text = asyncio.get_running_loop().time(), ""
    failures: list[str] = []
    try:
        text = await _attempt(testbed, signum, attempt)
    except* (CheckFailed, KeyError, ValueError, OSError, TimeoutError) as errors:
        failures = [str(error) for error in errors.exceptions]
    took = asyncio.get_running_loop().time() - began
    outcome = "FAILED " if failures else "ok     "
    print(f"{outcome} {signum.name} {attempt}, {took:.0f} s: {'; '.join(failures) or text}", flush=True)
    return not failures


if __name__ == "__main__":
    signals = [signal.Signals[name] for name in sys.argv[2:]]
    sys.exit(asyncio.run(main(Path(os.environ["REAL_HOST"]).resolve(), int(sys.argv[1]), signals)))
