"""Checks on the real Paperclip server: the turn limit, a second task, unusual characters, connection tools.

Each check returns a note for the report, or raises `CheckFailed`.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from tests.real_host.paperclip import eventually, expect
from tests.real_host.testbed import ADAPTER_TYPE, RUN_TIMEOUT, Testbed

SESSION = "11111111-2222-4333-8444-555555555555"
INIT = {"type": "system", "subtype": "init", "session_id": SESSION, "model": "m"}
CHAIN_TIMEOUT = 300.0
"""Seconds for the server's continuations and retries of one run."""
RETRY_WAIT = 45.0
"""Seconds within which the server would start a retry: it waits 30 s before one."""


def _script_that_prints(*events: Mapping[str, Any], code: int = 0) -> str:
    """Return a shell script for `claude` that prints these events and exits with `code`."""
    lines = (json.dumps(event).replace("'", "'\\''") for event in events)
    return "; ".join([*(f"printf '%s\\n' '{line}'" for line in lines), f"exit {code}"])


async def run_at_its_turn_limit_is_continued_three_times(testbed: Testbed) -> str:
    host = testbed.host
    result = {"type": "result", "subtype": "error_max_turns", "is_error": True, "num_turns": 3}
    config = testbed.config({"CLAUDE_SCRIPT": _script_that_prints(INIT, result, code=1)})
    agent = await host.create_agent("Katherine", ADAPTER_TYPE, config)
    await host.assign(agent, "Many turns")
    await host.nth_run(agent, 5, CHAIN_TIMEOUT)
    await asyncio.sleep(RETRY_WAIT)
    runs = await host.runs(agent)
    codes = [run["errorCode"] for run in runs if run["status"] == "failed"]
    expect(codes[:4] == ["max_turns_exhausted"] * 3 + ["claude_max_turns"], "four failed runs", codes)
    later = [(run["status"], run.get("scheduledRetryAt")) for run in runs[4:]]
    expect(len(runs) == 5, "one more run, which the server may delay for minutes", later)
    return f"three runs with max_turns_exhausted, then claude_max_turns and a last retry: {later}"


async def a_second_task_waits_for_the_agent(testbed: Testbed) -> str:
    host = testbed.host
    agent = await host.create_agent("Karen", ADAPTER_TYPE, testbed.config({"CLAUDE_SLEEP": "10"}))
    for title in ("First of two", "Second of two"):
        await host.assign(agent, title)
    await host.nth_run(agent, 2, RUN_TIMEOUT)
    runs = [await host.wait_for_end(run["id"], 2 * RUN_TIMEOUT) for run in (await host.runs(agent))[:2]]
    expect([run["status"] for run in runs] == ["succeeded"] * 2, "both runs succeed", runs)
    logs = [await host.log(run["id"]) for run in runs]
    waited = [log for log in logs if "for the agent's slot" in log]
    expect(len(waited) == 1, "one of the runs waits for the other", logs)
    return "two tasks at once: both succeeded, one after the other"


async def unusual_characters_do_not_fail_a_run(testbed: Testbed) -> str:
    """The agent prints NUL, halves of surrogate pairs, and emojis wherever the server may cut a text."""
    host = testbed.host
    answer = f"a\0b \ud83d c \udc4d d. {'😀' * 400}. x{'😀' * 900}"
    assistant = {
        "type": "assistant",
        "message": {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    }
    result = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": answer,
        "session_id": SESSION,
    }
    config = testbed.config({"CLAUDE_SCRIPT": _script_that_prints(INIT, assistant, result)})
    agent = await host.create_agent("Lynn", ADAPTER_TYPE, config)
    issue = await host.assign(agent, "Characters \U0001f600")
    run = await host.wait_for_end((await host.nth_run(agent, 1, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    expect(run["status"] == "succeeded", "the run succeeds", run)
    bodies = await eventually(lambda: host.comments(issue), len, "a comment", RUN_TIMEOUT)
    expect(
        any("a\ufffdb \ufffd c \ufffd d." in body for body in bodies), "the answer", [b[:80] for b in bodies]
    )
    return "NUL and halves of pairs became U+FFFD; the answer is a comment"


async def connection_tools_come_by_mcp(testbed: Testbed) -> str:
    host = testbed.host
    event = '{"type":"result","subtype":"success","is_error":false,"result":"found %s variables"}'
    count = f"printf '{event}\\n' \"$(env | grep -c ^PAPERCLIP_RUNTIME_TOOLS)\""
    script = f"{_script_that_prints(INIT).removesuffix('exit 0')} {count}"
    agent = await host.create_agent("Shafi", ADAPTER_TYPE, testbed.config({"CLAUDE_SCRIPT": script}))
    issue = await host.assign(agent, "Tools")
    run = await host.wait_for_end((await host.nth_run(agent, 1, RUN_TIMEOUT))["id"], RUN_TIMEOUT)
    expect(run["status"] == "succeeded", "the run succeeds", run)
    bodies = await eventually(lambda: host.comments(issue), len, "a comment", RUN_TIMEOUT)
    expect(any("found 0 variables" in body for body in bodies), "no variable with the tools", bodies)
    events = await host.call("GET", f"/heartbeat-runs/{run['id']}/events?limit=200")
    (meta,) = [event["payload"] for event in events if event["eventType"] == "adapter.invoke"][:1]
    expect("--mcp-config" in json.dumps(meta["commandArgs"]), "an MCP file", meta["commandArgs"])
    return "an MCP file, and no variables"


ENDINGS = (
    run_at_its_turn_limit_is_continued_three_times,
    a_second_task_waits_for_the_agent,
    unusual_characters_do_not_fail_a_run,
    connection_tools_come_by_mcp,
)
