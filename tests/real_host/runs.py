"""Checks of runs on the real Paperclip server.

Each check returns a note for the report, or raises `CheckFailed`.
"""

import asyncio
import json

from tests.real_host.paperclip import CheckFailed, eventually, expect
from tests.real_host.testbed import ADAPTER_TYPE, RUN_TIMEOUT, Testbed

EXPECTED_USAGE = {"input": 5928, "output": 317, "cached": 10810, "cost": 0.0302145}
"""Tokens, and the cost in dollars, in the output that the development cluster's `claude` replays."""
EXPECTED_ANSWER = "Second part: alpha and beta."
"""The agent's answer in the same output."""
RETRY_TIMEOUT = 90.0
"""Seconds until a retry has ended: the server waits 30 s before it, and checks its timers every 30 s."""
CANARY = "sk-canary-5f2c8e1b7a904d63"
"""A credential of the agent, which must not appear in what the server stores about a run."""
FAILING_OUTPUT = "; ".join(
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
FAILING_SCRIPT = f"{FAILING_OUTPUT}; exit 1"


async def a_run_succeeds(testbed: Testbed) -> str:
    host = testbed.host
    agent = await host.create_agent("Ada", ADAPTER_TYPE, testbed.config({"ANTHROPIC_API_KEY": CANARY}))
    issue = await host.assign(agent, "First")
    run = await host.wait_for_end((await host.nth_run(agent, 1, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    usage = run["usageJson"] or {}
    expect(run["status"] == "succeeded", "the run succeeds", run)
    reported = {
        "input": usage["inputTokens"],
        "output": usage["outputTokens"],
        "cached": usage["cachedInputTokens"],
    }
    expect(reported | {"cost": usage["costUsd"]} == EXPECTED_USAGE, "usage and cost", usage)
    expect(
        usage["billingType"] == "metered_api" and usage["usageSource"] == "per_run",
        "billing type and source",
        usage,
    )
    expect(run["sessionIdAfter"], "a session", run)
    bodies = await eventually(lambda: host.comments(issue), len, "a comment", RUN_TIMEOUT)
    expect(any(EXPECTED_ANSWER in body for body in bodies), "the agent's answer as a comment", bodies)
    await eventually(
        lambda: host.call("GET", f"/companies/{host.company}/costs/summary"),
        lambda spent: spent["spendCents"] >= round(EXPECTED_USAGE["cost"] * 100),
        "the cost in the company's ledger",
        RUN_TIMEOUT,
    )
    await _check_resume(testbed, agent, issue, run["sessionIdAfter"])
    stored = json.dumps([await host.run(listed["id"]) for listed in await host.runs(agent)])
    events = json.dumps(await host.call("GET", f"/heartbeat-runs/{run['id']}/events?limit=200"))
    expect(
        CANARY not in stored + events + await host.log(run["id"]),
        "no credential in stored runs, events and log",
    )
    session = run["sessionIdAfter"][:8]
    return f"usage, cost ${EXPECTED_USAGE['cost']}, comment; a second run resumed session {session}…"


async def _check_resume(testbed: Testbed, agent: str, issue: str, session: str) -> None:
    """Check that a second run resumes the session.

    The server may start the second run by itself. If it does not, a comment starts it.
    """
    host = testbed.host
    try:
        second = await host.nth_run(agent, 2, limit=5)
    except CheckFailed:
        await host.call("POST", f"/issues/{issue}/comments", {"body": "Please go on."})
        second = await host.nth_run(agent, 2, RUN_TIMEOUT)
    run = await host.wait_for_end(second["id"], RUN_TIMEOUT)
    sessions = (run["sessionIdBefore"], run["sessionIdAfter"])
    expect(run["status"] == "succeeded" and sessions == (session, session), "the session is resumed", run)
    expect("Starting a fresh session" not in await host.log(run["id"]), "no fresh session")


async def stop_is_acknowledged(testbed: Testbed) -> str:
    host = testbed.host
    agent = await host.create_agent("Grace", ADAPTER_TYPE, testbed.config({"CLAUDE_SLEEP": "300"}))
    issue = await host.assign(agent, "Long")
    run = (await host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    await testbed.pods.wait_until_running(run, RUN_TIMEOUT)
    began = asyncio.get_running_loop().time()
    status, response = await host.request("POST", f"/heartbeat-runs/{run}/cancel", {})
    took = asyncio.get_running_loop().time() - began
    expect(status == 200, f"a Stop with status 200, not {status}", response)
    expect(await testbed.pods.of_run(run) == [], "no Pod after the response to Stop")
    expect(await testbed.pods.of_run(run, "jobs") == [], "no Job either")
    stored = await host.run(run)
    state = (stored["resultJson"] or {}).get("executionCancellation", {}).get("state")
    expect(
        (stored["status"], state) == ("cancelled", "acknowledged"), "a cancelled, acknowledged run", stored
    )
    await testbed.reconfigure(agent)
    await host.call("POST", f"/issues/{issue}/comments", {"body": "Start over, please."})
    again = await host.wait_for_end((await host.nth_run(agent, 2, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    expect(again["status"] == "succeeded", "a comment starts the stopped task again", again)
    return f"HTTP 200 after {took:.1f}s, Pod and Job gone; a comment started the task again"


async def an_early_failure_is_retried(testbed: Testbed) -> str:
    """A Pod cannot be scheduled. The cause is removed, and the server's own retry succeeds."""
    host = testbed.host
    agent = await host.create_agent(
        "Joan", ADAPTER_TYPE, testbed.config(nodeSelector="disk=none", scheduleTimeoutSec=2)
    )
    await host.assign(agent, "Unschedulable")
    run = await host.wait_for_end((await host.nth_run(agent, 1, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    expect(run["errorCode"] == "k8s_pod_schedule_failed", "the failure's code", run)
    expect(
        (run["resultJson"] or {}).get("executionRecovery", {}).get("kind") == "bootstrap",
        "the recovery kind",
        run,
    )
    second = await host.nth_run(agent, 2, RUN_TIMEOUT)
    expect(second["retryOfRunId"] == run["id"], "a retry of that run", second)
    expect(second["scheduledRetryReason"] == "transient_failure", "scheduled by the server", second)
    await testbed.reconfigure(agent)
    retry = await host.wait_for_end(second["id"], RETRY_TIMEOUT)
    expect(retry["status"] == "succeeded", "the retry succeeds after the cause was removed", retry)
    return "k8s_pod_schedule_failed; the server's own retry succeeded"


async def a_comment_after_a_late_failure_starts_the_task_again(testbed: Testbed) -> str:
    host = testbed.host
    agent = await host.create_agent("Mary", ADAPTER_TYPE, testbed.config({"CLAUDE_SCRIPT": FAILING_SCRIPT}))
    issue = await host.assign(agent, "Breaks")
    run = await host.wait_for_end((await host.nth_run(agent, 1, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    expect((run["status"], run["errorCode"]) == ("failed", "claude_failed"), "the failure's code", run)
    await _wait_until_idle(testbed, agent)
    actions = await host.call("GET", f"/issues/{issue}/recovery-actions")
    hold = (actions["active"] or {}).get("cause")
    expect(hold != "legacy_execution_requires_reconciliation", "no reconciliation hold", actions)
    await testbed.reconfigure(agent)
    runs_before = len(await host.runs(agent))
    await host.call("POST", f"/issues/{issue}/comments", {"body": "Please try once more."})
    await eventually(  # a run that the server started by itself may be cancelled in favour of the comment's
        lambda: host.runs(agent),
        lambda runs: any(run["status"] == "succeeded" for run in runs[runs_before:]),
        "a run that succeeds after the comment",
        RUN_TIMEOUT,
    )
    return f"claude_failed in {runs_before} runs; after a comment, a run succeeded"


async def _wait_until_idle(testbed: Testbed, agent: str) -> None:
    """Wait until no run of the agent is active; after a failure the server starts another run at once."""
    active = {"queued", "running"}
    await asyncio.sleep(2)
    await eventually(
        lambda: testbed.host.runs(agent),
        lambda runs: not any(run["status"] in active for run in runs),
        "no active run",
        RUN_TIMEOUT,
    )


async def the_run_without_an_issue_succeeded(testbed: Testbed) -> str:
    """Check the run that `up.sh` started, which belongs to no issue."""
    run = testbed.rig.up_output["run"]
    expect(run["status"] == "succeeded", "the run succeeds", run)
    return f"session {run['sessionIdAfter'][:8]}…"


async def the_prompt_contains_the_text_of_the_server(testbed: Testbed) -> str:
    """The prompt contains the text that the server's own adapters put into it."""
    host = testbed.host
    agent = await host.create_agent("Edith", ADAPTER_TYPE, testbed.config())
    await host.assign(agent, "Prompted")
    run = await host.wait_for_end((await host.nth_run(agent, 1, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    events = await host.call("GET", f"/heartbeat-runs/{run['id']}/events?limit=200")
    (meta,) = [event["payload"] for event in events if event["eventType"] == "adapter.invoke"][:1]
    expect("## Paperclip Wake Payload" in meta["prompt"], "the server's wake prompt", meta["prompt"])
    expect(
        "paperclipHostTexts" not in meta["context"],
        "no internal field of the adapter in the event",
        list(meta["context"]),
    )
    return f"{meta['promptMetrics']['promptChars']} characters of the server's own text"


RUNS = (
    the_run_without_an_issue_succeeded,
    a_run_succeeds,
    the_prompt_contains_the_text_of_the_server,
    stop_is_acknowledged,
    an_early_failure_is_retried,
    a_comment_after_a_late_failure_starts_the_task_again,
)
