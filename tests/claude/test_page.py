"""The HTML page of a run: no text becomes an element, nothing is loaded, and a call contains its result."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.captures import ALL, recorded
from tests.support.cli_events import ANY_LINE

from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.claude.rendering.elements import element
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.page import CHUNK_NODES, PLAIN_LINES, PageHeader, page
from paperclip_claude_k8s.claude.rendering.page_items import MAX_PRE_CHARS

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "script", "h1", "h3", "h4", "h5"),
    *("h6", "p", "pre", "dl", "div", "dt", "dd", "ol", "li", "svg", "rect", "span", "input", "button"),
    *("section", "details", "summary", "b", "code", "small", "strong", "em", "s", "blockquote", "table"),
    *("tr", "td", "th", "time"),
}
"""Elements of the page."""
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "id", "type", "placeholder", "role"),
    *("open", "aria-label", "aria-hidden", "viewbox", "preserveaspectratio", "x", "y", "width", "height"),
}
"""Attributes of the page: none that runs a script, has a style, or names an address."""


class PageReader(HTMLParser):
    """Elements and texts of a page. Asserts that each element and attribute is in `TAGS` or `ATTRIBUTES`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.inline: dict[str, str] = {"style": "", "script": ""}
        self.policy = ""
        self.tree: list[tuple[int, str, str]] = []
        """Depth, tag and class of each element."""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        attributes = dict(attrs)
        if attributes.get("http-equiv"):
            self.policy = attributes["content"] or ""
        self.tree.append((len(self.open), tag, attributes.get("class") or ""))
        if tag not in {"meta", "input", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]] += data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def read_page(*lines: str, header: PageHeader | None = None) -> PageReader:
    reader = ItemReader()
    items = [item for line in lines for item in reader.read(line)]
    items += reader.finish(RunUsage())
    return PageReader("".join(page(header or PageHeader("t", "succeeded"), items)))


def message(kind: str, *blocks: Any, **fields: Any) -> str:
    return json.dumps({"type": kind, "message": {"content": list(blocks)}, **fields})


def call(call_id: str, name: str, tool_input: Any, **fields: Any) -> str:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": tool_input}
    return message("assistant", block, **fields)


def output(call_id: str, content: Any, **fields: Any) -> str:
    return message("user", {"type": "tool_result", "tool_use_id": call_id, "content": content}, **fields)


def answer(text: str, **fields: Any) -> str:
    return message("assistant", {"type": "text", "text": text}, **fields)


ATTACKS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style></title></head><body onload=alert(1)>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!-- --><svg/onload=alert(1)>",
    "&lt;script&gt;&#60;b&#62;",
    "javascript:alert(1)",
    "<details open ontoggle=alert(1)>",
    "a\0b\x1b[31m\u202egnp.exe\u200b",
    "\ud800",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_of_an_agent_becomes_an_element(attack: str) -> None:
    todo = {"content": attack, "status": attack}
    lines = [
        json.dumps({"type": "system", "subtype": "init", "model": attack, "session_id": attack}),
        attack,
        f"[paperclip] {attack}",
        answer(attack),
        answer(f"# {attack}\n- {attack}\n1. {attack}\n> {attack}"),
        answer(f"**{attack}** *{attack}* ~~{attack}~~ `{attack}`"),
        answer(f"[{attack}]({attack})\n[x](javascript:alert(1))\n\n|{attack}|b|\n|-|-|\n|a|{attack}|"),
        answer(f"```{attack}\n{attack}\n```"),
        answer(attack, error=attack, timestamp=attack, supersedes=[attack]),
        message("assistant", {"type": "thinking", "thinking": attack}),
        message("assistant", {"type": attack, attack: attack}),
        message("user", {"type": "text", "text": attack}),
        call(attack, attack, {attack: attack, "nested": [{attack: attack}]}),
        output(attack, attack, is_error=True),
        output("unknown", [{"type": "image", "source": {"media_type": attack, "data": attack}}]),
        call("e", "Edit", {"file_path": attack, "old_string": attack, "new_string": f"{attack}2"}),
        call("t", "TodoWrite", {"todos": [todo]}),
        call("a", "Agent", {"description": attack, "prompt": attack, "subagent_type": attack}),
        answer(attack, parent_tool_use_id="a"),
        answer(attack, parent_tool_use_id=attack, subagent_type=attack, task_description=attack),
        json.dumps({"type": attack, "subtype": attack, "text": attack}),
        json.dumps({"type": "system", "subtype": "task_started", "task_id": attack, "description": attack}),
        json.dumps(
            {"type": "result", "subtype": attack, "is_error": True, "result": attack, "errors": [attack]}
        ),
    ]
    header = PageHeader(attack, attack, attack, facts=((attack, attack),), phases=((attack, 5),))
    parsed = read_page(*lines, header=header)
    assert parsed.open == []
    if "<" in attack:
        assert parsed.text.count(attack) >= len(lines)
    assert not re.search("[\0\x1b\u202e\u200b\ud800]", parsed.text)


def test_attribute_values_are_escaped_and_names_checked() -> None:
    assert element("p", {"class": '"><x'}, "<").code == '<p class="&quot;&gt;&lt;x">&lt;</p>'
    with pytest.raises(ValueError, match="no name of an attribute"):
        element("p", {"a onload": "x"})


def test_policy_allows_only_the_style_and_script_of_the_page() -> None:
    parsed = read_page(answer("x"))
    for kind in ("style", "script"):
        digest = b64encode(sha256(parsed.inline[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in parsed.policy
    assert parsed.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in parsed.policy
    code = parsed.inline["style"] + parsed.inline["script"]
    assert re.search(r"https?:|url\(|@import|fetch|XMLHttp|innerHTML|eval\(|import\(", code) is None


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_page_of_a_recorded_run_is_well_formed(folder: str, name: str) -> None:
    lines = recorded(name, folder)[0].decode("utf-8", "replace").split("\n")
    assert read_page(*lines).open == []


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY_LINE, max_size=15))
def test_page_of_any_lines_is_well_formed(lines: list[str]) -> None:
    parsed = read_page(*lines)
    assert parsed.open == []
    parsed.text.encode()


def test_results_and_sub_agents_are_nested_in_their_calls() -> None:
    parsed = read_page(
        call("a", "Agent", {"description": "Look", "prompt": "Find."}),
        call("b", "Bash", {"command": "ls"}, parent_tool_use_id="a"),
        output("a", "report"),
        output("b", "listing", parent_tool_use_id="a"),
        answer("End."),
    )
    kinds = [
        (depth, kind) for depth, _, kind in parsed.tree if kind in {"e call", "agent", "output", "e answer"}
    ]
    top = kinds[0][0]
    assert kinds == [
        (top, "e call"),
        (top + 1, "agent"),
        (top + 2, "e call"),
        (top + 3, "output"),
        (top + 1, "output"),
        (top, "e answer"),
    ]
    assert parsed.text.index("listing") < parsed.text.index("report") < parsed.text.index("End.")


def test_failed_calls_and_changes_of_files_are_unfolded() -> None:
    failed = {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}
    lines = [call("a", "Bash", {}), message("user", failed), call("b", "Bash", {}), output("b", "yes")]
    reader = ItemReader()
    items = [item for line in [*lines, call("c", "Write", {"content": "x"})] for item in reader.read(line)]
    html = "".join(page(PageHeader("t", "failed"), items))
    assert re.findall('<details class="(e call[a-z ]*)"( open="")?>', html) == [
        ("e call failed", ' open=""'),
        ("e call", ""),
        ("e call", ' open=""'),
    ]


def test_header_shows_facts_phases_and_the_reason_of_a_failure() -> None:
    header = PageHeader(
        "Run r",
        "failed",
        "It broke.",
        facts=(("cost", "$1"), ("empty-fact", "")),
        phases=(("start", 10), ("run", 990)),
    )
    texts = [text for text in read_page(header=header).texts if text.strip()]
    assert texts[:9] == [
        *("Run r", "Run r", "failed", "It broke."),  # the first is the element `title`
        *("cost", "$1", "start", "10 ms", "run"),
    ]
    assert texts[9] == "990 ms"
    assert "empty-fact" not in texts


def test_long_page_is_made_of_chunks() -> None:
    parsed = read_page(*[answer("x") for _ in range(CHUNK_NODES * 3)])
    assert sum(kind == "chunk" for _, _, kind in parsed.tree) == 3
    plain = read_page(*["line"] * (PLAIN_LINES * 2 + 1))
    assert sum(kind == "e plain" for _, _, kind in plain.tree) == 3
    assert plain.text.count("line") == PLAIN_LINES * 2 + 1


def test_long_output_is_cut_in_its_middle_but_a_long_answer_is_not_cut() -> None:
    text = "a" * MAX_PRE_CHARS + "middle" + "b" * MAX_PRE_CHARS
    shown = read_page(call("a", "Bash", {}), output("a", text)).text
    assert f"… {MAX_PRE_CHARS + len('middle'):,} characters left out …" in shown
    assert "middle" not in shown
    assert "middle" in read_page(answer(text)).text
