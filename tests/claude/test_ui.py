"""Entries that Paperclip's page shows for a line of stdout: an example of every event of the Claude CLI."""

import json
from typing import Any

import pytest
from tests.support.cli_events import recorded_lines
from tests.support.ui_parser import TIMESTAMP, as_json, parsed_by_javascript

from paperclip_claude_k8s.claude.ui import parse_stdout_line
from paperclip_claude_k8s.claude.ui.table import TABLE
from paperclip_claude_k8s.testing import capture

SESSION = "3503d3d8-f6d3-48d8-8566-30c2b0b1b60b"


def event(kind: str, subtype: str | None = None, **fields: Any) -> str:
    named = {"type": kind} if subtype is None else {"type": kind, "subtype": subtype}
    return json.dumps({**named, **fields, "uuid": SESSION, "session_id": SESSION}, ensure_ascii=False)


def message(kind: str, *blocks: Any, model: str = "m", **fields: Any) -> str:
    return event(kind, message={"role": kind, "model": model, "content": list(blocks)}, **fields)


def entry(kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "text": text, **more}


def parsed(line: str) -> list[dict[str, Any]]:
    entries = parse_stdout_line(line, TIMESTAMP)
    assert all(each["ts"] == TIMESTAMP for each in entries)
    return [{key: value for key, value in each.items() if key != "ts"} for each in entries]


LINES: list[tuple[str, str]] = [
    (event("system", "agents_killed"), "the sub-agents were stopped"),
    (
        event(
            "system",
            "api_retry",
            attempt=2,
            max_retries=10,
            retry_delay_ms=1074.6,
            error_status=529,
            error="overloaded",
        ),
        "API error (529, overloaded): retry 2 of 10 in 1.1 s",
    ),
    (
        event(
            "system",
            "api_retry",
            attempt=1,
            max_retries=2,
            retry_delay_ms=90_500,
            error_status=None,
            error="unknown",
        ),
        "API error (no response): retry 1 of 2 in 1 min 30 s",
    ),
    (event("system", "away_summary", content="Three files changed."), "Three files changed."),
    (event("system", "commands_changed", commands=[{"name": "a"}]), "the list of commands changed"),
    (
        event(
            "system",
            "compact_boundary",
            compact_metadata={
                "trigger": "auto",
                "pre_tokens": 190070,
                "post_tokens": 634,
                "duration_ms": 52_300,
            },
        ),
        "conversation compacted (auto): 190,070 tokens became 634 in 52.3 s",
    ),
    (event("system", "compact_boundary"), "conversation compacted"),
    (
        event("system", "elicitation_complete", mcp_server_name="rig", elicitation_id="e"),
        "MCP server rig: the question is answered",
    ),
    (event("system", "files_persisted", files=[{}], failed=[]), "1 file saved"),
    (event("system", "files_persisted", files=[{}, {}], failed=[{}]), "2 files saved, 1 failed"),
    (
        event("system", "hook_progress", hook_name="PreToolUse:Bash", stdout="half\nway\n", stderr=""),
        "hook PreToolUse:Bash: half way",
    ),
    (
        event("system", "hook_response", hook_name="Stop", outcome="success", exit_code=0, output="out\n"),
        "hook Stop: success: out",
    ),
    (
        event("system", "hook_response", hook_name="Stop", outcome="error", exit_code=2, stderr="no"),
        "hook Stop: error (exit code 2): no",
    ),
    (event("system", "hook_started", hook_event="SessionStart"), "hook SessionStart started"),
    (
        event(
            "system", "informational", content="Blocked by hook.", level="warning", prevent_continuation=True
        ),
        "warning: Blocked by hook. (the run stops here)",
    ),
    (event("system", "informational", content="As you were.", level="info"), "As you were."),
    (
        event(
            "system", "local_command_output", content="<local-command-stdout>Cost: $1</local-command-stdout>"
        ),
        "Cost: $1",
    ),
    (event("system", "memory_recall", mode="auto", memories=[{}, {}]), "memories recalled: 2 (auto)"),
    (event("system", "memory_saved"), "memory saved"),
    (event("system", "mirror_error", error="disk full"), "the transcript could not be mirrored: disk full"),
    (
        event("system", "model_consent_fallback", original_model="a", fallback_model="b"),
        "b answers instead of a",
    ),
    (
        event(
            "system",
            "model_fallback",
            trigger="overloaded",
            original_model="opus",
            fallback_model="sonnet",
            content="Switched to Sonnet",
        ),
        "sonnet answers instead of opus (overloaded): Switched to Sonnet",
    ),
    (
        event(
            "system",
            "model_refusal_fallback",
            trigger="refusal",
            original_model="a",
            fallback_model="b",
            retracted_message_uuids=["x", "y"],
        ),
        "b answers instead of a (refusal); 2 earlier messages withdrawn",
    ),
    (
        event(
            "system",
            "model_refusal_no_fallback",
            original_model="a",
            api_refusal_category="cyber",
            api_refusal_explanation="It would harm.",
            content="",
        ),
        "a refused to answer (cyber): It would harm.",
    ),
    (event("system", "notification", key="stop-hook-error", text="Stop hook error"), "Stop hook error"),
    (
        event("system", "permission_denied", tool_name="Bash", message="Not in the list."),
        "permission denied: Bash: Not in the list.",
    ),
    (event("system", "permission_retry"), "permission is requested again"),
    (
        event("system", "plugin_install", status="failed", name="lint", error="404"),
        "plugin lint: failed: 404",
    ),
    (event("system", "post_turn_summary", summary="Done two of three."), "Done two of three."),
    (event("system", "scheduled_task_fire"), "a scheduled task begins"),
    (event("system", "session_state_changed", state="requires_action"), "session: requires_action"),
    (event("system", "status", status="compacting"), "compacting the conversation"),
    (event("system", "status", status=None, compact_result="success"), "compaction: success"),
    (
        event("system", "status", status=None, compact_result="failed", compact_error="too long"),
        "compaction: failed: too long",
    ),
    (event("system", "status", status=None, permissionMode="plan"), "permission mode: plan"),
    (event("system", "stop_hook_summary"), "stop hooks ran"),
    (
        event(
            "system",
            "task_notification",
            task_id="t1",
            status="failed",
            output_file="/tmp/t1.output",  # noqa: S108  # part of an event
            summary="Background command failed",
        ),
        "task t1 failed: Background command failed, output in /tmp/t1.output",
    ),
    (
        event(
            "system", "task_notification", task_type="local_bash", summary='Background command "a" stopped'
        ),
        'Background command "a" stopped',
    ),
    (
        event(
            "system",
            "task_progress",
            description="Running ls",
            subagent_type="Explore",
            usage={"total_tokens": 1019, "tool_uses": 1, "duration_ms": 36},
        ),
        "sub-agent Explore: Running ls (1 tool use, 1,019 tokens, 36 ms)",
    ),
    (
        event("system", "task_started", task_type="local_bash", description="sleep 5"),
        "background command started: sleep 5",
    ),
    (
        event("system", "task_started", task_type="local_agent", subagent_type="Plan", description="Think"),
        "sub-agent Plan started: Think",
    ),
    (event("system", "task_summary", summary="Halfway."), "Halfway."),
    (event("system", "task_updated", task_id="t1", patch={"status": "killed"}), "task t1: killed"),
    (
        event("system", "background_tasks_changed", tasks=[{"task_id": "a"}, {"task_id": "b"}]),
        "background tasks running: 2",
    ),
    (event("system", "background_tasks_changed", tasks=[]), "no background task is running"),
    (event("system", "code_change_published"), "a code change was published"),
    (event("system", "file_attachments_missing"), "attached files are missing"),
    (event("system", "instruction_size_warning", message="40 kB"), "the instructions are long: 40 kB"),
    (event("system", "per_turn_effort_changed", effort="high"), "the effort of this turn changed: high"),
    (event("system", "permission_check_status"), "permission check"),
    (event("system", "session_title_changed", title="Fix it"), "the session has a new title: Fix it"),
    (event("system", "turn_preempted"), "a new message interrupted the turn"),
    (event("system", "vcs_state_changed", branch="main"), "the state of the Git repository changed: main"),
    (event("command_lifecycle", state="started"), "queued message: started"),
    (
        event("system", "notification", text="Stop hook error occurred · ctrl+o to see"),
        "Stop hook error occurred",
    ),
    (event("system", "turn_duration", duration_ms=61_000), "this turn took 1 min 1 s"),
    (event("system", "worker_shutting_down", reason="idle"), "Claude Code is shutting down: idle"),
    (
        event(
            "rate_limit_event",
            rate_limit_info={
                "status": "allowed_warning",
                "resetsAt": 1795000000,
                "rateLimitType": "five_hour",
                "utilization": 0.92,
                "isUsingOverage": True,
            },
        ),
        "rate limit five hour: nearly reached, 92 % used, resets 2026-11-18 11:06 UTC, using overage",
    ),
    (
        event("tool_progress", tool_name="Bash", elapsed_time_seconds=30),
        "Bash has been running for 30 s",
    ),
    (event("tool_use_summary", summary="Read two files"), "Read two files"),
    (event("streamlined_tool_use_summary", summary="Read two files"), "Read two files"),
    (event("prompt_suggestion", suggestion="Run the tests"), "suggested next prompt: Run the tests"),
    (event("os_notification", message="Claude is waiting"), "Claude is waiting"),
    (event("conversation_reset"), "the conversation was reset"),
    (event("refusal_continuation"), "the conversation continues after a refusal"),
    (
        event("control_request", request={"subtype": "can_use_tool", "tool_name": "Bash"}),
        "Claude Code asks its caller: can_use_tool Bash",
    ),
    (event("auth_status", isAuthenticating=True, output=["a", "b"]), "signing in: a b"),
    (
        event("system", "brand_new", summary="Something\nhappened"),
        "event brand new: Something happened",
    ),
    (event("brand_new", deep={"a": {"b": 1}}), "event brand new"),
    ("[paperclip] keepalive — job J running", "[paperclip] keepalive — job J running"),
]
"""Lines that become one `system` entry each, and the texts of these entries."""

SILENT = [
    event("system", "thinking_tokens", estimated_tokens=14),
    event("system", "thinking"),
    event("system", "file_snapshot"),
    event("system", "status", status="requesting"),
    event("system", "task_updated", task_id="t1", patch={"status": "completed"}),
    event("command_lifecycle"),
    event("stream_event", event={"type": "message_start", "message": {}}),
    event("stream_event", event={"type": "content_block_delta", "delta": {"type": "signature_delta"}}),
    *(event(kind) for kind in ("keep_alive", "api_metrics", "tombstone", "attachment", "active_goal")),
    *(event(kind) for kind in ("stream_mode", "compact_progress", "control_cancel_request")),
    *(event(kind) for kind in ("control_response", "response_length", "transcript_mirror")),
    message("assistant", {"type": "text", "text": ""}),
    "",
    "  \t\r\n",
]
"""Lines that show nothing."""

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 16_000}}


def tool_result_block(content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **fields}


def tool_result_entry(content: str, *, is_error: bool = False, **more: Any) -> dict[str, Any]:
    return {"kind": "tool_result", "toolUseId": "toolu_1", "content": content, "isError": is_error, **more}


def result_entry(**fields: Any) -> dict[str, Any]:
    blank = {"inputTokens": 0, "outputTokens": 0, "cachedTokens": 0, "costUsd": 0, "errors": []}
    return {"kind": "result", "text": "", "subtype": "success", "isError": False, **blank, **fields}


ENTRIES: list[tuple[str, list[dict[str, Any]]]] = [
    (
        event(
            "system",
            "init",
            model="m",
            mcp_servers=[{"name": "rig", "status": "connected"}, {"name": "x", "status": "failed"}],
            plugin_errors=[{}],
        ),
        [
            {"kind": "init", "model": "m", "sessionId": SESSION},
            entry("system", "MCP server x: failed"),
            entry("system", "1 plugin could not be loaded"),
        ],
    ),
    (
        event("system", "api_error", error={"message": "boom"}),
        [entry("stderr", "API error: boom")],
    ),
    (
        event("system", "session_writes_lost", error_code="ENOSPC", lost=["transcript"]),
        [entry("stderr", "the session could not be saved (ENOSPC): it cannot be resumed")],
    ),
    (message("assistant", {"type": "text", "text": "Hello.\n"}), [entry("assistant", "Hello.\n")]),
    (
        message("assistant", {"type": "thinking", "thinking": "Hm.", "signature": "x"}),
        [entry("thinking", "Hm.")],
    ),
    (
        message("assistant", {"type": "redacted_thinking", "data": "ZmFrZQ=="}),
        [entry("thinking", "[redacted thinking]")],
    ),
    (
        message("assistant", TOOL),
        [{"kind": "tool_call", "name": "Bash", "input": {"command": "ls"}, "toolUseId": "toolu_1"}],
    ),
    (
        message("assistant", {**TOOL, "type": "server_tool_use", "name": "web_search"}),
        [{"kind": "tool_call", "name": "web_search", "input": {"command": "ls"}, "toolUseId": "toolu_1"}],
    ),
    (
        message(
            "assistant",
            {
                **tool_result_block(
                    [{"type": "web_search_result", "title": "A page", "url": "https://a.example"}]
                ),
                "type": "web_search_tool_result",
            },
        ),
        [tool_result_entry("[web_search_result, A page, https://a.example]", toolName="web_search")],
    ),
    (
        message(
            "assistant",
            {
                **tool_result_block(
                    {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
                ),
                "type": "web_search_tool_result",
            },
        ),
        [
            tool_result_entry(
                "[web_search_tool_result_error, max_uses_exceeded]", is_error=True, toolName="web_search"
            )
        ],
    ),
    (
        message(
            "assistant",
            {"type": "text", "text": "Invalid API key"},
            model="<synthetic>",
            error="authentication_failed",
        ),
        [entry("stderr", "Claude Code: Invalid API key (authentication_failed)")],
    ),
    (
        message("assistant", {"type": "text", "text": "Unknown command: /x"}, model="<synthetic>"),
        [entry("system", "Claude Code: Unknown command: /x")],
    ),
    (
        message("assistant", {"type": "text", "text": "Again."}, supersedes=["a"], error="server_error"),
        [
            entry("assistant", "Again."),
            entry("stderr", "Claude Code reports an error (server_error)"),
            entry("system", "this replaces 1 earlier message"),
        ],
    ),
    (
        message(
            "assistant",
            {"type": "text", "text": "Found it."},
            TOOL,
            parent_tool_use_id="toolu_A",
            subagent_type="Explore",
            task_description="Find it",
        ),
        [
            entry("assistant", "[sub-agent Explore · Find it] Found it.", parentToolUseId="toolu_A"),
            {
                "kind": "tool_call",
                "name": "Bash (sub-agent Explore)",
                "input": {"command": "ls"},
                "toolUseId": "toolu_1",
                "parentToolUseId": "toolu_A",
            },
        ],
    ),
    (
        message("user", tool_result_block("0"), parent_tool_use_id="toolu_A"),
        [tool_result_entry("0", parentToolUseId="toolu_A")],
    ),
    (
        message("user", {"type": "text", "text": "Find it."}, parent_tool_use_id="toolu_A"),
        [entry("user", "[sub-agent] Find it.", parentToolUseId="toolu_A")],
    ),
    (
        message("user", tool_result_block("no such file", is_error=True)),
        [tool_result_entry("no such file", is_error=True)],
    ),
    (
        message("user", tool_result_block([{"type": "text", "text": "an image"}, IMAGE])),
        [tool_result_entry("an image\n[image/png, 12 kB]")],
    ),
    (
        message(
            "user",
            tool_result_block([{"type": "tool_reference", "tool_name": "Grep"}, {"x": 1}, None, 3, "s"]),
        ),
        [tool_result_entry("[tool_reference, Grep]\n[unnamed content]\ns")],
    ),
    (message("user", tool_result_block(None)), [tool_result_entry("")]),
    (message("user", IMAGE), [entry("user", "[image/png, 12 kB]")]),
    (
        event("user", message={"role": "user", "content": "The summary."}, isSynthetic=True),
        [entry("system", "Claude Code tells the agent: The summary.")],
    ),
    (
        event(
            "user",
            message={"content": "<local-command-stdout>Compacted </local-command-stdout>"},
            isReplay=True,
        ),
        [entry("system", "Compacted")],
    ),
    (
        event(
            "result",
            "success",
            is_error=False,
            result="Done.",
            total_cost_usd=0.5,
            usage={"input_tokens": 1, "output_tokens": 1},
            modelUsage={
                "a": {"inputTokens": 10, "cacheCreationInputTokens": 5, "outputTokens": 7},
                "b": {"inputTokens": 1, "cacheReadInputTokens": 3},
            },
        ),
        [result_entry(text="Done.", inputTokens=16, outputTokens=7, cachedTokens=3, costUsd=0.5)],
    ),
    (
        event(
            "result",
            "error_max_turns",
            is_error=True,
            errors=["Reached maximum number of turns (2)", {"message": "more"}, 3],
            usage={"input_tokens": 2, "output_tokens": 3, "cache_read_input_tokens": 4},
            permission_denials=[{"tool_name": "Bash"}, {"tool_name": "Write"}],
        ),
        [
            entry("system", "denied in this run: Bash, Write"),
            result_entry(
                subtype="error_max_turns",
                isError=True,
                errors=["Reached maximum number of turns (2)", "more"],
                inputTokens=2,
                outputTokens=3,
                cachedTokens=4,
            ),
        ],
    ),
    (
        event("result", "success", is_error=True, result="API Error: 529 Overloaded."),
        [result_entry(text="API Error: 529 Overloaded.", isError=True)],
    ),
    (
        event(
            "stream_event",
            event={"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}},
        ),
        [entry("assistant", "Hel", delta=True)],
    ),
    (
        event(
            "stream_event",
            event={"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "H"}},
        ),
        [entry("thinking", "H", delta=True)],
    ),
    (
        event("stream_event", event={"type": "error", "error": {"message": "Overloaded"}}),
        [entry("stderr", "API error: Overloaded")],
    ),
    (event("streamlined_text", text="Short."), [entry("assistant", "Short.")]),
    (event("auth_status", error="expired"), [entry("stderr", "signing in failed: expired")]),
    ("npm warn deprecated\r", [entry("stdout", "npm warn deprecated")]),
    ('{"no": "type"}', [entry("stdout", '{"no": "type"}')]),
    ("[1, 2]", [entry("stdout", "[1, 2]")]),
    (
        '{"type":"assistant","message":{"id":"m","content":[{"type":"text","text":"So far \\u00',
        [entry("assistant", "So far \n[the rest of this line is missing]")],
    ),
    (
        (
            '{"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_1","type":"tool_result",'
            '"content":"line 1\\nli'
        ),
        [tool_result_entry("line 1\nli\n[the rest of this line is missing]")],
    ),
    (
        '{"type":"result","subtype":"success","result":"Hel',
        [entry("system", "a broken line of type result (50 characters)")],
    ),
    (
        '{"is_error":false,"duration_api_ms":57,"stop_reason":"end_turn","result":"Hel',
        [entry("system", "a broken line of type result (77 characters)")],
    ),
    (
        f'ght."}}]}},"uuid":"{SESSION}","session_id":"{SESSION}"}}',
        [entry("system", "a piece of a broken line (107 characters)")],
    ),
]
"""Lines that become several entries, or an entry of another kind; and their entries."""


@pytest.mark.parametrize(("line", "text"), LINES)
def test_line_gives_one_system_entry(line: str, text: str) -> None:
    assert parsed(line) == [entry("system", text)]


@pytest.mark.parametrize("line", SILENT)
def test_silent_line_gives_no_entry(line: str) -> None:
    assert parsed(line) == []


@pytest.mark.parametrize(("line", "entries"), ENTRIES)
def test_line_gives_its_entries(line: str, entries: list[dict[str, Any]]) -> None:
    assert parsed(line) == entries


def test_every_known_event_has_an_example_with_equal_entries_in_javascript() -> None:
    lines = [*(line for line, _ in LINES), *SILENT, *(line for line, _ in ENTRIES)]
    for line, theirs in zip(lines, parsed_by_javascript(lines), strict=True):
        assert as_json(parse_stdout_line(line, TIMESTAMP)) == theirs
    seen = set()
    for line in lines:
        if line.startswith("{") and line.endswith("}"):
            example = json.loads(line)
            seen |= {(example.get("type"), example.get("subtype")), (example.get("type"), None)}
    assert set(TABLE) - seen == set()


def test_no_recorded_event_is_unknown() -> None:
    texts = {str(each.get("text")) for _, line in recorded_lines() for each in parsed(line)}
    assert [text for text in texts if text.startswith("event ")] == []


def test_long_contents_are_kept_whole() -> None:
    text = "0123456789abcdef\n" * 100_000
    assert parsed(message("assistant", {"type": "text", "text": text})) == [entry("assistant", text)]
    assert parsed(message("user", tool_result_block(text))) == [tool_result_entry(text)]


def test_every_init_and_result_of_a_run_is_shown() -> None:
    # capture 23a has two turns: the second follows the end of a background command
    lines = capture("23a").decode().split("\n")
    kinds = [each["kind"] for line in lines for each in parsed(line)]
    assert kinds.count("init") == kinds.count("result") == 2


def test_beginning_of_a_cut_line_is_shown_and_its_end_is_described() -> None:
    """The Paperclip host shortens a long chunk to its beginning (here 36 KiB) and a part of its end."""
    event_fields = json.loads(message("assistant", {"type": "text", "text": "word " * 30_000}))
    line = json.dumps(event_fields, separators=(",", ":"))  # without blanks, as the CLI writes it
    head, tail = line[: 60 * 1024 * 6 // 10], line[-16_000:]
    [first] = parsed(head)
    assert first["kind"] == "assistant"
    assert first["text"].startswith("word word ")
    assert parsed(tail) == [entry("system", "a piece of a broken line (16,000 characters)")]
