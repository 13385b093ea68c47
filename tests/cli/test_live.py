"""`LiveView`: what a command shows on stderr during a run, with and without a footer."""

import io
import json

import pytest
from rich.console import Console
from tests.support.captures import NEW, recorded

from paperclip_claude_k8s.cli.live import LiveView


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("line", ["\x1b]0;title\x07 x", "[paperclip] \x1b[2J x", '{"type":"\\u001b[2J x"}'])
def test_control_sequences_do_not_reach_the_terminal(stream: str, line: str) -> None:
    out = io.StringIO()
    live = LiveView(Console(file=out, force_terminal=False), quiet=False)
    live.show_agent_lines(stream, [line.encode()])
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "x" in out.getvalue()
    assert "\x1b" not in str(live.footer().text)


TWO_EVENTS = (
    b'{"type":"assistant","message":{"content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":2000}}}\n'
    b'{"type":"result","subtype":"success","total_cost_usd":0.25,"result":"x"}\n'
)


def test_footer_shows_time_lines_tokens_and_cost_in_one_line() -> None:
    live = LiveView(Console(file=io.StringIO(), width=60, force_terminal=True), quiet=False)
    live.show_agent_output("stdout", TWO_EVENTS, new=TWO_EVENTS)
    live.show_status("long " * 40)
    footer = str(live.footer().text)
    assert footer.startswith("0:00  2 lines  2.0k context  $0.2500  long long")
    assert len(footer) <= 56  # the width of the terminal without the spinner


@pytest.mark.parametrize(
    ("name", "cost"),
    [("04a-resume-first", "$0.0115"), ("04b-resume", "$0.0015"), ("04c-resume-tool", "$0.0030")],
)
def test_footer_shows_the_cost_of_the_run_without_earlier_runs_of_its_session(name: str, cost: str) -> None:
    stdout, _ = recorded(name, NEW)
    live = LiveView(Console(file=io.StringIO(), width=100, force_terminal=True), quiet=False)
    live.show_agent_output("stdout", stdout, new=b"")
    assert f"  {cost}  " in str(live.footer().text)


def answer(message_id: str, tokens: int, parent: str | None = None) -> bytes:
    usage = {"input_tokens": tokens, "output_tokens": 1}
    message = {"model": "m", "id": message_id, "type": "message", "content": [], "usage": usage}
    event = {"type": "assistant", "message": message, "parent_tool_use_id": parent}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def test_footer_counts_tokens_of_all_answers_and_context_of_the_main_agent() -> None:
    live = LiveView(Console(file=io.StringIO(), width=100, force_terminal=True), quiet=False)
    block = answer("a", 40_000) + answer("b", 22_000, parent="toolu_1")
    live.show_agent_output("stdout", block, new=b"")
    assert "  40.0k context  62.0k tokens  " in str(live.footer().text)


@pytest.mark.parametrize(("term", "may_move"), [("dumb", True), ("xterm", False)])
def test_keepalive_and_progress_are_printed_if_the_cursor_cannot_move(term: str, *, may_move: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, no_color=True, _environ={"TERM": term})
    live = LiveView(console, quiet=False, may_move=may_move)
    live.show_status("keepalive - job j running (15s since last output)")
    live.show_agent_output("stdout", answer("a", 1000), new=b"")
    live.show_progress(f"  [15s] {live.counts()}")
    assert not live.has_footer
    assert "keepalive - job j" in out.getvalue()
    assert "[15s] lines=1  tokens=1001" in out.getvalue()


def test_footer_omits_an_unknown_cost() -> None:
    init = b'{"type":"system","subtype":"init","claude_code_version":"2.1.300"}\n'
    result = (
        b'\x1b[?25h{"modelUsage":{"m":{"inputTokens":9}},"total_cost_usd":1.5,"usage":{},"type":"result"}\n'
    )
    live = LiveView(Console(file=io.StringIO(), force_terminal=True), quiet=False)
    live.show_agent_output("stdout", init + result, new=b"")
    assert (live.cost_usd, "$" in str(live.footer().text)) == (None, False)


def test_lines_shown_earlier_are_counted_but_not_shown_again() -> None:
    out = io.StringIO()
    live = LiveView(Console(file=out), quiet=False)
    live.show_agent_output("stdout", b"first\nsecond\n", new=b"second\n")
    assert (live.lines, out.getvalue()) == (2, "│ ▪ second\n")
    live.show_agent_output("stdout", b"third\n", new=b"")
    assert (live.lines, out.getvalue()) == (3, "│ ▪ second\n")


def test_keepalive_and_progress_are_not_printed_with_a_footer() -> None:
    out = io.StringIO()
    live = LiveView(Console(file=out, force_terminal=True), quiet=False)
    live.show_status("keepalive — job j running (15s since last output)")
    live.show_progress("  [15s] run=r  status=RUNNING")
    assert out.getvalue() == ""
    assert "keepalive" in str(live.footer().text)


class CountingFile(io.StringIO):
    """Counts the calls of `write`."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_block_of_many_lines_is_written_in_one_step() -> None:
    """Each write draws the footer again; with a write for each line, this would take most of the time."""
    out = CountingFile()
    live = LiveView(Console(file=out, width=80, force_terminal=True), quiet=False)
    block = b"".join(b"line %d\n" % number for number in range(1000))
    live.show_agent_output("stdout", block, new=block)
    assert out.getvalue().count("\n") == 1000
    assert out.writes <= 2  # not one for each line


def test_footer_shows_the_call_and_not_the_last_line_of_its_result() -> None:
    stdout, _ = recorded("02-tools-multiblock", NEW)
    lines = stdout.split(b"\n")
    live = LiveView(Console(file=io.StringIO(), width=100, force_terminal=True), quiet=False)
    call_index = next(number for number, line in enumerate(lines) if b'"name":"Read"' in line)
    live.show_agent_lines("stdout", lines[: call_index + 2])  # to the result of the call
    assert str(live.footer().text).endswith("agent: → Read  /paperclip/workspace/notes.txt")


def test_result_of_a_call_that_was_shown_earlier_names_the_call() -> None:
    stdout, _ = recorded("02-tools-multiblock", NEW)
    lines = stdout.splitlines(keepends=True)
    call_index = next(number for number, line in enumerate(lines) if b'"name":"Bash"' in line)
    out = io.StringIO()
    live = LiveView(Console(file=out, width=100), quiet=False)
    live.show_agent_output("stdout", stdout, new=b"".join(lines[call_index + 1 :]))
    assert "← Bash  ls -1 /paperclip/workspace; echo done\n" in out.getvalue()
    assert "→ Bash" not in out.getvalue()
    live.end_agent_output(resumed=False)
    assert out.getvalue().endswith("317 out · $0.0302\n")
