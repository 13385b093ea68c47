"""Entries of calls that change files or todos, and of tool outputs, without additions of the Claude CLI."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cli_events import TEXTS, recorded_lines
from tests.support.ui_parser import TIMESTAMP, as_json, parsed_by_javascript

from paperclip_claude_k8s.claude.ui import parse_stdout_line
from paperclip_claude_k8s.claude.ui.cli_words import HAND_BACK
from paperclip_claude_k8s.claude.ui.edits import MAX_CHANGE_CHARS, MAX_CHANGE_LINES, MAX_TODOS


def call_line(name: str, tool_input: Any, **fields: Any) -> str:
    block = {"type": "tool_use", "id": "c1", "name": name, "input": tool_input}
    return json.dumps({"type": "assistant", "message": {"content": [block]}, **fields})


def output_line(content: Any) -> str:
    block = {"type": "tool_result", "tool_use_id": "c1", "content": content}
    return json.dumps({"type": "user", "message": {"content": [block]}})


def changes(name: str, tool_input: Any) -> list[tuple[str, str]]:
    """`changeType` and text of each entry that follows the entry of the call, and that has its id."""
    call, *found = parse_stdout_line(call_line(name, tool_input), TIMESTAMP)
    assert call["kind"] == "tool_call"
    assert all(entry["toolUseId"] == "c1" for entry in found)
    return [(str(entry.get("changeType", entry["kind"])), str(entry["text"])) for entry in found]


def test_edit_shows_changed_lines_between_two_lines_of_context() -> None:
    old = "a\nb\nc\nd\ne\nf\ng\n"
    new = "a\nb\nc\nD\ne\nf\ng\n"
    shown = changes("Edit", {"file_path": "/x.py", "old_string": old, "new_string": new})
    assert shown == [
        ("file_header", "/x.py"),
        ("hunk", "…"),
        ("context", "b"),
        ("context", "c"),
        ("remove", "d"),
        ("add", "D"),
        ("context", "e"),
        ("context", "f"),
        ("hunk", "…"),
    ]


def test_edit_at_two_places_keeps_the_common_lines_between() -> None:
    tool_input = {"file_path": "f", "old_string": "1\nsame\n3", "new_string": "one\nsame\nthree"}
    assert changes("Edit", tool_input)[1:] == [
        ("remove", "1"),
        ("add", "one"),
        ("context", "same"),
        ("remove", "3"),
        ("add", "three"),
    ]


@pytest.mark.parametrize(
    ("name", "tool_input", "shown"),
    [
        ("Edit", {"file_path": "f", "old_string": "", "new_string": "x"}, [("add", "x")]),
        ("Edit", {"file_path": "f", "old_string": "x\n", "new_string": ""}, [("remove", "x")]),
        (
            "Edit",
            {"file_path": "f", "old_string": "a", "new_string": "b", "replace_all": True},
            [("hunk", "every occurrence"), ("remove", "a"), ("add", "b")],
        ),
        (
            "MultiEdit",
            {"file_path": "f", "edits": [{"old_string": "a", "new_string": "b"}, {"new_string": "c"}]},
            [("hunk", "edit 1 of 2"), ("remove", "a"), ("add", "b"), ("hunk", "edit 2 of 2"), ("add", "c")],
        ),
        ("Write", {"file_path": "f", "content": "a\nb\n"}, [("add", "a"), ("add", "b")]),
        ("NotebookEdit", {"notebook_path": "f", "new_source": "x"}, [("add", "x")]),
    ],
)
def test_call_shows_its_change(name: str, tool_input: Any, shown: list[tuple[str, str]]) -> None:
    assert changes(name, tool_input) == [("file_header", "f"), *shown]


@pytest.mark.parametrize(
    ("name", "tool_input"),
    [
        ("Edit", {"file_path": "f", "old_string": "same", "new_string": "same"}),
        ("Edit", {"file_path": "f", "old_string": 1, "new_string": None}),
        ("Write", {"file_path": "f", "content": ""}),
        ("MultiEdit", {"edits": "none"}),
        ("TodoWrite", {"todos": []}),
        ("Bash", {"command": "x", "old_string": "a", "new_string": "b"}),
        ("constructor", {"content": "x"}),
    ],
)
def test_call_without_a_change_shows_none(name: str, tool_input: Any) -> None:
    assert changes(name, tool_input) == []


def test_long_change_is_cut_and_says_how_many_lines_are_missing() -> None:
    shown = changes("Write", {"file_path": "f", "content": "\n".join(["x" * 10_000] * 100)})
    assert len(shown) == 1 + MAX_CHANGE_LINES + 1
    assert shown[-1] == ("truncation", f"{100 - MAX_CHANGE_LINES} more lines")
    assert len(shown[1][1]) == MAX_CHANGE_CHARS


def test_todos_are_a_checklist() -> None:
    todos = [
        {"content": "Read\nit", "status": "completed"},
        {"content": "Change it", "status": "in_progress"},
        {"content": "Test it", "status": "pending"},
    ]
    assert changes("TodoWrite", {"todos": todos}) == [
        ("system", "[x] Read it\n[>] Change it\n[ ] Test it"),
    ]
    [(_, text)] = changes("TodoWrite", {"todos": todos * 100})
    assert text.count("\n") == MAX_TODOS
    assert text.endswith(f"\n... {len(todos) * 100 - MAX_TODOS} more")


def test_diff_of_a_sub_agent_has_no_prefix_with_its_name() -> None:
    line = call_line(
        "Write", {"file_path": "f", "content": "a"}, parent_tool_use_id="p", subagent_type="Plan"
    )
    entries = parse_stdout_line(line, TIMESTAMP)
    assert [entry.get("text", entry.get("name")) for entry in entries] == ["Write (sub-agent Plan)", "f", "a"]
    assert all(entry["parentToolUseId"] == "p" and "subAgent" not in entry for entry in entries)


USAGE = "<usage>subagent_tokens: 1122\ntool_uses: 1\nduration_ms: 118</usage>"
AGENT = "agentId: a66 (use SendMessage with to: 'a66', summary: '<5-10 word recap>' to continue this agent)"
SAVED = "Output too large (6.6MB). Full output saved to: /t.txt\n\nPreview (first 2KB):\nabc"
OUTPUTS = [
    (
        [
            {
                "type": "text",
                "text": f"note\n{HAND_BACK}  # Report\n  - a\n    - b\nno indent\n{AGENT}\n{USAGE}",
            }
        ],
        "note\n# Report\n- a\n  - b\nno indent",
    ),
    ([{"type": "text", "text": "0 files."}, {"type": "text", "text": f"{AGENT}\n{USAGE}"}], "0 files."),
    ("<tool_use_error>Error: No such tool</tool_use_error>", "Error: No such tool"),
    (f"<persisted-output>\n{SAVED}\n</persisted-output>", SAVED),
    ("  <tools-used-before-summary>Bash</tools-used-before-summary>\n  \nrest", "rest"),
    ("created (file state is current in your context — no need to Read it back)", "created"),
    ("     1\ta\n<system-reminder>\nBe good.\n</system-reminder>\n", "     1\ta\nBe good."),
    (
        "<usage>rm -rf /: the reader must see this</usage>",
        "<usage>rm -rf /: the reader must see this</usage>",
    ),
    ("press ctrl+o to save", "press ctrl+o to save"),
    ("  kept \n", "  kept \n"),
]
"""Outputs of tools, and the text that is shown for each."""


@pytest.mark.parametrize(("content", "shown"), OUTPUTS)
def test_output_is_shown_without_additions_of_the_cli(content: Any, shown: str) -> None:
    [entry] = parse_stdout_line(output_line(content), TIMESTAMP)
    assert entry["content"] == shown


def test_no_recorded_output_shows_additions_of_the_cli() -> None:
    for name, line in recorded_lines():
        shown = json.dumps(parse_stdout_line(line, TIMESTAMP))
        for word in ("<usage>", "<tool_use_error>", "<system-reminder>", "ctrl+o", "[Subagent hand-back]"):
            assert word not in shown, name


LINES_OF_TEXT = st.lists(st.sampled_from(["a", "b", "c", "", "  x"]) | TEXTS, max_size=12).map("\n".join)
PIECES = st.sampled_from(
    [USAGE, AGENT, "<usage>", "</usage>", "<system-reminder>", "\n", " ", "ctrl+o to see"]
)
CHANGE_LINES = st.builds(
    lambda name, old, new, flag: call_line(
        name,
        {
            "file_path": "f",
            "old_string": old,
            "new_string": new,
            "content": new,
            "replace_all": flag,
            "edits": [{"old_string": old, "new_string": new}],
            "todos": [{"content": old, "status": "completed"}, {"content": new}],
        },
    ),
    st.sampled_from(["Edit", "MultiEdit", "Write", "NotebookEdit", "TodoWrite"]),
    LINES_OF_TEXT,
    LINES_OF_TEXT,
    st.booleans(),
)
OUTPUT_LINES = st.lists(PIECES | TEXTS, max_size=8).map("".join).map(output_line)


@settings(max_examples=30, deadline=None)
@given(st.lists(CHANGE_LINES | OUTPUT_LINES, min_size=20, max_size=60))
def test_changes_and_outputs_have_parity(lines: list[str]) -> None:
    lines = [*lines, call_line("Edit", {"old_string": "a\n" * 150, "new_string": "b\n" * 150})]
    for line, theirs in zip(lines, parsed_by_javascript(lines), strict=True):
        assert as_json(parse_stdout_line(line, TIMESTAMP)) == theirs


@given(LINES_OF_TEXT, LINES_OF_TEXT)
def test_diff_leaves_as_many_old_as_new_lines_unchanged(old: str, new: str) -> None:
    shown = changes("Edit", {"old_string": old, "new_string": new})[1:]
    removed = [text for kind, text in shown if kind == "remove"]
    added = [text for kind, text in shown if kind == "add"]
    old_lines, new_lines = (text.removesuffix("\n").split("\n") if text else [] for text in (old, new))
    if len(shown) <= MAX_CHANGE_LINES:
        assert len(old_lines) - len(removed) == len(new_lines) - len(added)


@given(LINES_OF_TEXT, LINES_OF_TEXT)
def test_diff_has_as_few_changed_lines_as_possible(old: str, new: str) -> None:
    shown = changes("Edit", {"old_string": old, "new_string": new})[1:]
    old_lines, new_lines = (text.removesuffix("\n").split("\n") if text else [] for text in (old, new))
    # number of lines in the longest common subsequence of the first `row` and the first `column` lines
    common = [[0] * (len(new_lines) + 1) for _ in range(len(old_lines) + 1)]
    for row, line in enumerate(old_lines):
        for column, other in enumerate(new_lines):
            longest = max(common[row][column + 1], common[row + 1][column])
            common[row + 1][column + 1] = common[row][column] + 1 if line == other else longest
    if shown and len(shown) <= MAX_CHANGE_LINES:
        changed = sum(kind in {"add", "remove"} for kind, _ in shown)
        assert changed == len(old_lines) + len(new_lines) - 2 * common[-1][-1]
