"""How lines of the agent's stdout are rendered on a terminal, and that they cannot control the terminal."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cli_events import ANY_LINE, recorded_lines

from paperclip_claude_k8s.claude.accounting import RunUsage, TokenUsage
from paperclip_claude_k8s.claude.rendering.excerpts import MAX_LINE_CHARS
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.rows import FAILURE_LINES, FIRST_LINES, LAST_LINES
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines

ESCAPE = re.compile(r"\x1b\[(?:[1239]|3[1-6])m|\x1b\[0m")
"""The only escape sequences that the renderer writes."""
CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that control a terminal, except for the tab."""
PLAIN = Screen()
COLOURED = Screen(width=100, styles=True, colours=True)
USAGE = RunUsage(TokenUsage(3412, 17), 0.0123)


def shown(*lines: str, screen: Screen = PLAIN) -> list[str]:
    """The terminal lines for lines of stdout."""
    reader = ItemReader()
    return [text for line in lines for item in reader.read(line) for text in terminal_lines(item, screen)]


def shown_run(*lines: str, screen: Screen = PLAIN, usage: RunUsage = USAGE) -> list[str]:
    """The terminal lines of a run that has ended."""
    reader = ItemReader()
    items = [item for line in lines for item in reader.read(line)]
    return [text for item in [*items, *reader.finish(usage)] for text in terminal_lines(item, screen)]


def line_of(kind: str, *blocks: Any, **fields: Any) -> str:
    return json.dumps({"type": kind, "message": {"content": list(blocks)}, **fields})


def assistant_line(text: str) -> str:
    return line_of("assistant", {"type": "text", "text": text})


def tool_call_line(tool_input: Any, name: str = "Bash") -> str:
    return line_of("assistant", {"type": "tool_use", "id": "t", "name": name, "input": tool_input})


def tool_result_line(content: Any, **fields: Any) -> str:
    return line_of("user", {"type": "tool_result", "tool_use_id": "t", "content": content, **fields})


TODO = {"content": "b", "status": "pending"}
RESULT = {"type": "result", "subtype": "success", "result": "", "total_cost_usd": 0.0123}


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ('{"type":"system","subtype":"init","model":"m","session_id":"s"}', ["· session s · m"]),
        ('{"type":"system","subtype":"status","status":"compacting"}', ["· compacting the conversation"]),
        ('{"type":"system","subtype":"thinking_tokens"}', []),
        (assistant_line("One.\nTwo.\n"), ["● One.", "  Two."]),
        (line_of("assistant", {"type": "thinking", "thinking": "Hm.\nSo."}), ["∴ thinking: Hm.", "  So."]),
        (line_of("user", {"type": "text", "text": "Go\non."}), ["» Go", "  on."]),
        (tool_call_line({"command": "ls", "description": "List", "timeout": 5}), ["→ Bash  ls (timeout=5)"]),
        (tool_call_line({"command": "cd x\nls"}), ["→ Bash  cd x", "    ls"]),
        (tool_call_line({}), ["→ Bash"]),
        (tool_call_line(["a", 1]), ['→ Bash  ["a", 1]']),
        (tool_call_line({"text": "hi"}, "mcp__rig__echo"), ["→ echo (MCP rig)  text=hi"]),
        (tool_call_line({"file_path": "f", "content": "a\n"}, "Write"), ["→ Write  f", "    + a"]),
        (
            tool_call_line({"todos": [{"content": "a", "status": "completed"}, TODO]}, "TodoWrite"),
            ["→ TodoWrite", "    [x] a", "    [ ] b"],
        ),
        (tool_result_line("a\n  b"), ["← a tool", "    a", "      b"]),
        (tool_result_line(""), ["← a tool", "    (no output)"]),
        (tool_result_line("no", is_error=True), ["← a tool", "  ✗ no"]),
        (line_of("assistant", {"type": "text", "text": "x"}, error="rate_limit"), [
            "● x",
            "! Claude Code reports an error (rate_limit)",
        ]),
        ("plain text", ["▪ plain text"]),
        ("[paperclip] keepalive", ["· [paperclip] keepalive"]),
        ("", []),
    ],
)  # fmt: skip
def test_line_is_rendered_readably(line: str, lines: list[str]) -> None:
    assert shown(line) == lines


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (RESULT, ["✓ done · 3,412 tokens in, 17 out · $0.0123"]),
        ({**RESULT, "duration_ms": 61_000}, ["✓ done · 1 min 1 s · 3,412 tokens in, 17 out · $0.0123"]),
        ({**RESULT, "num_turns": 3}, ["✓ done · 3 turns · 3,412 tokens in, 17 out · $0.0123"]),
        ({**RESULT, "num_turns": -1}, ["✓ done · 3,412 tokens in, 17 out · $0.0123"]),
        ({**RESULT, "result": "Seen nowhere."}, [
            "● Seen nowhere.",
            "✓ done · 3,412 tokens in, 17 out · $0.0123",
        ]),
        ({**RESULT, "is_error": True, "result": "API Error: 529"}, [
            "✗ failed: API Error: 529 · 3,412 tokens in, 17 out · $0.0123",
        ]),
        ({**RESULT, "subtype": "error_max_turns", "result": None, "errors": ["a", "b"]}, [
            "✗ failed (error_max_turns): a; b · 3,412 tokens in, 17 out · $0.0123",
        ]),
    ],
)  # fmt: skip
def test_last_line_of_a_run_has_its_result_tokens_and_cost(result: dict[str, Any], lines: list[str]) -> None:
    assert shown_run(json.dumps(result)) == lines


def test_error_that_was_just_shown_is_not_repeated_at_the_end() -> None:
    text = {"type": "text", "text": "API Error: 529"}
    fields = {"model": "<synthetic>", "content": [text]}
    error = json.dumps({"type": "assistant", "message": fields, "error": "server_error"})
    assert shown_run(error, json.dumps({**RESULT, "is_error": True, "result": "API Error: 529"})) == [
        "! Claude Code: API Error: 529 (server_error)",
        "✗ failed · 3,412 tokens in, 17 out · $0.0123",
    ]


def test_unknown_cost_of_a_run_is_named() -> None:
    assert shown_run(json.dumps(RESULT), usage=RunUsage()) == ["✓ done · cost unknown"]


def test_run_of_several_turns_has_one_last_line_and_one_session_line() -> None:
    init = '{"type":"system","subtype":"init","model":"m","session_id":"s"}'
    turn = json.dumps({**RESULT, "result": "Answer.", "duration_ms": 5})
    assert shown_run(init, assistant_line("Answer."), turn, init, assistant_line("More."), turn) == [
        "· session s · m",
        "● Answer.",
        "· the session continues",
        "● More.",
        "✓ done · 3,412 tokens in, 17 out · $0.0123",
    ]


def test_end_of_events_without_a_result_is_named() -> None:
    init = '{"type":"system","subtype":"init","model":"m","session_id":"s"}'
    assert shown_run(init) == ["· session s · m", "· the output ends without a result"]
    assert shown_run("no event") == ["▪ no event"]


def test_tool_result_is_shown_under_its_call() -> None:
    assert shown(tool_call_line({"command": "ls"}), tool_result_line("a")) == ["→ Bash  ls", "    a"]


def test_tool_result_that_does_not_follow_its_call_names_the_call() -> None:
    def call(call_id: str) -> str:
        block = {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": f"run {call_id}"}}
        return line_of("assistant", block)

    def result(call_id: str) -> str:
        return line_of("user", {"type": "tool_result", "tool_use_id": call_id, "content": f"out {call_id}"})

    assert shown(call("1"), call("2"), result("2"), result("1")) == [
        "→ Bash  run 1",
        "→ Bash  run 2",
        "    out 2",
        "← Bash  run 1",
        "    out 1",
    ]


def test_sub_agents_are_indented_and_numbered() -> None:
    def start(call_id: str, **fields: Any) -> str:
        task = {"description": f"Look {call_id}", "prompt": f"Find {call_id}.", "subagent_type": "Explore"}
        return line_of(
            "assistant", {"type": "tool_use", "id": call_id, "name": "Agent", "input": task}, **fields
        )

    def text(call_id: str, text: str) -> str:
        return line_of("assistant", {"type": "text", "text": text}, parent_tool_use_id=call_id)

    prompt = line_of("user", {"type": "text", "text": "Find b."}, parent_tool_use_id="b")
    lines = [
        start("a"),
        start("b"),
        text("b", "B."),
        prompt,
        text("a", "A."),
        start("c", parent_tool_use_id="a"),
    ]
    assert shown(*lines, text("c", "C."), text("unknown", "?")) == [
        "→ Agent Explore 1  Look a",
        "    » Find a.",
        "→ Agent Explore 2  Look b",
        "    » Find b.",
        "  Explore 2 ┆ ● B.",
        "  Explore 1 ┆ ● A.",
        "  Explore 1 ┆ → Agent Explore 3  Look c",
        "  Explore 1 ┆     » Find c.",
        "    Explore 3 ┆ ● C.",
        "  sub-agent 4 ┆ ● ?",
    ]


def system_line(subtype: str, **fields: Any) -> str:
    return json.dumps({"type": "system", "subtype": subtype, **fields})


AGENT_CALL = tool_call_line({"description": "Look", "prompt": "Find.", "subagent_type": "Explore"}, "Agent")
AGENT_STARTED = system_line(
    "task_started", task_id="1", tool_use_id="t", task_type="local_agent", description="Look"
)


def test_start_of_a_background_task_is_not_shown_in_addition_to_its_call() -> None:
    started = system_line("task_started", task_id="1", tool_use_id="t", task_type="local_bash")
    changed = system_line("background_tasks_changed", tasks=[{"task_id": "1"}])
    lines = [tool_call_line({"command": "make", "run_in_background": True}), changed, started]
    assert shown(
        *lines, tool_result_line("Command running in background with ID: 1. Output is elsewhere")
    ) == [
        "→ Bash  make (in the background)",
        "    Command running in background with ID: 1",
    ]


def test_result_of_a_sub_agent_shows_how_it_ended() -> None:
    failed = system_line("task_updated", task_id="1", patch={"status": "failed", "error": "It broke."})
    usage = {"tool_uses": 1, "total_tokens": 5, "duration_ms": 3}
    ended = system_line(
        "task_notification", task_id="1", tool_use_id="t", status="failed", summary="It broke.", usage=usage
    )
    result = tool_result_line("It broke.", is_error=True)
    assert shown(AGENT_CALL, AGENT_STARTED, failed, ended, result) == [
        "→ Agent Explore 1  Look",
        "    » Find.",
        "· sub-agent Explore 1 failed (1 tool use, 5 tokens, 3 ms)",
        "← Agent Explore 1  Look",
        "  ✗ It broke.",
    ]


def test_notification_of_a_background_sub_agent_shows_how_it_ended() -> None:
    ended = system_line(
        "task_notification", task_id="1", tool_use_id="t", status="completed", summary="2 files."
    )
    lines = [AGENT_CALL, AGENT_STARTED, tool_result_line("Async agent launched. More."), ended]
    assert shown(*lines)[2:] == [
        "    Async agent launched",
        "· sub-agent Explore 1 completed: 2 files.",
    ]
    text = line_of("assistant", {"type": "text", "text": "2 files."}, parent_tool_use_id="t")
    assert shown(*lines[:-1], text, ended)[3:] == [
        "  Explore 1 ┆ ● 2 files.",
        "· sub-agent Explore 1 completed",
    ]


def test_reason_of_a_denied_permission_is_shown_once() -> None:
    denied = {"tool_name": "Bash", "message": "It needs approval."}
    result = tool_result_line("It needs approval.", is_error=True)
    assert shown(
        tool_call_line({"command": "rm x"}),
        system_line("permission_denied", tool_use_id="t", **denied),
        result,
    ) == [
        "→ Bash  rm x",
        "· permission denied: Bash",
        "← Bash  rm x",
        "  ✗ It needs approval.",
    ]
    assert shown(system_line("permission_denied", **denied)) == [
        "· permission denied: Bash: It needs approval."
    ]


def synthetic_line(text: str) -> str:
    message = {"model": "<synthetic>", "content": [{"type": "text", "text": text}]}
    return json.dumps({"type": "assistant", "message": message})


@pytest.mark.parametrize(
    ("line", "text", "lines"),
    [
        (synthetic_line("Compacted"), "Compacted", ["· Claude Code: Compacted"]),
        (
            system_line("informational", level="warning", content="Blocked.\n\nBy a hook."),
            "Blocked.\n\nBy a hook.",
            ["· warning: Blocked.", "  ", "  By a hook."],
        ),
        (synthetic_line("# Use\n" + "x\n" * 20), "# Use\n" + "x\n" * 20, ["● Use", *["  x"] * 20]),
    ],
    ids=["short", "notice", "long"],
)
def test_text_that_the_cli_wrote_is_not_repeated_as_the_result(
    line: str, text: str, lines: list[str]
) -> None:
    result = json.dumps({**RESULT, "result": text})
    assert shown_run(line, result) == [*lines, "✓ done · 3,412 tokens in, 17 out · $0.0123"]


def test_end_of_a_background_task_has_the_name_from_its_start() -> None:
    started = {"type": "system", "subtype": "task_started", "task_id": "t", "task_type": "local_bash"}
    ended = {"type": "system", "subtype": "task_notification", "task_id": "t", "status": "completed"}
    assert shown(json.dumps({**started, "description": "sleep 5"}), json.dumps(ended)) == [
        "· background command started: sleep 5",
        "· background command completed",
    ]


def test_text_is_the_same_with_and_without_colours() -> None:
    for _, line in recorded_lines():
        coloured = [ESCAPE.sub("", text) for text in shown(line, screen=COLOURED)]
        assert coloured == shown(line, screen=Screen(width=100))


def test_failed_results_are_red_and_successful_results_green() -> None:
    red = shown(tool_result_line("no", is_error=True), screen=COLOURED)[-1]
    assert red == "\x1b[31m  ✗ \x1b[0m\x1b[31mno\x1b[0m"
    assert shown_run(json.dumps(RESULT), screen=COLOURED)[0].startswith("\x1b[32m✓ ")
    failed = json.dumps({**RESULT, "is_error": True})
    assert shown_run(failed, screen=COLOURED)[0].startswith("\x1b[31m✗ ")


def test_without_colours_only_bold_and_dim_are_used() -> None:
    for _, line in recorded_lines():
        for text in shown(line, screen=Screen(width=100, styles=True)):
            assert re.search(r"\x1b\[3[0-9]m", text) is None


def test_times_are_shown_on_request() -> None:
    line = line_of("assistant", {"type": "text", "text": "a\nb"}, timestamp="2026-11-27T00:00:35.526Z")
    assert shown(line, assistant_line("c"), screen=Screen(times=True)) == [
        "00:00:35 ● a",
        "           b",
        "         ● c",
    ]


def test_deltas_are_not_shown() -> None:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}}
    assert shown(json.dumps({"type": "stream_event", "event": delta})) == []


def test_answer_of_the_agent_is_never_cut() -> None:
    assert len(shown(assistant_line("line\n" * 1000))) == 1000
    assert "".join(shown(assistant_line("x" * 100_000), screen=Screen(width=80))).count("x") == 100_000


def test_long_output_is_cut_in_the_middle() -> None:
    lines = shown(tool_result_line("\n".join(map(str, range(100)))))[1:]
    numbers = [line.strip() for line in lines]
    first = [str(number) for number in range(FIRST_LINES)]
    last = [str(100 - number) for number in range(LAST_LINES, 0, -1)]
    assert numbers == [*first, f"… {100 - FIRST_LINES - LAST_LINES} lines left out …", *last]


@pytest.mark.parametrize("count", [100, 1_000_000])
def test_long_output_of_a_failed_call_is_cut_after_its_first_line(count: int) -> None:
    text = "Exit code 1\n" + "\n".join(f"{number}" for number in range(count))
    lines = [line.strip() for line in shown(tool_result_line(text, is_error=True))[1:]]
    assert lines[0] == "✗ Exit code 1"
    assert lines[1] == f"… {count - FAILURE_LINES:,} lines left out …"
    assert lines[2:] == [str(count - number) for number in range(FAILURE_LINES, 0, -1)]


def test_long_line_of_an_output_is_cut_in_its_middle() -> None:
    [_, line] = shown(tool_result_line("a" * 50_000 + "b" * 50_000))
    assert len(line) < MAX_LINE_CHARS + 50  # with indentation, and the note about what is left out
    assert line.startswith("    aaa")
    assert line.endswith("bbb")


def test_wrapped_lines_keep_their_indentation() -> None:
    lines = shown(assistant_line("word " * 30), screen=Screen(width=40))
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("● word")
    assert all(line.startswith("  word") and not line.endswith(" ") for line in lines[1:])
    ten_wide = "あ" * 10  # each of these characters takes two columns
    wrapped = shown(assistant_line(ten_wide * 3), screen=Screen(width=22))
    assert wrapped == [f"● {ten_wide}", f"  {ten_wide}", f"  {ten_wide}"]


@pytest.mark.parametrize(
    "attack",
    [
        "\x1b]0;title\x07",  # sets the window title
        "\x1b[2J\x1b[H",  # clears the screen
        "\x1bP+q544e\x1b\\",  # makes the terminal write its reply to stdin
        "\x9b31m",  # a colour sequence with an 8-bit start
        "\x1b]52;c;ZWNobyBoaQ==\x07",  # sets the clipboard
        "harmless\rrm -rf /",  # overwrites the beginning of the line
        "a\x08b\x7fc\x0cd",  # backspace, delete and form feed
        "\u202egnp.exe",  # reverses the direction of the text
        "\U000e0041hidden",  # an invisible character
    ],
)
@pytest.mark.parametrize("screen", [PLAIN, COLOURED])
def test_control_sequences_are_neutralised(attack: str, screen: Screen) -> None:
    lines = [
        attack,
        f"[paperclip] {attack}",
        assistant_line(attack),
        assistant_line(
            f"# {attack}\n- **{attack}** `{attack}` [{attack}]({attack})\n\n|{attack}|b|\n|-|-|\n|a|b|"
        ),
        line_of("assistant", {"type": "thinking", "thinking": attack}),
        tool_call_line({attack: attack}, name=f"n{attack}"),
        tool_call_line({"nested": [attack]}),
        tool_call_line({"file_path": attack, "old_string": attack, "new_string": f"{attack}2"}, name="Edit"),
        tool_call_line({"todos": [{"content": attack, "status": attack}]}, name="TodoWrite"),
        tool_call_line({"description": attack, "prompt": attack, "subagent_type": attack}, name="Agent"),
        line_of("assistant", {"type": "text", "text": attack}, parent_tool_use_id="t", timestamp=attack),
        tool_result_line(attack),
        json.dumps({**RESULT, "is_error": True, "result": attack, "subtype": attack, "errors": [attack]}),
        json.dumps({"type": "system", "subtype": "init", "model": attack, "session_id": attack}),
        json.dumps({"type": attack, "subtype": attack, "text": attack}),
    ]
    for line in shown_run(*lines, screen=screen):
        assert CONTROL.search(ESCAPE.sub("", line)) is None
        assert "\U000e0041" not in line


SCREENS = st.builds(
    Screen,
    width=st.none() | st.integers(1, 120),
    styles=st.booleans(),
    colours=st.booleans(),
    times=st.booleans(),
)


@given(st.lists(ANY_LINE, max_size=5), SCREENS)
def test_any_lines_are_rendered_without_control_characters(lines: list[str], screen: Screen) -> None:
    for line in shown_run(*lines, screen=screen):
        assert CONTROL.search(ESCAPE.sub("", line)) is None
        line.encode()


def test_recorded_runs_are_rendered_without_json_of_events() -> None:
    for name, line in recorded_lines():
        assert not any('"session_id"' in text for text in shown(line)), name
