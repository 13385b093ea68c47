"""The run's log as text for people, and the reports to the Paperclip host of what the agent is doing."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.captures import ALL, recorded
from tests.support.in_memory_runs import GOOD, WHOLE, one_host

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.run.readable_output import BAR, LINE_CHARS, Activity, ReadableOutput
from paperclip_claude_k8s.testing import PodScript, capture

pytestmark = pytest.mark.looptime


def event_line(kind: str, *content: dict[str, Any]) -> bytes:
    given = {"type": kind, "message": {"role": kind, "content": list(content)}, "session_id": "s"}
    return json.dumps(given).encode() + b"\n"


CALL = event_line(
    "assistant", {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "npm  test\n"}}
)
RESULT = event_line(
    "user", {"type": "tool_result", "tool_use_id": "t1", "content": "all good\n\n  42 passed"}
)


async def test_log_format_text_shows_answers_and_calls(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        result, host_log = await run(logFormat="text")
    assert result.error_message is None
    lines = host_log.stdout.splitlines()
    assert "● Second part: alpha and beta." in lines
    assert f"{BAR}   + alpha" in lines
    assert lines[-1].startswith("✓ done · ")
    assert '{"type"' not in host_log.stdout
    assert result.result_json is not None
    assert result.result_json["log"]["complete"] is True


NO_FORMAT = None


@pytest.mark.parametrize(
    ("host_format", "config_format", "used"),
    [
        (NO_FORMAT, "auto", "events"),
        ("events", "auto", "events"),
        ("text", "events", "events"),
        ("events", "text", "text"),
        (NO_FORMAT, "text", "text"),
    ],
)
async def test_log_format_of_the_config_overrides_that_of_the_host(
    tmp_path: Path, host_format: str | None, config_format: str, used: str
) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        _, host_log = await run(logFormat=host_format, config={"logFormat": config_format})
    assert (host_log.stdout.encode() == WHOLE) == (used == "events")


@pytest.mark.parametrize(("cli_version", "name"), ALL)
async def test_readable_lines_are_unchanged_on_a_page_that_strips_lines(cli_version: str, name: str) -> None:
    """The host's page removes blanks at both ends of a line, and empty lines."""
    readable = ReadableOutput()
    text = await readable.text_of(recorded(name, cli_version)[0]) + readable.end(RunUsage())
    for line in text.splitlines():
        assert line == line.lstrip()
        assert line
        assert len(line) <= LINE_CHARS + len("● ")


async def test_readable_text_is_the_same_however_lines_arrive() -> None:
    whole, line_by_line = ReadableOutput(), ReadableOutput()
    expected = await whole.text_of(WHOLE)
    parts = [await line_by_line.text_of(line) for line in WHOLE.splitlines(keepends=True)]
    assert "".join(parts) == expected


async def test_readable_long_answer_is_wrapped_at_blanks() -> None:
    words = " ".join(f"word{n}" for n in range(3000))
    text = await ReadableOutput().text_of(event_line("assistant", {"type": "text", "text": words}))
    lines = text.splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= LINE_CHARS + len("● ")
    joined = "".join(line.removeprefix("● ").removeprefix(f"{BAR} ") for line in lines)
    assert joined == words


async def test_readable_text_of_a_too_long_line_is_cut() -> None:
    long = "x" * LIMITS.readable_line_bytes
    text = await ReadableOutput().text_of(event_line("assistant", {"type": "text", "text": long}))
    assert text
    assert len(text) < 40_000


async def test_activity_names_the_call_until_its_result() -> None:
    readable = ReadableOutput()
    await readable.text_of(event_line("assistant", {"type": "text", "text": "I run\nthe tests."}))
    assert readable.activity == Activity(text="I run the tests.")
    await readable.text_of(CALL)
    assert readable.activity == Activity(tool="Bash", call="npm test", text="I run the tests.")
    await readable.text_of(RESULT)
    assert readable.activity == Activity(text="I run the tests.")


async def test_chunks_are_as_small_as_the_host_asks_for(tmp_path: Path) -> None:
    block = CALL * 2000
    script = PodScript(output=((0.0, WHOLE.split(b"\n", 1)[0] + b"\n" + block),), ends_at=2.0)
    async with one_host(tmp_path, script) as (_, run):
        _, small = await run(logChunkBytes=7168, logFormat="events")
        _, default = await run(logFormat="events")
    assert small.stdout == default.stdout
    assert max(len(text) for _, text in small.chunks) <= 7168
    assert max(len(text) for _, text in default.chunks) > 50_000


async def test_host_gets_the_activity_of_the_agent_within_seconds(tmp_path: Path) -> None:
    reports: list[tuple[float, dict[str, Any]]] = []
    loop = asyncio.get_running_loop()

    async def on_runtime_progress(progress: dict[str, Any]) -> None:
        reports.append((loop.time(), progress))

    start = capture("02").splitlines(keepends=True)[0]
    output = [(0.0, start)]
    output += [(70.0 + n, CALL if n % 2 == 0 else RESULT) for n in range(21)]
    script = PodScript(output=tuple(output), ends_at=200.0)
    async with one_host(tmp_path, script) as (_, run):
        await run(onSpawn=None, onRuntimeProgress=on_runtime_progress, logFormat="text")
    busy = [(when, progress) for when, progress in reports if "currentToolName" in progress]
    assert busy[0][1]["currentToolName"] == "Bash"
    assert busy[0][1]["message"] == "Bash: npm test"
    assert busy[0][1]["phase"] == "run_activity"
    assert reports[0][1]["phase"] == "adapter_startup"
    assert len(busy) >= 3, "a running call is reported although calls are frequent"
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(reports)]
    assert min(pauses) >= 5.0, "each report is an event on the host's page"
    assert max(pauses) < 90, "older reports are dropped"
