"""The real Claude CLI in Pods of a real cluster, with a scripted model API on this machine.

The verdict, session, tokens and cost of each run must be those of the API's answers to that run alone.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_pod import home_on_real
from tests.support.real_cli import CliAgent
from tests.support.real_cluster import wait_for_output
from tests.support.scripted_api import answer, claude_image, refused, text, tool

from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real
BY_USER = pytest.mark.parametrize("user", [1000, 0])
"""The agent's user: an ordinary one, and root, as whom the CLI does not skip permissions."""
RETRIES = 2
FEW_RETRIES = {"CLAUDE_CODE_MAX_RETRIES": str(RETRIES)}
"""Without it the CLI repeats a failed request for minutes."""
PLUM = answer(text("I remember plum."), tokens=(10, 3000, 12, 0))
WORK = answer(text("I work."), tool("toolu_1", "Bash", command="echo one"), tokens=(10, 100, 30, 0))
ENDLESS_TOOL = answer(
    text("Now slowly."), tool("toolu_2", "Bash", command="tail -f /dev/null"), tokens=(11, 90, 31, 100)
)


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[CliAgent]:
    claude_image()  # skips the test if there is none
    async with home_on_real() as home:
        yield CliAgent(home, tmp_path)
        assert await home.site.leftovers() == []


@BY_USER
async def test_tools_act_in_the_pod_and_the_model_sees_their_results(agent: CliAgent, user: int) -> None:
    agent.user = user
    file = f"/paperclip/notes-{uuid.uuid4().hex}.txt"
    write = tool("toolu_1", "Write", file_path=file, content="alpha\nbeta\n")
    shell = tool("toolu_2", "Bash", command="id -u; exit 3")
    run = await agent.run(
        answer(text("I write notes."), write, shell, tokens=(4, 5200, 181, 0)),
        answer(tool("toolu_3", "Read", file_path=file), tokens=(6, 410, 92, 5200)),
        answer(text("The file has"), text("two lines."), tokens=(8, 300, 44, 5610)),
    )
    run.assert_success("The file has\n\ntwo lines.")
    assert (agent.home.volume / Path(file).name).read_text(encoding="utf-8") == "alpha\nbeta\n"
    failed = run.api.tool_result("toolu_2")
    assert failed["is_error"] is True
    assert f"Exit code 3\n{user}" in str(failed["content"])
    assert "beta" in str(run.api.tool_result("toolu_3")["content"])


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Any]:
    """A host's config with instructions and one skill."""
    folder = tmp_path / "helper"
    folder.mkdir()
    head = "---\nname: helper\ndescription: Canary description zebra-7788\n---\n"
    (folder / "SKILL.md").write_text(f"{head}# How to count\nCanary body wombat-3321\n", encoding="utf-8")
    instructions = tmp_path / "AGENTS.md"
    instructions.write_text("Canary instructions quokka-4455", encoding="utf-8")
    return {
        "instructionsFilePath": str(instructions),
        "paperclipRuntimeSkills": [{"key": "co/helper", "runtimeName": "helper", "source": str(folder)}],
        "paperclipSkillSync": {"desiredSkills": ["co/helper"]},
    }


@BY_USER
async def test_skill_and_instructions_reach_the_model(
    agent: CliAgent, bundle: dict[str, Any], user: int
) -> None:
    agent.user, agent.config = user, bundle
    use = answer(tool("toolu_1", "Skill", skill="helper"), tokens=(10, 100, 30, 0))
    run = await agent.run(use, answer(text("Counted."), tokens=(12, 50, 20, 100)))
    run.assert_success("Counted.")
    assert "quokka-4455" in run.api.request_text(0)
    assert "zebra-7788" in run.api.request_text(0)
    assert "wombat-3321" not in run.api.request_text(0), "a skill's text is read only when it is used"
    assert "wombat-3321" in run.api.request_text(1)


@pytest.mark.slow
async def test_session_is_resumed_twice_and_each_run_reports_only_its_own_cost(
    agent: CliAgent, bundle: dict[str, Any]
) -> None:
    agent.config = bundle
    first = await agent.run(PLUM)
    first.assert_success("I remember plum.")
    second = await agent.resume(first, answer(text("It was plum."), tokens=(10, 120, 9, 3000)))
    second.assert_success("It was plum.")
    third = await agent.resume(second, WORK, answer(text("Done."), tokens=(4, 60, 8, 3180)))
    third.assert_success("Done.")
    assert first.session == second.session == third.session
    for known in ("I remember plum.", "It was plum.", "quokka-4455", "zebra-7788"):
        assert known in third.api.request_text(0)


def garble(transcript: Path) -> None:
    transcript.write_text('{"type":"user","mess\nnot json at all\n', encoding="utf-8")


@pytest.mark.parametrize("damage", [Path.unlink, garble])
async def test_session_that_cannot_be_resumed_is_replaced_by_a_fresh_one(
    agent: CliAgent, damage: Callable[[Path], None]
) -> None:
    first = await agent.run(PLUM)
    damage(agent.transcript(first))
    second = await agent.resume(first, answer(text("Who are you?"), tokens=(10, 40, 9, 0)))
    second.assert_success("Who are you?")
    assert second.session != first.session, second.host_log.status
    assert "fresh session" in second.host_log.status
    assert "I remember plum." not in second.api.request_text(-1)


async def test_refusal_of_the_model_is_reported(agent: CliAgent) -> None:
    refusal = answer(text("I was about to"), tokens=(10, 0, 5, 0), stop_reason="refusal", repeat=True)
    run = await agent.run(refusal)
    assert (run.result.error_code, run.result.error_family) == ("claude_refusal", "model_refusal")
    run.assert_accounted()


@pytest.mark.parametrize("answers_before", [[], [WORK]])
async def test_overload_is_reported_when_the_cli_gives_up(agent: CliAgent, answers_before: list[Any]) -> None:
    run = await agent.run(*answers_before, refused(529, "overloaded_error", "Overloaded"), env=FEW_RETRIES)
    result = run.result
    assert (result.error_code, result.error_family) == ("claude_transient_upstream", "transient_upstream")
    assert "529 Overloaded" in (result.error_message or "")
    assert len(run.api.requests()) == len(answers_before) + 1 + RETRIES
    run.assert_accounted()


async def test_usage_limit_is_reported_with_the_time_of_its_reset(agent: CliAgent) -> None:
    reset = int(datetime.now(UTC).timestamp()) + 3 * 3600
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(reset),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-unified-5h-utilization": "1.0",
        "anthropic-ratelimit-unified-5h-reset": str(reset),
        "retry-after": "3600",
    }
    account = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-dummy-not-a-token"}
    limit = refused(429, "rate_limit_error", "This request would exceed your rate limit.", headers=headers)
    run = await agent.run(limit, env=account)
    assert (run.result.error_code, run.result.error_family) == ("provider_quota", "provider_quota")
    assert "You've hit your" in (run.result.error_message or "")
    assert run.result.retry_not_before is not None
    assert run.result.retry_not_before.timestamp() == reset
    run.assert_accounted()


@pytest.mark.slow
async def test_stop_during_a_tool_call_ends_the_agent_and_keeps_its_session(agent: CliAgent) -> None:
    host_log, stop = HostLog(), asyncio.Event()

    async def stop_in_the_tool() -> None:
        await wait_for_output(host_log, "toolu_2")
        await asyncio.sleep(1)
        stop.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(stop_in_the_tool())
        running = group.create_task(agent.run(WORK, ENDLESS_TOOL, host_log=host_log, signal=stop))
    stopped = running.result()
    assert (stopped.result.error_code, stopped.result.signal) == ("cancelled", "SIGTERM")
    assert stopped.result.result_json is not None
    assert stopped.result.result_json["executionCancellation"]["state"] == "acknowledged"
    assert stopped.result.cost_usd is None, "a CLI that was stopped reports no cost"
    log = stopped.result.result_json["log"]  # a slow host finds that the kubelet has removed the last lines
    assert log["complete"] or log["gaps"], host_log.status

    resumed = await agent.resume(stopped, answer(text("I go on."), tokens=(7, 60, 8, 300)))
    resumed.assert_success("I go on.")
    assert resumed.session == stopped.session
    assert "Now slowly." in resumed.api.request_text(0)


@pytest.mark.slow
async def test_timeout_during_a_tool_call_ends_the_agent(agent: CliAgent) -> None:
    run = await agent.run(WORK, ENDLESS_TOOL, config={"timeoutSec": 40})
    assert (run.result.error_code, run.result.timed_out) == ("timeout", True)
    assert "after 40s" in (run.result.error_message or "")
    assert run.result.cost_usd is None, "a CLI that was stopped reports no cost"
    run.assert_complete()


@BY_USER
async def test_tool_of_an_mcp_server_over_stdio_is_used(agent: CliAgent, user: int) -> None:
    agent.user = user
    servers = {"letters": agent.mcp_server("zebra-5512"), "broken": {"command": "/nonexistent"}}
    run = await agent.run(
        answer(tool("toolu_1", "mcp__letters__count", word="quokka"), tokens=(10, 100, 30, 0)),
        answer(text("It has six letters."), tokens=(12, 50, 20, 100)),
        config={"mcpServers": servers},
    )
    assert "zebra-5512 counts 6" in str(run.api.tool_result("toolu_1"))
    run.assert_success("It has six letters.")
