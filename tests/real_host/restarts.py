"""Checks in which the real Paperclip server or the bridge is ended while an agent works. The agent works on.

Each check returns a note for the report, or raises `CheckFailed`.
"""

import asyncio
import json
import os
import signal
import sys
from typing import Any

from tests.real_host.paperclip import CheckFailed, eventually, expect
from tests.real_host.rig import pythonpath
from tests.real_host.runs import EXPECTED_USAGE
from tests.real_host.testbed import ADAPTER_TYPE, RUN_TIMEOUT, Testbed

from paperclip_claude_k8s.cli.recover_command import TOKEN_VARIABLE

WITH_LOGINS = {
    "PAPERCLIP_DEPLOYMENT_MODE": "authenticated",
    "BETTER_AUTH_SECRET": "for-checks-only-not-a-secret-for-checks-only",
}
LEASE_EXPIRY = 65.0
"""Seconds after which what the server calls its lease on a run has expired. It is not a Kubernetes Lease."""
RESTART_TIMEOUT = 120.0
"""Seconds until the next run of a task has ended: the server waits 30 s before it, and the Job has to end."""


async def _start(testbed: Testbed, name: str, seconds: int) -> tuple[str, str, str]:
    """Start a run that lasts for so many seconds; return the ids of agent, issue and run."""
    host = testbed.host
    agent = await host.create_agent(name, ADAPTER_TYPE, testbed.config({"CLAUDE_SLEEP": str(seconds)}))
    issue = await host.assign(agent, f"Task of {name}")
    run = (await host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    await testbed.pods.wait_until_running(run, RUN_TIMEOUT)
    return agent, issue, run


async def wait_until_ready(testbed: Testbed) -> None:
    async def health() -> Any:
        try:
            return await testbed.host.call("GET", "/health")
        except (CheckFailed, OSError):
            return {}

    def is_ready(found: Any) -> bool:
        return bool(found) and (found.get("startupRecovery") or {}).get("phase", "ready") == "ready"

    await eventually(health, is_ready, "the server after its restart", RESTART_TIMEOUT)


async def _check_job_is_adopted(testbed: Testbed, agent: str, issue: str, first: str) -> str:
    """Check that a later run adopted the Job of the run `first` and has its result; return that run's id."""
    host = testbed.host

    async def succeeded() -> list[Any]:
        return [run for run in await host.runs(agent) if run["status"] == "succeeded"]

    (later, *_) = await eventually(succeeded, len, "a run with the result", RESTART_TIMEOUT)
    run = await host.run(later["id"])
    expect(run["usageJson"]["costUsd"] == EXPECTED_USAGE["cost"], "the cost of the one Job", run["usageJson"])
    log = await host.log(run["id"])
    expect("Created K8s Job" not in log and first in log, "the first run's Job was adopted", log[:2000])
    actions = await host.call("GET", f"/issues/{issue}/recovery-actions")
    cause = (actions["active"] or {}).get("cause")
    expect(cause != "legacy_execution_requires_reconciliation", "no hold on the task", actions)
    await eventually(
        lambda: testbed.pods.of_run(first, "jobs"), lambda found: not found, "nothing left", RUN_TIMEOUT
    )
    return str(run["id"])[:8]


async def a_killed_bridge_is_replaced_within_the_run(testbed: Testbed) -> str:
    host = testbed.host
    agent, _, run = await _start(testbed, "Hedy", 15)
    for pid in testbed.rig.bridges():
        os.kill(pid, signal.SIGKILL)
    record = await host.wait_for_end(run, RUN_TIMEOUT * 2)
    expect(record["status"] == "succeeded", "the run succeeds", record)
    log = await host.log(run)
    expect(
        log.count("Created K8s Job") == 1 and "starting it again" in log, "one Job, two bridges", log[:2000]
    )
    expect(log.count("· session") == 1, "each line once", log)
    return f"run {run[:8]} succeeded; {len(await host.runs(agent))} run(s) of the agent"


async def a_job_is_adopted_after_a_rolling_update(testbed: Testbed) -> str:
    """If the stopping server fails to write to its own database, the check is made once more."""
    for name in ("Radia", "Adele"):
        agent, issue, run = await _start(testbed, name, 20)
        await testbed.rig.restart_server(signal.SIGTERM)
        (pod,) = await testbed.pods.of_run(run)
        expect(pod["status"]["phase"] == "Running", "the Pod still runs", pod["status"])
        await wait_until_ready(testbed)
        ended = await testbed.host.run(run)
        if not (ended["error"] or "").startswith("Failed query"):
            break
    expect(ended["errorCode"] == "k8s_server_stopped", "the run's code", ended)
    later = await _check_job_is_adopted(testbed, agent, issue, run)
    return f"SIGTERM: run {run[:8]} ended, run {later} has the result of its Job"


async def a_task_is_recovered_after_a_server_with_logins_was_killed(testbed: Testbed) -> str:
    """The server holds the task until `claude-k8s recover` says how the run ended."""
    key = (await testbed.host.call("POST", "/board-api-keys", {"name": "recover"}))["token"]
    agent, issue, run = await _start(testbed, "Frances", 90)  # longer than the server is suspended
    await testbed.rig.restart_with(WITH_LOGINS, suspended_for=LEASE_EXPIRY)
    testbed.host.http.headers["Authorization"] = f"Bearer {key}"
    await wait_until_ready(testbed)
    ended = await testbed.host.wait_for_end(run, RESTART_TIMEOUT)
    expect(ended["errorCode"] == "process_lost", "the run's code", ended)
    refused = await recover(testbed)
    expect(
        TOKEN_VARIABLE in refused.get("detail", ""),
        "without a key, a reply that names the variable for it",
        refused,
    )
    expect(key not in json.dumps(refused), "no key in the reply")
    reply = await _recover_run(testbed, run, key)
    (task,) = [task for task in reply["tasks"] if task["run"] == run]
    expect(task["outcome"] == "released", "the task is released", reply)
    later = await _check_job_is_adopted(testbed, agent, issue, run)
    return f"SIGKILL: Job {task['job_state']}, task released with a key, run {later} has the result"


async def _recover_run(testbed: Testbed, run: str, key: str) -> Any:
    """Call `claude-k8s recover` until it finds the run; return its reply."""

    def has_run(found: Any) -> bool:
        return any(task["run"] == run for task in found.get("tasks", []))

    return await eventually(lambda: recover(testbed, key), has_run, "the held task", RUN_TIMEOUT)


async def recover(testbed: Testbed, key: str = "") -> Any:
    """Call `claude-k8s recover` once; return its reply. `key`: API key of a board member."""
    command = ("-m", "paperclip_claude_k8s", "recover", "--server", testbed.rig.url)
    env = {**os.environ, "PYTHONPATH": pythonpath(), TOKEN_VARIABLE: key}
    env.pop("KUBECONFIG", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=env,
    )
    output, _ = await process.communicate()
    return json.loads(output)


RESTARTS = (
    a_killed_bridge_is_replaced_within_the_run,
    a_job_is_adopted_after_a_rolling_update,
    a_task_is_recovered_after_a_server_with_logins_was_killed,  # last: its server cannot be restarted
)
