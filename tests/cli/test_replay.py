"""`claude-k8s replay` of recorded output of the Claude CLI: transcript on stderr, result on stdout."""

import gzip
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
def test_replay_of_a_recorded_run_has_the_status_of_the_run(name: str, tmp_path: Path) -> None:
    stdout, description = recorded(name)
    code, reply, _ = replayed(tmp_path, stdout, "--exit-code", str(description["exit_code"] or 0))
    succeeded = description["facts"]["expected_class"].startswith("ok")
    assert (code, reply["status"]) == ((0, "succeeded") if succeeded else (1, "failed"))


def test_transcript_is_readable_and_quiet_omits_it(tmp_path: Path) -> None:
    stdout, _ = recorded("02-tools-multiblock")
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
    stdout, _ = recorded("02-tools-multiblock")
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
"""Output of a version of the Claude CLI that counts cost and tokens over all runs of a session."""


UNKNOWN = None


@pytest.mark.parametrize(
    ("args", "cost", "tokens"), [([], UNKNOWN, 7), (["--resumed"], UNKNOWN, 7), (["--fresh"], 1.5, 90)]
)
def test_cost_of_a_whole_session_is_not_reported_as_cost_of_the_run(
    args: list[str], cost: float | None, tokens: int, tmp_path: Path
) -> None:
    _, reply, _ = replayed(tmp_path, CUMULATIVE, "-q", *args)
    result = reply["result"]
    assert (result.get("costUsd"), result["usage"]["inputTokens"]) == (cost, tokens)
    assert ("2.1.300" in str(result["resultJson"].get("warnings"))) is (cost is UNKNOWN)


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


def test_reply_is_valid_json_although_the_output_has_a_lone_surrogate(tmp_path: Path) -> None:
    file = tmp_path / "captured.ndjson"
    file.write_bytes(
        rb'{"type":"result","subtype":"success","session_id":"\udc00","result":"a\ud800b"}' + b"\n"
    )
    done = CLI.invoke(app, ["replay", str(file), "-q"])
    reply = orjson.loads(done.stdout_bytes)
    assert reply["result"]["summary"] == "a\ufffdb"


INIT_LINE = b'{"type":"system","subtype":"init","session_id":"s","model":"m","uuid":"i"}'
ANSWER_LINE = (
    b'{"type":"assistant","message":{"id":"m1","model":"m","content":[{"type":"text","text":"Hello."}],"usage":'
    b'{"input_tokens":7,"output_tokens":3}},"parent_tool_use_id":null,"session_id":"s","uuid":"a"}'
)
RESULT_LINE = (
    b'{"type":"result","subtype":"success","is_error":false,"result":"Hello.","stop_reason":"end_turn",'
    b'"session_id":"s","total_cost_usd":0.5,"usage":{"input_tokens":7,"output_tokens":3},"uuid":"r"}'
)
LINES = [INIT_LINE, ANSWER_LINE, RESULT_LINE]


def server_line(stream: str, chunk: bytes) -> bytes:
    """A line of the log that the Paperclip server keeps of a run."""
    entry = {"ts": "2026-01-01T10:00:00.000Z", "stream": stream, "chunk": chunk.decode()}
    return json.dumps(entry).encode()


RECORDINGS = {
    "stdout of the CLI": LINES,
    "received by a host": [b"[paperclip] Created K8s Job: j", *LINES, b"[paperclip] Job deleted"],
    "kubectl logs --timestamps": [
        b"2026-01-01T10:00:00.%09dZ %s" % (number, line) for number, line in enumerate(LINES)
    ],
    "kubectl logs --prefix": [b"[pod/ac-1-x/claude] " + line for line in LINES],
    "kubectl logs --prefix --timestamps": [
        b"[pod/ac-1-x/claude] 2026-01-01T10:00:00+00:00 " + line for line in LINES
    ],
    "container log with marks of the relay": [
        INIT_LINE,
        b"\x1e0badc0de e a warning",
        ANSWER_LINE,
        RESULT_LINE,
        b"\x1e0badc0de b 9 3",
    ],
    "log of the Paperclip server": [
        server_line("stdout", b"[paperclip] Pod running: p\n"),
        server_line("stdout", INIT_LINE + b"\n" + ANSWER_LINE[:50]),
        server_line("stderr", b"a warning\n"),
        server_line("stdout", ANSWER_LINE[50:] + b"\n" + RESULT_LINE + b"\n"),
    ],
    "received by a host, with timestamps": [
        b"2026-01-01T10:00:00Z [paperclip] Created K8s Job: j",
        *(b"2026-01-01T10:00:00Z " + line for line in LINES),
    ],
}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_agent_output_is_found_in_every_kind_of_recording(kind: str, tmp_path: Path) -> None:
    code, reply, shown = replayed(tmp_path, b"\n".join(RECORDINGS[kind]))
    result = reply["result"]
    assert (code, result["summary"], result["sessionId"], result["costUsd"]) == (0, "Hello.", "s", 0.5)
    assert "warnings" not in result["resultJson"]
    assert '{"type"' not in shown
    assert "\x1e" not in shown


def test_timestamp_is_removed_only_if_the_first_line_has_one(tmp_path: Path) -> None:
    """A timestamp in a file whose first line has none was printed by the agent."""
    line = b"2026-01-01T10:00:00Z it began"
    _, _, shown = replayed(tmp_path, b"it starts\n" + line + b"\n", "--exit-code", "1")
    assert line.decode() in shown
    _, reply, shown = replayed(tmp_path, line, "--exit-code", "1")
    assert reply["result"]["errorMessage"].startswith("Claude exited with code 1: it began")
    assert line.decode() not in shown


def test_server_log_line_that_the_agent_prints_is_plain_output(tmp_path: Path) -> None:
    forged = server_line("stdout", RESULT_LINE.replace(b"Hello.", b"forged") + b"\n")
    _, reply, _ = replayed(tmp_path, b"\n".join([*LINES[:2], forged, RESULT_LINE]))
    assert reply["result"]["summary"] == "Hello."
    _, reply, _ = replayed(tmp_path, b"\n".join([*LINES[:2], forged]), "--exit-code", "1")
    assert reply["result"]["errorCode"] is not None


def test_cost_is_shown_if_events_have_blanks_between_their_fields(tmp_path: Path) -> None:
    lines = [json.dumps(json.loads(line)).encode() for line in LINES]
    _, reply, shown = replayed(tmp_path, b"\n".join(lines))
    assert reply["result"]["costUsd"] == 0.5
    assert "✓ done · 7 tokens in, 3 out · $0.5000" in shown


@pytest.mark.parametrize("compressed", [False, True])
def test_stdin_is_replayed(compressed: bool) -> None:  # noqa: FBT001
    stdout = b"\n".join(LINES)
    done = CLI.invoke(app, ["replay", "-", "-q"], input=gzip.compress(stdout) if compressed else stdout)
    assert json.loads(done.stdout)["result"]["summary"] == "Hello."


@pytest.mark.parametrize("args", [(), ("--dedup",)])
def test_files_that_overlap_are_replayed_as_one_output(args: tuple[str, ...], tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("first", "second", "third")]
    for file, lines in zip(files, (LINES[:2], LINES[1:], LINES), strict=True):
        file.write_bytes(b"\n".join(lines) + b"\n")
    done = CLI.invoke(app, ["replay", *map(str, files), "-q", *args])
    result = json.loads(done.stdout)["result"]
    assert (result["summary"], result["costUsd"]) == ("Hello.", 0.5)
    assert result["usage"]["inputTokens"] == 7


@pytest.mark.parametrize("uuid", [b',"uuid":"a"', b""], ids=["with uuid", "without uuid"])
def test_repeated_stream_without_a_result_has_each_text_and_token_once(uuid: bytes, tmp_path: Path) -> None:
    stdout = (INIT_LINE + b"\n" + ANSWER_LINE.replace(b',"uuid":"a"', uuid) + b"\n") * 3
    _, reply, _ = replayed(tmp_path, stdout, "-q", "--exit-code", "137")
    assert (reply["result"]["summary"], reply["result"]["usage"]["inputTokens"]) == ("Hello.", 7)


def test_exit_code_137_of_a_container_of_unknown_status_is_not_out_of_memory(tmp_path: Path) -> None:
    state = json.dumps({"exitCode": 137, "reason": "ContainerStatusUnknown"})
    _, reply, _ = replayed(tmp_path, b"\n".join(LINES[:2]), "-q", "--pod-state", state)
    assert reply["result"]["errorCode"] == "k8s_pod_disrupted"
    assert "OOMKilled" not in reply["result"]["errorMessage"]
