"""Checks of what the pages of the real Paperclip server show in a browser, all in one tab.

Each check returns a note for the report, or raises `CheckFailed`. If the variable SCREENSHOTS names a folder,
the pages are saved there as pictures.
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.real_host.browser import Page
from tests.real_host.paperclip import eventually, expect
from tests.real_host.testbed import ADAPTER_TYPE, RUN_TIMEOUT, Testbed

from paperclip_claude_k8s.testing import capture

Screen = Callable[[Testbed, Page], Awaitable[str]]
PAGE_TIMEOUT = 30.0
"""Seconds until a page shows what it should, on a busy machine."""
PARSER_IN_PAGE = Path(__file__).with_name("parser_in_page.js")
STEPS = 300
"""Steps of `BUSY_AGENT`, each with a text, a tool call and its result; about 2 MB of output in all."""
INIT = json.dumps(
    {"type": "system", "subtype": "init", "session_id": "11111111-2222-4333-8444-555555555555", "model": "m"}
)
BUSY_AGENT = f"""\
say() {{ printf '{{"type":"%s","message":{{"content":['"$2"']}}}}\\n' $1 $i "$3"; }}
big=$(printf 'a line of the file\\\\n%.0s' $(seq 150))
printf '%s\\n' '{INIT}'
for i in $(seq {STEPS}); do
  say assistant '{{"type":"text","text":"Step %s."}}'
  say assistant '{{"type":"tool_use","id":"t%s","name":"Read","input":{{}}}}'
  say user '{{"type":"tool_result","tool_use_id":"t%s","content":"%s"}}' "$big"
  [ $((i % 30)) -ne 0 ] || sleep 0.3
done
printf '%s\\n' '{{"type":"result","subtype":"success","is_error":false,"result":"All done."}}'
"""


async def save_screenshot(page: Page, name: str, **size: int) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        await page.screenshot(Path(folder) / f"{name}.png", **size)


async def url_of(testbed: Testbed, path: str) -> str:
    company = await testbed.host.call("GET", f"/companies/{testbed.host.company}")
    return f"{testbed.rig.url}/{company['issuePrefix']}/{path}"


async def a_parser_is_started_by_the_page_or_not_needed(testbed: Testbed, page: Page) -> str:
    """The page's worker script of some server versions cannot start a parser: the log must then be text.

    `parser_in_page.js` starts the parser with that script (`shipped`), and without its defect (`repaired`).
    """
    await page.open(await url_of(testbed, "dashboard"))
    await page.wait_for_text("Dashboard", PAGE_TIMEOUT)
    lines = [line for line in capture("01").decode().split("\n") if line]
    script = PARSER_IN_PAGE.read_text(encoding="utf-8")
    script = script[script.index("async (") :]
    found = await page.evaluate(f"({script})({ADAPTER_TYPE!r}, {json.dumps(lines)})")
    expect({"init", "assistant", "result"} <= set(found["repaired"]), "the parser works in a worker", found)
    path = f"/companies/{testbed.host.company}/adapters/{ADAPTER_TYPE}/test-environment"
    checks = (await testbed.host.call("POST", path, {"adapterConfig": testbed.config()}))["checks"]
    (transcript,) = (check for check in checks if check["code"] == "k8s_transcript")
    starts = isinstance(found["shipped"], list)  # otherwise it is an error message
    expect(starts == ("plain text" not in transcript["message"]), "the environment test agrees", transcript)
    return "the page starts it" if starts else f"{found['shipped']}; transcripts are text"


async def a_transcript_is_readable(testbed: Testbed, page: Page) -> str:
    agent = await testbed.host.create_agent(
        "Kathleen", ADAPTER_TYPE, testbed.config({"CLAUDE_LINE_DELAY": "0.3"})
    )
    issue = await testbed.host.assign(agent, "Shown")
    run = (await testbed.host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    await page.open(await url_of(testbed, f"agents/{agent}/runs/{run}"))
    live = await page.wait_for_text("I will write the notes", PAGE_TIMEOUT)
    await save_screenshot(page, "run-live")
    await testbed.host.wait_for_end(run, RUN_TIMEOUT)
    await page.open(await url_of(testbed, f"agents/{agent}/runs/{run}"))
    after = await page.wait_for_text("Second part: alpha and beta.\n✓ done", PAGE_TIMEOUT)
    await save_screenshot(page, "run-after")
    for shown in (live, after):
        expect('{"type"' not in shown, "no JSON in the transcript", shown)
    expect("→ Bash  ls -1 /paperclip/workspace" in after, "calls of tools", after)
    return f"answers, calls and results, live and after the run (issue {issue[:8]})"


async def a_busy_run_is_shown_whole(testbed: Testbed, page: Page) -> str:
    agent = await testbed.host.create_agent(
        "Frances", ADAPTER_TYPE, testbed.config({"CLAUDE_SCRIPT": BUSY_AGENT})
    )
    await testbed.host.assign(agent, "Busy")
    run = (await testbed.host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    await page.open(await url_of(testbed, f"agents/{agent}/runs/{run}"))

    async def steps() -> int:
        return len(set(re.findall(r"● Step (\d+)\.", await page.text())))

    record = await testbed.host.wait_for_end(run, RUN_TIMEOUT)
    expect(record["status"] == "succeeded", "the run succeeds", record)
    shown = await eventually(steps, lambda count: count == STEPS, f"{STEPS} steps on the live page", 10)
    await save_screenshot(page, "run-busy")
    return f"{shown} of {STEPS} steps on the live page; log of {record['logBytes'] // 1000} kB"


async def the_issue_page_shows_progress(testbed: Testbed, page: Page) -> str:
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "npm test"}}
    event = json.dumps({"type": "assistant", "message": {"content": [call]}})
    script = "; ".join(f"printf '%s\\n' '{line}'" for line in (INIT, event)) + "; sleep 300"
    agent = await testbed.host.create_agent("Hedy", ADAPTER_TYPE, testbed.config({"CLAUDE_SCRIPT": script}))
    issue = await testbed.host.assign(agent, "Tests")
    run = (await testbed.host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    identifier = (await testbed.host.call("GET", f"/issues/{issue}"))["identifier"]
    await page.open(await url_of(testbed, f"issues/{identifier}"))
    await page.wait_for_text("Bash", PAGE_TIMEOUT)
    await save_screenshot(page, "issue-live")
    await testbed.host.call("POST", f"/heartbeat-runs/{run}/cancel", {})
    return "the tool that runs is named"


async def the_form_is_short_until_a_group_is_selected(testbed: Testbed, page: Page) -> str:
    agent = await testbed.host.create_agent("Annie", ADAPTER_TYPE, testbed.config())
    await page.open(await url_of(testbed, f"agents/{agent}/runtime"))
    # The page replaces the id in its address by the agent's name, and loads everything again.
    address = partial(page.evaluate, "location.pathname")
    await eventually(
        address, lambda path: "/annie/" in path, "an address with the agent's name", PAGE_TIMEOUT
    )
    shown = await page.wait_for_text("Further settings", PAGE_TIMEOUT, "\nConfiguration\n", "\nAdvanced\n")
    form = shown[shown.index("\nConfiguration\n") : shown.index("\nAdvanced\n")].split("\n")
    expect("Image" in form and "Pod template" not in form, "only what a first run needs", form)
    expect(
        shown.count("Effort") == 0 and shown.count("Thinking effort") == 1, "one control for the effort", form
    )
    await save_screenshot(page, "form", height=2000)
    async with asyncio.timeout(PAGE_TIMEOUT):  # a click while the page still loads has no effect
        while "Pod and resources" not in await page.text():
            await page.click("Only the settings above")
            await asyncio.sleep(2)
    await page.click("Pod and resources")
    await page.wait_for_text("Pod template", PAGE_TIMEOUT)
    await save_screenshot(page, "form-unfolded", height=3200)
    return f"{len(form)} lines at first; a select shows the others by group"


async def run_environment_test(page: Page) -> None:
    """Run the test and show its details. Click until it begins: an early click on a page has no effect."""
    await page.wait_for_text("Run test", PAGE_TIMEOUT)
    while "Run test" in await page.text():
        await page.click("Run test")
        await asyncio.sleep(2)
    await page.wait_for_text("Test again", RUN_TIMEOUT)
    await page.click("Test details")


async def the_test_page_shows_warnings_first(testbed: Testbed, page: Page) -> str:
    config = testbed.config(testWithProbe=True, claimName=None)  # a missing claim is a warning
    agent = await testbed.host.create_agent("Dorothy", ADAPTER_TYPE, config)
    await page.open(await url_of(testbed, f"agents/{agent}/runtime"))
    await run_environment_test(page)
    shown = await page.wait_for_text("Bridge: Python", PAGE_TIMEOUT, "Test details", "is reachable")
    await save_screenshot(page, "test", height=3200)
    details = shown[shown.index("Test details") :]
    expect("A probe Job ran `claude --version`" in details, "the probe that the config switches on", details)
    expect(details.index("No PVC") < details.index("is reachable"), "warnings before the rest", details)
    expect(details.count(" rights that runs use in ") == 1, "one line for all rights", details)
    return f"{details.count(chr(10))} lines, with a probe"


async def an_agent_can_be_created_by_the_wizard(testbed: Testbed, page: Page) -> str:
    """The wizard stores no settings, and refuses to create an agent if the environment test fails."""
    await page.open(await url_of(testbed, f"agents/new?name=Wanda&adapterType={ADAPTER_TYPE}"))
    await run_environment_test(page)
    await page.wait_for_text("nothing names a cluster", PAGE_TIMEOUT)
    await save_screenshot(page, "wizard")
    await page.click("Finish setup")
    await page.wait_for_text("Your agent is ready", PAGE_TIMEOUT)
    agents = await testbed.host.call("GET", f"/companies/{testbed.host.company}/agents")
    (agent,) = (agent for agent in agents if agent["name"] == "Wanda")
    await testbed.host.call("PATCH", f"/agents/{agent['id']}", {"adapterConfig": testbed.config()})
    await testbed.host.assign(agent["id"], "By the wizard")
    run = await testbed.host.nth_run(agent["id"], 1, RUN_TIMEOUT)
    run = await testbed.host.wait_for_end(run["id"], RUN_TIMEOUT)
    expect(run["status"] == "succeeded", "the agent runs after its settings were entered", run)
    return "the page says what to set; the agent is created, and runs with that"


async def failure_details_are_short_and_the_folder_is_named(testbed: Testbed, page: Page) -> str:
    script = "for i in $(seq 400); do echo line $i of the transcript; done; echo it broke >&2; exit 3"
    agent = await testbed.host.create_agent("Evelyn", ADAPTER_TYPE, testbed.config({"CLAUDE_SCRIPT": script}))
    await testbed.host.assign(agent, "Fails")
    run = (await testbed.host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    await testbed.host.wait_for_end(run, RUN_TIMEOUT)
    await page.open(await url_of(testbed, f"agents/{agent}/runs/{run}"))
    shown = await page.wait_for_text("Failure details", PAGE_TIMEOUT, "Events (", "Working dir:")
    await save_screenshot(page, "failure", height=3200)
    box = shown[shown.index("Failure details") : shown.index("Events (")]
    expect("of the transcript" not in box[200:], "no transcript in the details of the failure", box)
    invocation = shown[shown.index("Invocation") :]
    expect("Working dir: /paperclip" in invocation, "the agent's folder", invocation[:300])
    return f"{len(box)} characters"


async def the_costs_page_shows_what_runs_cost(testbed: Testbed, page: Page) -> str:
    agent = await testbed.host.create_agent("Cecilia", ADAPTER_TYPE, testbed.config())
    await testbed.host.assign(agent, "Costs")
    run = (await testbed.host.nth_run(agent, 1, RUN_TIMEOUT))["id"]
    record = await testbed.host.wait_for_end(run, RUN_TIMEOUT)
    expect(record["status"] == "succeeded", "the run succeeds", record)
    path = f"/companies/{testbed.host.company}/costs/by-agent"

    def counts(found: list[Any]) -> bool:
        return any(row["agentName"] == "Cecilia" and row["costCents"] for row in found)

    await eventually(lambda: testbed.host.call("GET", path), counts, "the run in the ledger", RUN_TIMEOUT)
    await page.open(await url_of(testbed, "costs"))
    shown = await page.wait_for_text("Cecilia", PAGE_TIMEOUT, "$0.0")
    await save_screenshot(page, "costs", height=2400)
    expect("unpriced" not in shown.lower(), "a price for all tokens", shown)
    return "agent and cost are shown, with a price for all tokens"


SCREENS: tuple[Screen, ...] = (
    the_form_is_short_until_a_group_is_selected,
    the_test_page_shows_warnings_first,
    an_agent_can_be_created_by_the_wizard,
    a_parser_is_started_by_the_page_or_not_needed,
    a_transcript_is_readable,
    a_busy_run_is_shown_whole,
    the_issue_page_shows_progress,
    failure_details_are_short_and_the_folder_is_named,
    the_costs_page_shows_what_runs_cost,
)
