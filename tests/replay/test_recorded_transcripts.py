"""Recorded output is shown as text and as a page."""

import pytest

from paperclip_claude_k8s.replay import render, render_page
from paperclip_claude_k8s.testing import CAPTURE_VERSIONS, capture

ESCAPE = "\x1b"
CAPTURE = "02-tools-multiblock"
"""A recording in which the agent reads the file notes.txt."""


@pytest.mark.parametrize("version", CAPTURE_VERSIONS)
def test_transcript_is_text_without_json(version: str) -> None:
    shown = render(capture(CAPTURE, version))
    assert "notes.txt" in shown
    assert '{"type"' not in shown
    assert ESCAPE not in shown


def test_transcript_is_wrapped_and_coloured_on_request() -> None:
    output = capture(CAPTURE)
    assert max(map(len, render(output, width=40).splitlines())) <= 40
    assert ESCAPE in render(output, colours=True)


def test_text_of_the_agent_cannot_control_the_terminal() -> None:
    assert ESCAPE not in render(f"{ESCAPE}]0;title\x07 a line\n")


def test_line_of_the_adapter_is_left_out_of_the_transcript() -> None:
    shown = render("[paperclip] Created K8s Job: j\na line\n")
    assert shown.endswith("a line\n")
    assert "Created" not in shown


def test_page_shows_transcript_and_result() -> None:
    output = capture(CAPTURE)
    page = render_page(output[: output.index(b'{"type":"result"')], title="Night run", exit_code=137)
    assert "Night run" in page
    assert "claude_truncated" in page
    assert "notes.txt" in page
