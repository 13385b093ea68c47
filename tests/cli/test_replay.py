"""`claude-k8s replay` of captured outputs: the transcript on stderr, the result on stdout."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.captures import NAMES, recorded
from typer.testing import CliRunner

from paperclip_claude_k8s.cli.app import app

CLI = CliRunner()


def replayed(tmp_path: Path, stdout: bytes, *args: str) -> tuple[int, dict[str, Any], str]:
    file = tmp_path / "captured.ndjson"
    file.write_bytes(stdout)
    done = CLI.invoke(app, ["replay", str(file), *args])
    reply: dict[str, Any] = json.loads(done.stdout)
    return done.exit_code, reply, done.stderr


@pytest.mark.parametrize("name", NAMES[::7])  # a sample: every seventh capture
def test_replay_of_a_recorded_run_has_its_result(name: str, tmp_path: Path) -> None:
    stdout, facts = recorded(name)
    code, reply, _ = replayed(tmp_path, stdout, "--exit-code", str(facts["exit_code"] or 0))
    good = facts["facts"]["expected_class"].startswith("ok")
    assert (code, reply["status"]) == ((0, "succeeded") if good else (1, "failed"))


def test_transcript_is_readable_and_quiet_omits_it(tmp_path: Path) -> None:
    stdout, _ = (
        recorded("02-text-tools-multiblock") if "02-text-tools-multiblock" in NAMES else recorded(NAMES[1])
    )
    _, _, shown = replayed(tmp_path, stdout)
    assert shown.strip()
    assert '{"type"' not in shown
    _, _, hidden = replayed(tmp_path, stdout, "--quiet")
    assert hidden == ""


@pytest.mark.parametrize(
    ("state", "code", "text"),
    [
        ({"exitCode": 137, "reason": "OOMKilled"}, "claude_truncated", "SIGKILL (commonly OOMKilled)"),
        ({"deleted": True}, "k8s_job_deleted_externally", "detected_via=replay"),
        ({"disrupted": "Evicted", "message": "low on memory"}, "k8s_pod_disrupted", "low on memory"),
    ],
)
def test_pod_state_decides_the_result_of_truncated_output(
    state: dict[str, object], code: str, text: str, tmp_path: Path
) -> None:
    stdout, _ = recorded(next(name for name in NAMES if name.startswith("02")))
    truncated = stdout[: stdout.index(b'{"type":"result"')]
    exit_code, reply, _ = replayed(tmp_path, truncated, "--pod-state", json.dumps(state), "-q")
    result = reply["result"]
    assert isinstance(result, dict)
    assert (exit_code, result["errorCode"]) == (1, code)
    assert text in result["errorMessage"]


@pytest.mark.parametrize("state", ["not json", "[]", '{"exitCode": "x"}'])
def test_invalid_pod_state_is_reported(state: str, tmp_path: Path) -> None:
    code, reply, _ = replayed(tmp_path, b"", "--pod-state", state)
    assert (code, reply["error"]) == (2, "usage")
    assert "--pod-state" in str(reply["detail"])


def test_missing_file_is_reported(tmp_path: Path) -> None:
    done = CLI.invoke(app, ["replay", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "nowhere cannot be read" in json.loads(done.stdout)["detail"]


CUMULATIVE = (
    b'{"type":"system","subtype":"init","session_id":"s","model":"m","claude_code_version":"2.1.300"}\n'
    b'{"type":"result","subtype":"success","is_error":false,"result":"x","total_cost_usd":1.5,'
    b'"usage":{"input_tokens":7},"modelUsage":{"m":{"inputTokens":90}}}\n'
)
"""Output of a CLI version that counts cost and tokens over all runs of a session."""


@pytest.mark.parametrize(
    ("args", "cost", "tokens"), [([], None, 7), (["--resumed"], None, 7), (["--fresh"], 1.5, 90)]
)
def test_cost_of_the_session_is_not_reported_as_the_run_s(
    args: list[str], cost: float | None, tokens: int, tmp_path: Path
) -> None:
    _, reply, _ = replayed(tmp_path, CUMULATIVE, "-q", *args)
    result = reply["result"]
    assert (result.get("costUsd"), result["usage"]["inputTokens"]) == (cost, tokens)
    assert ("2.1.300" in str(result["resultJson"].get("warnings"))) is (cost is None)


def test_prompt_that_is_too_long_clears_a_resumed_session(tmp_path: Path) -> None:
    stdout, _ = recorded("09d-400-prompt-too-long")
    results = [
        replayed(tmp_path, stdout, "-q", "--exit-code", "1", *args)[1]["result"]
        for args in ([], ["--resumed"])
    ]
    assert [(result["errorCode"], result["clearSession"]) for result in results] == [
        ("claude_prompt_too_long", False),
        ("claude_prompt_too_long", True),
    ]


def test_lone_surrogate_in_the_output_leaves_the_reply_valid(tmp_path: Path) -> None:
    file = tmp_path / "captured.ndjson"
    file.write_bytes(
        rb'{"type":"result","subtype":"success","session_id":"\udc00","result":"a\ud800b"}' + b"\n"
    )
    done = CLI.invoke(app, ["replay", str(file), "-q"])
    reply = orjson.loads(done.stdout_bytes)
    assert reply["result"]["summary"] == "a\ufffdb"
