"""Checks of runs on the real Paperclip server. Each check raises `CheckFailed` if it fails."""

import asyncio
import json
from datetime import UTC, datetime

from tests.real_host.paperclip import CheckFailed, eventually, expect
from tests.real_host.stage import KIND, SOON, Stage

USED = {"input": 5928, "output": 317, "cached": 10810, "cost": 0.0302145}
ANSWER = "Second part: alpha and beta."
"""Usage and answer of the stand-in's recorded run."""
BEFORE_RENEWAL = 7.0
"""Seconds after a run's start: the server renews its lease after 10 s, and drains for 5 s when it stops."""
RETRY = 90.0
"""Seconds until a retry has ended: the server waits 30 s and checks its timers every 30 s."""
CANARY = "sk-canary-5f2c8e1b7a904d63"
"""A credential of the agent, which the server must not store with a run."""
BROKEN = "; ".join(
    f"printf '%s\\n' '{json.dumps(event)}'"
    for event in (
        {
            "type": "system",
            "subtype": "init",
            "session_id": "11111111-2222-4333-8444-555555555555",
            "model": "m",
        },
        {"type": "result", "subtype": "error_during_execution", "is_error": True, "result": "it broke"},
    )
)
FAILS = f"{BROKEN}; exit 1"


async def a_run_succeeds(stage: Stage) -> str:
    host = stage.host
    agent = await host.hire("Ada", KIND, stage.config({"ANTHROPIC_API_KEY": CANARY}))
    issue = await host.assign(agent, "First")
    run = await host.ended((await host.nth_run(agent, 1, SOON))["id"], SOON)
    usage = run["usageJson"] or {}
    expect(run["status"] == "succeeded", "the run succeeds", run)
    reported = {
        "input": usage["inputTokens"],
        "output": usage["outputTokens"],
        "cached": usage["cachedInputTokens"],
    }
    expect(reported | {"cost": usage["costUsd"]} == USED, "usage and cost", usage)
    expect(
        usage["billingType"] == "metered_api" and usage["usageSource"] == "per_run",
        "billing type and source",
        usage,
    )
    expect(run["sessionIdAfter"], "a session", run)
    bodies = await eventually(lambda: host.comments(issue), len, "a comment", SOON)
    expect(any(ANSWER in body for body in bodies), "the answer as a comment", bodies)
    await eventually(
        lambda: host.call("GET", f"/companies/{host.company}/costs/summary"),
        lambda spent: spent["spendCents"] >= round(USED["cost"] * 100),
        "the cost in the company's ledger",
        SOON,
    )
    await _resumes(stage, agent, issue, run["sessionIdAfter"])
    stored = json.dumps([await host.run(one["id"]) for one in await host.runs(agent)])
    events = json.dumps(await host.call("GET", f"/heartbeat-runs/{run['id']}/events?limit=200"))
    expect(
        CANARY not in stored + events + await host.log(run["id"]),
        "no credential in stored runs, events and log",
    )
    return f"usage, cost ${USED['cost']}, comment; a second run resumed session {run['sessionIdAfter'][:8]}…"


async def _resumes(stage: Stage, agent: str, issue: str, session: str) -> None:
    """Check that a second run resumes the session. The server queues it itself, or after a comment."""
    host = stage.host
    try:
        second = await host.nth_run(agent, 2, 5)
    except CheckFailed:
        await host.call("POST", f"/issues/{issue}/comments", {"body": "Please go on."})
        second = await host.nth_run(agent, 2, SOON)
    run = await host.ended(second["id"], SOON)
    sessions = (run["sessionIdBefore"], run["sessionIdAfter"])
    expect(run["status"] == "succeeded" and sessions == (session, session), "the session is resumed", run)
    expect("Starting a fresh session" not in await host.log(run["id"]), "no fresh session")


async def stop_is_acknowledged(stage: Stage) -> str:
    host = stage.host
    agent = await host.hire("Grace", KIND, stage.config({"CLAUDE_SLEEP": "300"}))
    issue = await host.assign(agent, "Long")
    run = (await host.nth_run(agent, 1, SOON))["id"]
    await stage.pods.running(run, SOON)
    began = asyncio.get_running_loop().time()
    status, answer = await host.request("POST", f"/heartbeat-runs/{run}/cancel", {})
    took = asyncio.get_running_loop().time() - began
    expect(status == 200, f"a Stop with status 200, not {status}", answer)
    expect(await stage.pods.of_run(run) == [], "no Pod after the response to Stop")
    expect(await stage.pods.of_run(run, "jobs") == [], "no Job either")
    stored = await host.run(run)
    state = (stored["resultJson"] or {}).get("executionCancellation", {}).get("state")
    expect(
        (stored["status"], state) == ("cancelled", "acknowledged"), "a cancelled, acknowledged run", stored
    )
    await stage.reconfigure(agent)
    await host.call("POST", f"/issues/{issue}/comments", {"body": "Start over, please."})
    again = await host.ended((await host.nth_run(agent, 2, SOON))["id"], SOON)
    expect(again["status"] == "succeeded", "a comment starts the stopped task again", again)
    return f"HTTP 200 after {took:.1f}s, Pod and Job gone; a comment started the task again"


async def an_early_failure_is_retried(stage: Stage) -> str:
    """A Pod cannot be scheduled; after the cause is removed, the server retries by itself."""
    host = stage.host
    agent = await host.hire("Joan", KIND, stage.config(nodeSelector="disk=none", scheduleTimeoutSec=2))
    await host.assign(agent, "Unschedulable")
    run = await host.ended((await host.nth_run(agent, 1, SOON))["id"], SOON)
    expect(run["errorCode"] == "k8s_pod_schedule_failed", "the failure's code", run)
    expect(
        (run["resultJson"] or {}).get("executionRecovery", {}).get("kind") == "bootstrap",
        "the recovery kind",
        run,
    )
    second = await host.nth_run(agent, 2, SOON)
    expect(second["retryOfRunId"] == run["id"], "a retry of that run", second)
    expect(second["scheduledRetryReason"] == "transient_failure", "scheduled by the server", second)
    await stage.reconfigure(agent)
    retry = await host.ended(second["id"], RETRY)
    expect(retry["status"] == "succeeded", "the retry succeeds after the cause was removed", retry)
    return "k8s_pod_schedule_failed; the server's own retry succeeded"


async def a_late_failure_lets_a_comment_wake_the_task(stage: Stage) -> str:
    host = stage.host
    agent = await host.hire("Mary", KIND, stage.config({"CLAUDE_SCRIPT": FAILS}))
    issue = await host.assign(agent, "Breaks")
    run = await host.ended((await host.nth_run(agent, 1, SOON))["id"], SOON)
    expect((run["status"], run["errorCode"]) == ("failed", "claude_failed"), "the failure's code", run)
    await _wait_until_idle(stage, agent)
    actions = await host.call("GET", f"/issues/{issue}/recovery-actions")
    hold = (actions["active"] or {}).get("cause")
    expect(hold != "legacy_execution_requires_reconciliation", "no reconciliation hold", actions)
    await stage.reconfigure(agent)
    known = len(await host.runs(agent))
    await host.call("POST", f"/issues/{issue}/comments", {"body": "Please try once more."})
    woken = await host.ended((await host.nth_run(agent, known + 1, SOON))["id"], SOON)
    expect(woken["status"] == "succeeded", "the comment's run succeeds", woken)
    return f"claude_failed; a comment started run {known + 1}, which succeeded"


async def _wait_until_idle(stage: Stage, agent: str) -> None:
    """Wait until no run of the agent is active; after a failure the server starts another run at once."""
    active = {"queued", "running"}
    await asyncio.sleep(2)
    await eventually(
        lambda: stage.host.runs(agent),
        lambda runs: not any(run["status"] in active for run in runs),
        "no active run",
        SOON,
    )


async def the_run_without_an_issue_succeeded(stage: Stage) -> str:
    """The run without an issue that `up.sh` started."""
    run = stage.rig.found["run"]
    expect(run["status"] == "succeeded", "the run succeeds", run)
    return f"session {run['sessionIdAfter'][:8]}…"


async def the_prompt_is_the_servers_own(stage: Stage) -> str:
    """The agent's prompt has the same content as with the server's own adapters."""
    host = stage.host
    agent = await host.hire("Edith", KIND, stage.config())
    await host.assign(agent, "Prompted")
    run = await host.ended((await host.nth_run(agent, 1, SOON))["id"], SOON)
    events = await host.call("GET", f"/heartbeat-runs/{run['id']}/events?limit=200")
    (meta,) = [event["payload"] for event in events if event["eventType"] == "adapter.invoke"][:1]
    expect("## Paperclip Wake Payload" in meta["prompt"], "the server's wake prompt", meta["prompt"])
    expect(
        "paperclipHostTexts" not in meta["context"],
        "no internal field of the adapter in the event",
        list(meta["context"]),
    )
    return f"{meta['promptMetrics']['promptChars']} characters of the server's own text"


async def a_stopped_server_leaves_its_jobs(stage: Stage) -> str:
    """Runs last: SIGTERM during a run, so that the server's lease on it expires while it drains."""
    host = stage.host
    agent = await host.hire("Radia", KIND, stage.config({"CLAUDE_SLEEP": "300"}))
    await host.assign(agent, "Outlives")
    run = (await host.nth_run(agent, 1, SOON))["id"]
    await stage.pods.running(run, SOON)
    started = datetime.fromisoformat((await host.run(run))["startedAt"])
    await asyncio.sleep(max(0.0, BEFORE_RENEWAL - (datetime.now(UTC) - started).total_seconds()))
    await stage.rig.stop_server()
    (pod,) = await stage.pods.of_run(run)
    expect(pod["status"]["phase"] == "Running", "the Pod still runs", pod["status"])
    return f"Pod {pod['metadata']['name']} still runs"


RUNS = (
    the_run_without_an_issue_succeeded,
    a_run_succeeds,
    the_prompt_is_the_servers_own,
    stop_is_acknowledged,
    an_early_failure_is_retried,
    a_late_failure_lets_a_comment_wake_the_task,
)
