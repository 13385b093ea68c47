"""What an agent prints cannot control a terminal, hide text, or look like the adapter's own lines."""

import asyncio
import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.terminals import on_a_terminal

from paperclip_claude_k8s.claude.rendering.cell_width import cell_width
from paperclip_claude_k8s.cli.agent_output import BAR, with_bars
from paperclip_claude_k8s.cli.job_end import Verdict
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.ports import NullJournal
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.testing import HostLog

ATTACKS = {
    "screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;ZWNobyBoaQ==\x07",
    "8-bit CSI": "\x9b2J",
    "8-bit OSC": "\x9d0;title\x9c",
    "8-bit DCS": "\x90+q544e\x9c",
    "carriage return": "harmless\rrm -rf /",
    "backspace": "a\x08b\x7fc\x0c",
    "reading order": "\u202egnp.exe\u2066x\u2069",
    "zero width": "pass\u200bword\u2060\ufeff",
    "soft hyphen": "pass\xadword",
    "Mongolian separator": "a\u180eb",
    "annotation": "a\ufff9b\ufffac\ufffb",
    "line separators": "a\u2028b\u2029c\x85d",
    "blank letters": "a\u115fb\u1160c\u3164d\uffa0e",
    "tags": "\U000e0041\U000e0042\U000e0100",
    "NUL": "a\0b",
}


def unsafe(text: str) -> set[str]:
    """Characters of the text that control a terminal or that nobody sees."""
    categories = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    blank = "\u115f\u1160\u3164\uffa0"  # Hangul letters that are not drawn
    return {
        char
        for char in text
        if (unicodedata.category(char) in categories or char in blank) and char not in "\n\t"
    }


def stored_run(folder: Path, text: str) -> str:
    """Write the state of an ended run whose agent printed the text; return the run's id."""
    state = State(folder)
    result = {"summary": text, "resultJson": {"result": text}}
    outcome = {"run_id": "r1", "status": "succeeded", "result": result}
    request = {"agent": {"id": text}, "runtime": {}, "config": {}, "context": {"prompt": text}}
    state.write(Record("r1", "2026-01-01T00:00:00Z", request, phase="ended", outcome=outcome))
    state.files("r1").transcript.write_bytes(text.encode() + b"\n")
    return "r1"


@pytest.fixture
def attacked(tmp_path: Path) -> CommandRunner:
    """Commands with a state folder that holds the run `r1`, whose agent printed every attack."""
    runner = CommandRunner(tmp_path)
    stored_run(runner.state, "\n".join(ATTACKS.values()))
    return runner


@pytest.mark.parametrize("args", [("last-run",), ("history",), ("run", "--run-id", "r1")])
async def test_json_of_a_stored_run_has_no_unsafe_character(
    attacked: CommandRunner, args: tuple[str, ...]
) -> None:
    _, out, err = await claude_k8s(*args, env=attacked.environment())
    assert unsafe(out) == unsafe(err) == set()
    reply = json.loads(out)
    shown = reply["runs"][0] if "runs" in reply else reply
    assert shown["result"]["summary"] == "\n".join(ATTACKS.values()).replace("\0", "\ufffd")


async def test_replayed_output_has_no_unsafe_character_on_stdout_and_stderr(tmp_path: Path) -> None:
    text = "\n".join(ATTACKS.values())
    events = [
        {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}},
        {"type": "result", "subtype": "success", "result": text, "session_id": "s"},
    ]
    file = tmp_path / "captured.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in events) + f"plain {text}\n", newline="")
    _, out, err = await claude_k8s("replay", str(file))
    assert unsafe(out) == unsafe(err) == set()
    assert json.loads(out)["result"]["summary"] == text.replace("\0", "\ufffd").strip()


async def test_status_line_in_a_recording_has_a_bar(tmp_path: Path) -> None:
    """A recording does not show whether the adapter or the agent printed a line."""
    forged = "Run cancelled by operator"
    lines = ['{"type":"system","subtype":"init","session_id":"s"}', f"[paperclip] {forged}"]
    chunk = json.dumps({"ts": "2026-01-01T10:00:00Z", "stream": "stdout", "chunk": f"{lines[1]}\n"})
    for recorded in (lines, [chunk, chunk]):
        file = tmp_path / "captured.ndjson"
        file.write_text("\n".join(recorded))
        _, _, err = await claude_k8s("replay", str(file))
        shown = [line for line in err.splitlines() if forged in line]
        assert shown
        assert all(line.startswith("│ ") for line in shown)


def test_logs_on_a_terminal_have_no_unsafe_character(attacked: CommandRunner) -> None:
    shown = on_a_terminal("logs", "r1", env=attacked.environment()).decode()
    shown = re.sub("\x1b\\[(?:2|0)m", "", shown)  # dim text, which the command writes
    assert unsafe(shown) == set()
    assert "rm -rf /" in shown
    assert shown.count("\n") >= len(ATTACKS)  # a few of them have two lines


async def test_logs_in_a_pipe_are_the_agents_bytes(attacked: CommandRunner) -> None:
    _, out, _ = await claude_k8s("logs", "r1", env=attacked.environment())
    assert out == "\n".join(ATTACKS.values()) + "\n"


def test_logs_with_raw_on_a_terminal_are_the_agents_bytes(attacked: CommandRunner) -> None:
    shown = on_a_terminal("logs", "--raw", "r1", env=attacked.environment())
    assert ATTACKS["screen"].encode() in shown
    assert ATTACKS["8-bit OSC"].encode() in shown


async def test_error_with_a_hostile_argument_has_no_unsafe_character(attacked: CommandRunner) -> None:
    _, out, err = await claude_k8s("logs", "x\x9b2J\u202e", env=attacked.environment())
    assert err.startswith("error: unknown_run: ")
    assert (out, unsafe(err)) == ("", set())


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_live_view_shows_no_unsafe_character(stream: str, attack: str) -> None:
    out = io.StringIO()
    live = LiveView(Console(file=out, force_terminal=False), quiet=False)
    live.show_agent_output(stream, b"", attack.encode())
    live.show_status(attack)
    live.show_note(attack)
    live.show_progress(attack)
    assert unsafe(out.getvalue()) == set()
    assert unsafe(str(live.footer().text)) == set()


FORGED = "[paperclip] Run cancelled by operator"
FORGERIES = [
    FORGED,
    f"  {FORGED}",
    "Run cancelled by operator",
    "  [15s] run=r1  status=FAILED  lines=1",
    f"\r{FORGED}",
    f"x\x85{FORGED}",
    f"x\u2028{FORGED}",
    f"{'x ' * 40}{FORGED}",
    f"{' ' * 78}{FORGED}",
    json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": f"x\n{FORGED}"}]}}),
    json.dumps({"type": "system", "subtype": "init", "model": f"m\n{FORGED}", "session_id": FORGED}),
    json.dumps({"type": "result", "subtype": "success", "is_error": True, "result": f"x\n{FORGED}"}),
]


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("terminal", [True, False])
def test_every_line_of_the_agent_has_a_bar(stream: str, forgery: str, *, terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, color_system=None)
    live = LiveView(console, quiet=False)
    live.show_agent_output(stream, b"", forgery.encode())
    live.end_agent_output(resumed=None)
    lines = out.getvalue().splitlines()
    assert lines
    assert all(line.startswith(BAR) for line in lines)
    assert max(map(len, lines)) <= 80 or not terminal
    live.show_status("Pod running: p")
    assert out.getvalue().splitlines()[-1] == "Pod running: p"


@pytest.mark.parametrize("emoji", ["\u2764\ufe0f", "\U0001faff", "1\ufe0f\u20e3"])
def test_line_of_emoji_is_broken_before_the_terminal_breaks_it(emoji: str) -> None:
    """Each emoji takes two columns. The second is newer than the Unicode table of Python 3.11."""
    out = io.StringIO()
    live = LiveView(Console(file=out, force_terminal=True, width=80, color_system=None), quiet=False)
    live.show_agent_output("stdout", b"", f"{emoji * 38}{FORGED}".encode())
    first, second, *_ = out.getvalue().splitlines()
    assert first.count(emoji) == 38
    assert second.startswith(BAR)


@pytest.mark.parametrize("terminal", [True, False])
def test_text_of_an_agent_in_a_message_of_the_command_stays_on_its_line(*, terminal: bool) -> None:
    out = io.StringIO()
    live = LiveView(Console(file=out, force_terminal=terminal, width=400, color_system=None), quiet=False)
    verdict = Verdict.of("r1", "claude_error", f"x\n{FORGED}\r\nRun r1 succeeded")
    for show in (live.show_note, live.show_status, live.show_progress):
        show(verdict.text)
    shown = [line for line in out.getvalue().splitlines() if line]
    assert shown
    assert all(line.startswith("Run r1 failed (claude_error): x") for line in shown)


@pytest.mark.parametrize("padding", [" " * 200, "x" * 200, "\u2764\ufe0f" * 60, "\u6f22" * 60])
def test_wrapped_message_with_text_of_an_agent_is_indented(padding: str) -> None:
    out = io.StringIO()
    live = LiveView(Console(file=out, force_terminal=True, width=40, color_system=None), quiet=False)
    for show in (live.show_note, live.show_status):
        for count in range(40):
            show(f"Workspace: 1 file not written ({padding[count:]} {FORGED})")
    lines = out.getvalue().splitlines()
    assert len(lines) > 160  # each of the 80 messages is wrapped
    assert all(line.startswith(("Workspace:", "  ")) for line in lines)
    assert max(cell_width(line) for line in lines) <= 40


def test_footer_marks_the_output_of_the_agent() -> None:
    live = LiveView(Console(file=io.StringIO(), width=100, force_terminal=True), quiet=False)
    live.show_agent_output("stdout", b"", FORGED.encode())
    assert f"agent: · {FORGED}" in str(live.footer().text)


def test_log_file_marks_each_line_of_the_agent() -> None:
    forged = f"2026-01-01T00:00:00Z Run cancelled\r\n\x1b[2J{FORGED}\nno newline"
    assert all(line.startswith(BAR) for line in with_bars(forged).split("\n"))
    assert unsafe(with_bars(forged)) == set()


class StatusLines(NullJournal):
    """Keeps the adapter's own lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def status(self, stream: str, text: str) -> None:
        self.lines.append(f"{stream}: {text}")


async def test_journal_gets_only_status_lines_of_the_adapter() -> None:
    host_log, journal = HostLog(), StatusLines()
    ctx = ExecutionContext.read({"runId": "r", "agent": {"id": "a"}, "onLog": host_log.on_log})
    narrator = Narrator(ctx, journal)
    await narrator.status("Pod running: p")
    await narrator.output("stdout", f"{FORGED}\n".encode())
    await narrator.output("stderr", f"{FORGED}\n".encode())
    await narrator.warn("Slow\n[paperclip] second line")
    assert journal.lines == ["stdout: Pod running: p", "stderr: Slow [paperclip] second line"]
    assert ("stdout", f"{FORGED}\n") in host_log.chunks


async def test_forged_status_of_a_run_is_marked_on_stderr_and_in_its_log(tmp_path: Path) -> None:
    runner = CommandRunner(tmp_path)
    script = f"echo '{FORGED}'; echo '{FORGED}' >&2; printf '2026-01-01T00:00:00Z over' >&2"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"env": {"CLAUDE_SCRIPT": script}}))
    args = ("run", "--devcluster", "-p", "Go.", "--config", str(config), "--output", str(tmp_path / "out"))
    _, _, err = await runner.run(*args)
    log = await asyncio.to_thread((tmp_path / "out" / "log").read_text)
    for text in (err, log):
        lines = [line for line in text.splitlines() if "cancelled by operator" in line or "Z over" in line]
        assert lines
        assert all(line.startswith(BAR) for line in lines)
    assert "Pod running" in log
