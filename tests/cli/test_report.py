"""`claude-k8s report` of recorded output and of a run in the state folder, as text and as an HTML page."""

import gzip
import json
from pathlib import Path

import pytest
from tests.support.captures import CAPTURES, NEW
from tests.support.cli_commands import CommandRunner, claude_k8s

from paperclip_claude_k8s.cli.runs.record import JobPart, Record
from paperclip_claude_k8s.cli.runs.state import State

CAPTURE = CAPTURES / NEW / "05c-max-budget.ndjson"


def write_ended_run(folder: Path) -> None:
    """Write the record and the transcript of a run `r1`, which has ended."""
    state = State(folder)
    result = {
        "summary": "Done.",
        "model": "m",
        "costUsd": 0.5,
        "usage": {"inputTokens": 1200, "outputTokens": 3},
        "resultJson": {"phases": {"start": 10, "run": 2300}},
    }
    outcome = {"run_id": "r1", "status": "succeeded", "result": result}
    request = {"agent": {"id": "ada", "name": "Ada"}, "runtime": {}, "config": {}, "context": {"prompt": "x"}}
    jobs = (JobPart("u", "job-1"),)
    state.write(Record("r1", "2026-01-01T00:00:00Z", request, phase="ended", outcome=outcome, jobs=jobs))
    state.files("r1").transcript.write_bytes(CAPTURE.read_bytes())


async def test_text_report_of_recorded_output_has_header_and_transcript() -> None:
    code, out, err = await claude_k8s("report", str(CAPTURE))
    assert (code, err) == (0, "")
    head, _, transcript = out.partition("\n\n")
    assert head.startswith(
        "05c-max-budget.ndjson: failed\nmodel: claude-sonnet-4-5-20250929\ncost: $0.0023\n"
    )
    assert "Reached maximum budget" in head
    assert "→ Bash  echo turn 1\n" in transcript
    assert "\x1b" not in out


async def test_html_report_of_a_gzipped_recording_is_written(tmp_path: Path) -> None:
    packed = tmp_path / "run.ndjson.gz"
    packed.write_bytes(gzip.compress(CAPTURE.read_bytes()))
    target = tmp_path / "page.html"
    code, out, _ = await claude_k8s("report", str(packed), "--html", "-o", str(target))
    assert (code, json.loads(out)) == (0, {
        "status": "succeeded",  # of the command: the recorded run failed
        "report": str(target),
        "bytes": target.stat().st_size,
    })  # fmt: skip
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert target.stat().st_mode & 0o777 == 0o600


async def test_report_of_a_run_has_the_facts_of_its_record(tmp_path: Path) -> None:
    runner = CommandRunner(tmp_path)
    write_ended_run(runner.state)
    code, out, _ = await claude_k8s("report", "r1", env=runner.environment())
    assert code == 0
    for line in (
        "Run r1: succeeded",
        "agent: Ada",
        "job: job-1",
        "cost: $0.5000",
        "tokens in: 1,200",
        "run: 2.3 s",
    ):
        assert f"{line}\n" in out
    assert "→ Bash  echo turn 1\n" in out
    assert (await claude_k8s("report", "r", env=runner.environment()))[1] == out, (
        "the beginning of the id is enough"
    )
    _, page, _ = await claude_k8s("report", "r1", "--html", env=runner.environment())
    assert "<h1>Run r1</h1>" in page


@pytest.mark.parametrize(
    ("args", "error"),
    [(["no-such-run"], "unknown_run"), ([str(CAPTURE), "-o", "/no/such/folder/x"], "output_unwritable")],
)
async def test_unknown_run_and_unwritable_file_are_reported(
    args: list[str], error: str, tmp_path: Path
) -> None:
    code, out, err = await claude_k8s("report", *args, env=CommandRunner(tmp_path).environment())
    assert code == 1
    assert err.startswith(f"error: {error}: ")
    assert out == "" or json.loads(out)["error"] == error


async def test_damaged_recording_is_reported(tmp_path: Path) -> None:
    broken = tmp_path / "x.gz"
    broken.write_bytes(gzip.compress(CAPTURE.read_bytes())[:-20])
    code, out, err = await claude_k8s("report", str(broken))
    assert (code, out) == (1, "")
    assert err.startswith("error: usage: ")
