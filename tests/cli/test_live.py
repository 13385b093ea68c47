"""What the operator's stderr gets of a run."""

import io

import pytest
from rich.console import Console

from paperclip_claude_k8s.cli.live import Live


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("line", ["\x1b]0;title\x07 x", "[paperclip] \x1b[2J x", '{"type":"\\u001b[2J x"}'])
def test_nothing_of_a_run_acts_upon_the_terminal(stream: str, line: str) -> None:
    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=False), quiet=False)
    live.tell(stream, line)
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "x" in out.getvalue()
    assert "\x1b" not in str(live.footer().text)
