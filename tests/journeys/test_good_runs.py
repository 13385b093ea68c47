"""Runs without faults: every byte of output arrives, the result is complete, and no object stays."""

import asyncio
import hashlib

import pytest
from tests.support.runs import Site

from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.testing import capture, capture_facts

CAPTURES = {
    "01": "Hello from the fake API. Nothing to do.",
    "02": "First part: notes.txt holds two lines.\n\nSecond part: alpha and beta.",
    "05": "Turn 1.\n\nTurn 2.",
    "13a": None,
    "13b": "Done big.",
    "15a": "The sub-agent counted the files.",
}
"""Capture → its summary; None: the text of the result, which is too long for this table."""


@pytest.mark.parametrize("name", list(CAPTURES))
async def test_capture_arrives_byte_for_byte_with_all_facts(site: Site, name: str) -> None:
    description = capture_facts(name)
    facts, expected_exit_code = description["facts"], description["exit_code"]
    final = facts["final_result"]
    result, host_log = await site.run(
        {
            "CLAUDE_CAPTURE": site.capture_ref(name),
            "CLAUDE_EXIT": str(expected_exit_code),
            "ANTHROPIC_API_KEY": "canary-key",
        }
    )
    assert host_log.stdout.encode() == capture(name)
    assert result.result_json is not None
    log = result.result_json["log"]
    assert (log["complete"], log["bytes"], log["gaps"]) == (True, len(capture(name)), [])

    assert result.session_id == facts["session_ids"][0]
    assert result.result_json["is_error"] is final["is_error"]
    assert result.cost_usd == pytest.approx(facts["total_cost_usd"])
    usage = result.usage
    assert usage is not None
    rows = final["modelUsage"].values()
    assert usage.input_tokens == sum(row["inputTokens"] + row["cacheCreationInputTokens"] for row in rows)
    assert usage.output_tokens == sum(row["outputTokens"] for row in rows)
    assert usage.cached_input_tokens == sum(row["cacheReadInputTokens"] for row in rows)
    assert (result.error_message is None) is (not final["is_error"])
    assert result.exit_code == expected_exit_code
    assert result.summary == (CAPTURES[name] or strict_copy(final["result"].strip()))
    assert await site.leftovers() == []


async def test_agent_that_hangs_after_its_result_is_stopped(site: Site) -> None:
    env = {"CLAUDE_CAPTURE": site.capture_ref("02"), "CLAUDE_SLEEP": "3600"}
    result, host_log = await site.run(env, config={"resultGraceSec": 6})
    assert host_log.stdout.encode() == capture("02")
    assert (result.exit_code, result.error_message) == (0, None)
    assert result.cost_usd == pytest.approx(capture_facts("02")["facts"]["total_cost_usd"])
    assert result.result_json is not None
    *others, stopped = result.result_json["warnings"]
    assert stopped == "agent_stopped: Claude printed its result and did not exit within 6 s; it was stopped"
    # A kubelet of Kubernetes 1.20 sometimes removes a container before it has reported the container's end.
    # Then its log may not be readable to the end.
    exit_code = result.result_json.get("containerExitCode")
    assert exit_code == 143 or (site.name == "real" and exit_code is None)
    assert [text.partition(":")[0] for text in others] in (
        [],
        ["log_unreadable"] if exit_code is None else [],
    )
    assert exit_code is None or result.result_json["log"]["complete"] is True
    assert await site.leftovers() == []


@pytest.mark.parametrize("first", range(0, 20, 4))
async def test_last_line_of_3_mb_before_exit_arrives_whole(site: Site, first: int) -> None:
    """`first`: the number of the first of four attempts, which run at the same time."""

    async def attempt(number: int) -> None:
        script = (
            'printf \'%s\' \'{"type":"x","n":' + str(number) + ',"text":"\';'
            "head -c 3000000 /dev/zero | tr '\\0' a; printf '\"}\\n'"
        )
        _, host_log = await site.run({"CLAUDE_SCRIPT": script})
        expected = f'{{"type":"x","n":{number},"text":"' + "a" * 3_000_000 + '"}\n'
        assert len(host_log.stdout) == len(expected)
        assert hashlib.sha256(host_log.stdout.encode()).digest() == hashlib.sha256(expected.encode()).digest()

    async with asyncio.TaskGroup() as group:
        for number in range(first, first + 4):
            group.create_task(attempt(number))


async def test_last_line_without_newline_and_stderr_are_kept(site: Site) -> None:
    _, host_log = await site.run({"CLAUDE_SCRIPT": "echo one; echo warned >&2; printf two; exit 3"})
    assert host_log.stdout == "one\ntwo"
    assert host_log.stderr == "warned\n"


async def test_secrets_reach_the_agent_but_not_the_host_output(site: Site) -> None:
    result, host_log = await site.run(
        {"CLAUDE_SCRIPT": 'sleep 1; printf %s "$PAPERCLIP_API_KEY" | wc -c', "MY_TOKEN": "canary-config-env"}
    )
    output = "".join(text for _, text in host_log.chunks) + str(host_log.meta) + str(result.to_wire())
    assert "canary" not in output
    assert host_log.stdout.strip() == str(len("canary-auth-token"))
