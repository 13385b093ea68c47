"""Markdown as blocks and spans: what models write, broken Markdown, and inputs that could be slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.claude.rendering.markdown import (
    MAX_STYLED_CHARS,
    Block,
    Span,
    read_markdown,
    styled,
)


def blocks(text: str) -> list[Block]:
    return list(read_markdown(text))


def kinds(text: str) -> list[str]:
    return [block.kind for block in blocks(text)]


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("plain", [("", "plain")]),
        ("a **b** c", [("", "a "), ("bold", "b"), ("", " c")]),
        ("*a* and *b*", [("italic", "a"), ("", " and "), ("italic", "b")]),
        ("`a*b*`", [("code", "a*b*")]),
        ("**a `b`**", [("bold", "a "), ("code", "b")]),
        ("~~a~~", [("strike", "a")]),
        ("[a](https://x.example)", [("", "a"), ("dim", " (https://x.example)")]),
        ("[https://x](https://x)", [("", "https://x")]),
        (r"\*a\*", [("", "*"), ("", "a"), ("", "*")]),
        ("2 * 3 * 4", [("", "2 * 3 * 4")]),
        ("snake_case_name __init__", [("", "snake_case_name __init__")]),
        ("**open and `open", [("", "**open and `open")]),
        ("[a](b c) [x]", [("", "[a](b c) [x]")]),
        ("a*b*c", [("", "a*b*c")]),
    ],
)
def test_line_has_its_styles(line: str, spans: list[Span]) -> None:
    assert list(styled(line)) == spans


@pytest.mark.parametrize(
    ("line", "block"),
    [
        ("# One", Block("heading", (("", "One"),), level=1)),
        ("### Three ###", Block("heading", (("", "Three"),), level=3)),
        ("#hashtag", Block("text", (("", "#hashtag"),))),
        ("- a", Block("item", (("", "a"),), level=0, marker="•")),
        ("  12. b", Block("item", (("", "b"),), level=2, marker="12.")),
        ("-a", Block("text", (("", "-a"),))),
        ("> a", Block("quote", (("", "a"),))),
        ("* * *", Block("rule", (("dim", "─" * 20),))),
        ("a|b", Block("text", (("", "a|b"),))),
        ("<b>a</b> <!-- b -->", Block("text", (("", "<b>a</b> <!-- b -->"),))),
    ],
)
def test_line_becomes_a_block_of_its_kind(line: str, block: Block) -> None:
    assert blocks(line) == [block]


def test_code_block_is_not_styled_and_keeps_its_language() -> None:
    text = "```py\n# no **heading**\n~~~\n```\nafter"
    assert blocks(text) == [
        Block("code", (("dim", "py"),)),
        Block("code", (("code", "# no **heading**"),)),
        Block("code", (("code", "~~~"),)),
        Block("text", (("", "after"),)),
    ]
    assert kinds("````\n```\n````\nx") == ["code", "text"]
    assert kinds("```\nnever closed") == ["code"]


def test_table_has_rows_of_cells() -> None:
    [table, after] = blocks("| a | **b** |\n|---|:-:|\n| 1 \\| 2 | |\nx | y\nend")
    assert after.kind == "text"
    assert [["".join(text for _, text in cell) for cell in row] for row in table.rows] == [
        ["a", "b"],
        ["1 | 2", ""],
        ["x", "y"],
    ]
    assert kinds("a | b\nc | d") == ["text", "text"]


@given(st.text(st.sampled_from("ab *_`~[]()#>|-\\\n1.")))
def test_spans_have_every_letter_of_the_text(text: str) -> None:
    shown = "".join(
        span
        for block in blocks(text)
        for cell in (block.spans, *(cell for row in block.rows for cell in row))
        for _, span in cell
    )
    assert [char for char in shown if char in "ab"] == [char for char in text if char in "ab"]


MARKS = [
    *("*", "**a", "`", "[", "[a](", "~~", "# #", "|-", "|a", "- ", "> ", "\\"),
    *("```\n", "a|b\n-|-\n", " ", "1. \n"),
]


@pytest.mark.parametrize("piece", MARKS)
@pytest.mark.parametrize("line_chars", [MAX_STYLED_CHARS - 1, 10**9], ids=["styled lines", "one long line"])
def test_a_megabyte_of_marks_is_read_in_linear_time(piece: str, line_chars: int) -> None:
    line = (piece * (1_000_000 // len(piece)))[:line_chars]
    text = (line + "\n") * (1_000_000 // len(line))
    begin = time.process_time()
    count = sum(1 for _ in read_markdown(text))
    assert count <= text.count("\n") + 1
    assert time.process_time() - begin < 10  # a quadratic reader would need minutes
