"""The option `-o`: text and tables for people, one object for programs; errors are one line on stderr."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.captures import capture_file
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.terminals import on_a_terminal

from paperclip_claude_k8s.cli.entry import print_reply
from paperclip_claude_k8s.cli.formats import Format, error_line, serialized
from paperclip_claude_k8s.cli.reply_text import duration_text
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import outcome_of
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.text_tables import Column, facts, table
from paperclip_claude_k8s.testing import capture

REPLY = {"status": "failed", "error": "task_failed", "error_code": "k8s_x", "detail": "two\nlines\x1b[2J"}
ROWS: list[dict[str, Any]] = [
    {"id": "a" * 36, "n": 5, "prompt": "a long prompt " * 9},
    {"id": "b", "n": None, "prompt": ""},
]
COLUMNS = (
    Column("id", lambda row: row["id"]),
    Column("n", lambda row: row["n"], align_right=True, wide=True),
    Column("prompt", lambda row: row["prompt"]),
)
ANSWER = "# Title\n\n" + "\n".join(f"line {number}" for number in range(40))


def test_yaml_has_the_same_content_as_json() -> None:
    reply = {"a": [1, 1.5e9, None, True, "ü", "x\x9b2J"], "b": {"c": "two\nlines"}}
    written = serialized(reply, Format.YAML)
    assert yaml.safe_load(written) == json.loads(serialized(reply, Format.JSON)) == reply
    assert b"\xc2\x9b" not in written


def test_error_line_is_one_line_without_control_characters() -> None:
    assert error_line(REPLY) == "error: k8s_x: two lines␛[2J"


def test_table_cuts_only_its_last_column() -> None:
    lines = table(ROWS, COLUMNS, Format.TEXT, width=80).splitlines()
    id_column = 36 + 2  # the longest id, and the gap between columns
    assert [len(line) for line in lines[:2]] == [id_column + len("PROMPT"), 80]
    assert lines[1].startswith("a" * 36)
    assert lines[1].endswith("…")
    assert lines[2].split() == ["b", "-"]


def test_long_cell_is_not_cut_and_other_rows_are_not_padded_to_it() -> None:
    rows = [{**ROWS[0], "id": "x" * 100_000}, *ROWS]
    header, long, *others = table(rows, COLUMNS, Format.WIDE, width=None).splitlines()
    assert long.startswith("x" * 100_000)
    assert max(map(len, (header, *others))) < 500


def test_wide_table_shows_all_columns_whole() -> None:
    header, first, _ = table(ROWS, COLUMNS, Format.WIDE, width=80).splitlines()
    assert header.split() == ["ID", "N", "PROMPT"]
    assert first.endswith("a long prompt")


def test_facts_leave_out_what_is_unknown() -> None:
    assert facts([("run", "r1"), ("cost", None), ("prompt", "")]) == "run  r1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2s"), (42.4, "42s"), (192, "3m12s"), (18_120, "5h02m"), (530_000, "6d")],
)
def test_time_span_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_error_is_on_stderr_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    for output in (Format.TEXT, Format.JSON):
        assert print_reply(REPLY, 1, output) == 1
        captured = capsys.readouterr()
        assert captured.err == "error: k8s_x: two lines␛[2J\n"
        if output is Format.TEXT:
            assert captured.out == ""
        else:
            assert json.loads(captured.out)["detail"] == REPLY["detail"]


@pytest.fixture
def cli_of_answered_run(tmp_path: Path) -> CommandRunner:
    """Commands whose state folder has one run, with an answer that is longer than a screen."""
    runner = CommandRunner(tmp_path)
    request = {"agent": {"id": "ada"}, "config": {}, "context": {"prompt": "Write forty lines."}}
    result = {"exitCode": 0, "errorMessage": None, "summary": ANSWER, "costUsd": 0.25}
    record = Record("0123abcd-run", "2026-01-01T00:00:00.000Z", request, "polling")
    State(runner.state).write(record.ended(outcome_of(record.run_id, result), cleaned_up=True))
    return runner


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30)])
def test_output_on_a_terminal_ends_with_the_whole_answer(
    cli_of_answered_run: CommandRunner, width: int, height: int
) -> None:
    args = ("run", "--run-id", "0123abcd-run")
    shown = on_a_terminal(*args, env=cli_of_answered_run.environment(), width=width, height=height).decode()
    assert "{" not in shown
    lines = [line.rstrip() for line in shown.splitlines() if line.strip()]
    assert [line.split()[-2:] for line in lines[-41:-1]] == [["line", str(number)] for number in range(40)]
    assert lines[-1] == "succeeded · $0.2500 · run 0123abcd-run"


def test_history_on_a_terminal_is_a_table_without_json(cli_of_answered_run: CommandRunner) -> None:
    shown = on_a_terminal("history", env=cli_of_answered_run.environment()).decode().splitlines()
    assert [line.split()[0] for line in shown if line] == ["RUN", "0123abcd"]
    assert "$0.2500" in shown[1]
    assert shown[1].endswith("Write forty lines.")


async def test_history_filters_by_agent_status_age_and_prompt(cli_of_answered_run: CommandRunner) -> None:
    expected_counts = {
        ("--agent", "ada"): 1,
        ("--agent", "bob"): 0,
        ("--status", "failed"): 0,
        ("--since", "1d"): 0,
        ("--grep", "FORTY"): 1,
    }
    for options, count in expected_counts.items():
        _, reply, _ = await cli_of_answered_run.run("history", *options)
        assert len(reply["runs"]) == count, options


async def test_query_accepts_the_beginning_of_a_run_id(cli_of_answered_run: CommandRunner) -> None:
    code, reply, _ = await cli_of_answered_run.run("query", "--run-id", "0123abcd")
    assert (code, reply["run_id"]) == (0, "0123abcd-run")


async def test_name_format_prints_ids_alone(cli_of_answered_run: CommandRunner) -> None:
    _, out, _ = await claude_k8s("history", "-o", "name", env=cli_of_answered_run.environment())
    assert out == "0123abcd-run\n"


def test_replay_on_a_terminal_ends_with_the_answer(tmp_path: Path) -> None:
    file = tmp_path / capture_file("02")
    file.write_bytes(capture("02"))
    shown = on_a_terminal("replay", str(file), env={"CLAUDE_K8S_STATE_DIR": str(tmp_path)}).decode()
    assert "{" not in shown
    assert "Second part: alpha and beta." in shown.splitlines()[-2]
    assert shown.splitlines()[-1].startswith("succeeded")


@pytest.mark.parametrize(
    "args",
    [("logs", "nope"), ("rbac", "-n", "Bad NS"), ("report", "nope"), ("manifests", "-n", "a", "-s", "a:b:c")],
)
async def test_error_of_a_command_that_prints_text_for_programs_is_on_stderr_only(
    args: tuple[str, ...], tmp_path: Path
) -> None:
    code, out, err = await claude_k8s(*args, env=CommandRunner(tmp_path).environment())
    assert (out, err.count("\n")) == ("", 1)
    assert code != 0
    assert err.startswith("error: ")


# A state folder that cannot be used, and readers that close the pipe --------------------------------------


@pytest.mark.parametrize(
    "args", [("metrics", "--once"), ("history",), ("prune",), ("stats",), ("spawn", "-p", "x")]
)
async def test_error_of_an_unusable_state_folder_is_one_line_without_traceback(
    args: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    env = {"CLAUDE_K8S_STATE_DIR": str(tmp_path / "file")}
    code, out, err = await claude_k8s(*args, env=env)
    assert (code, json.loads(out)["error"], err.count("\n")) == (1, "state_unwritable", 1)
    assert err.startswith("error: state_unwritable: ")


async def test_error_of_installing_completion_is_one_line_without_traceback(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").mkdir()
    env = {"HOME": str(tmp_path), "SHELL": "/bin/bash", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code, _, err = await claude_k8s("--install-completion", "bash", env=env)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: not_written: ")


async def test_reply_is_not_repeated_on_stderr_if_its_reader_closed_the_pipe(
    cli_of_answered_run: CommandRunner,
) -> None:
    prefix = ["sh", "-c", '{ "$@"; echo "exit code $?" >&2; } | true', "-"]
    _, out, err = await claude_k8s(
        "history", "-o", "json", env=cli_of_answered_run.environment(), prefix=prefix
    )
    assert out == ""
    assert err == "Cannot write the reply to stdout (Broken pipe)\nexit code 1\n"
