"""Recorded output is read, and judged like the output of a run."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.client import V1ContainerState, V1ContainerStateTerminated

from paperclip_claude_k8s.replay import ReplayInvalid, judge, read_stream
from paperclip_claude_k8s.testing import CAPTURE_VERSIONS, capture, capture_facts, capture_names

CAPTURE = "02-tools-multiblock"
WHOLE = capture(CAPTURE)
WITHOUT_RESULT = WHOLE[: WHOLE.index(b'{"type":"result"')]


@pytest.mark.parametrize("version", CAPTURE_VERSIONS)
def test_capture_is_judged_as_its_facts_say(version: str) -> None:
    for name in capture_names(version)[::9]:  # a few of them, to save time
        facts = capture_facts(name, version)
        result = judge(capture(name, version), exit_code=facts["exit_code"] or 0)
        assert (result.error_code is None) == facts["facts"]["expected_class"].startswith("ok"), name


@pytest.mark.parametrize(
    ("exit_code", "state", "code", "text"),
    [
        (None, None, "claude_truncated", "exit code 0"),
        (137, None, "claude_truncated", "exit code 137"),
        (None, {"exitCode": 137, "reason": "OOMKilled"}, "claude_truncated", "SIGKILL (commonly OOMKilled)"),
        (None, {"exit_code": 137, "reason": "OOMKilled"}, "claude_truncated", "reason=OOMKilled"),
        (3, {"reason": "Error"}, "claude_truncated", "exit code 3"),
        (None, {"deleted": True}, "k8s_job_deleted_externally", "deleted"),
        (None, {"disrupted": "Evicted", "message": "low on memory"}, "k8s_pod_disrupted", "low on memory"),
    ],
)
def test_error_of_output_without_a_result_depends_on_exit_code_and_pod_state(
    exit_code: int | None, state: dict[str, Any] | None, code: str, text: str
) -> None:
    result = judge(WITHOUT_RESULT, exit_code=exit_code, pod_state=state)
    assert result.error_code == code
    assert text in (result.error_message or "")


def test_state_object_of_a_kubernetes_client_is_accepted() -> None:
    ended = V1ContainerStateTerminated(exit_code=137, reason="OOMKilled")
    expected = judge(WITHOUT_RESULT, pod_state={"exitCode": 137, "reason": "OOMKilled"}).error_message
    for state in (ended, V1ContainerState(terminated=ended), ended.to_dict()):
        assert judge(WITHOUT_RESULT, pod_state=state).error_message == expected


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"exitCode": "x"}, "the exit code must be a whole number"),
        ({"exitCode": True}, "the exit code must be a whole number"),
        ({"exitcode": 137}, "a pod state has no field exitcode; known are exitCode, reason"),
        ("OOMKilled", "a pod state is an object with exitCode"),
        ([], "a pod state is an object"),
    ],
)
def test_state_that_cannot_be_read_is_an_error(state: object, text: str) -> None:
    with pytest.raises(ReplayInvalid, match=text):
        judge(WITHOUT_RESULT, pod_state=state)


def _forms(folder: Path) -> dict[str, Any]:
    plain, packed = folder / "plain.ndjson", folder / "packed.ndjson.gz"
    plain.write_bytes(WHOLE)
    packed.write_bytes(gzip.compress(WHOLE))
    lines = WHOLE.decode().split("\n")
    return {
        "bytes": WHOLE,
        "text": WHOLE.decode(),
        "lines": lines,
        "lines of bytes": WHOLE.splitlines(keepends=True),
        "generator": (f"{line}\n" for line in lines),
        "file": plain,
        "compressed file": packed,
        "host's log": ["[paperclip] Created K8s Job: j\n", *lines],
    }


FORMS = (
    "bytes",
    "text",
    "lines",
    "lines of bytes",
    "generator",
    "file",
    "compressed file",
    "host's log",
)


@pytest.mark.parametrize("form", FORMS)
def test_recording_is_read_in_every_form(form: str, tmp_path: Path) -> None:
    transcript = read_stream(_forms(tmp_path)[form])
    facts = capture_facts(CAPTURE)["facts"]
    assert transcript.cost_usd == pytest.approx(facts["total_cost_usd"])
    assert transcript.summary == judge(WHOLE).summary
    assert not transcript.plain_lines


def test_only_a_newline_character_ends_a_line() -> None:
    text = "one\x85two\u2028three\x0bfour\rfive\n"
    assert read_stream(text).lines == read_stream(text.encode()).lines == read_stream([text]).lines == 1


def test_missing_file_raises_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_stream(tmp_path / "nowhere")


def test_cost_of_a_resumed_session_is_unknown_unless_the_run_is_known_to_be_fresh() -> None:
    events = (
        '{"type":"system","subtype":"init","session_id":"s","model":"m","claude_code_version":"2.1.300"}\n'
        '{"type":"result","subtype":"success","is_error":false,"result":"x","total_cost_usd":1.5}\n'
    )
    assert judge(events).cost_usd is None
    assert judge(events, resumed=False).cost_usd == 1.5


def test_name_of_a_file_as_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "captured.ndjson"
    file.write_bytes(WHOLE)
    with pytest.raises(ReplayInvalid, match=r"is the name of a file, not its content: pass a pathlib\.Path"):
        judge(str(file))
    assert judge("no such file").error_code == "claude_no_result"


def test_exit_code_argument_replaces_the_exit_code_of_the_pod_state() -> None:
    message = judge(WITHOUT_RESULT, exit_code=3, pod_state={"exitCode": 137}).error_message or ""
    assert "exit code 3" in message
    assert "137" not in message
