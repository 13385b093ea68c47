"""Records on the disk: private, whole, without secrets, and clear about what cannot be read."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paperclip_claude_k8s.cli.runs.folders import state_folder
from paperclip_claude_k8s.cli.runs.record import JobPart, Place, Record, read_record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.state import State

TOKEN = "sk-ant-canary-0123456789"
REQUEST: dict[str, Any] = {
    "agent": {"id": "ada"},
    "runtime": {},
    "config": {
        "env": {"MY_API_KEY": "canary-1", "PLAIN": "kept", "ODD": TOKEN},
        "mcpServers": {"m": {"headers": {"Authorization": "canary-2"}}},
        "quotaGateUrl": "https://user:canary-3@gate.example/",
    },
    "context": {"prompt": "Say hello."},
}
CANARIES = ("canary-1", "canary-2", "canary-3", TOKEN)


def a_record(**changes: Any) -> Record:
    return replace(Record("r1", "2026-11-21T10:00:00.000Z", REQUEST), **changes)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"CLAUDE_K8S_STATE_DIR": "/s", "HOME": "/h"}, "/s"),
        ({"HOME": "/h"}, "/h/.local/state/claude-k8s"),
        ({"CLAUDE_K8S_STATE_DIR": " ", "HOME": "/h"}, "/h/.local/state/claude-k8s"),
    ],
)
def test_spec_12_where_state_lives(env: dict[str, str], folder: str) -> None:
    assert str(state_folder(env)) == folder


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    state = State(tmp_path)
    record = a_record(
        jobs=(JobPart("u", "j", 5, 0),), place=Place("https://a:1", "d", "ns"), gate="granted", position=9
    )
    written = state.write(record)
    assert state.read("r1") == written
    assert read_record(json.loads(json.dumps(written.to_json()))) == written


def test_spec_12_records_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = State(tmp_path / "s")
    state.write(a_record())
    files = state.files("r1")
    assert (mode(tmp_path / "s"), mode(files.folder), mode(files.record)) == (0o700, 0o700, 0o600)
    assert list(files.folder.glob(".*")) == []


def test_secrets_are_kept_only_until_the_job_exists(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.write(a_record())
    assert all(canary in state.files("r1").record.read_text() for canary in CANARIES)
    state.write(a_record().submitted())
    text = state.files("r1").record.read_text()
    assert not any(canary in text for canary in CANARIES)
    assert "kept" in text
    assert "Say hello." in text


def test_a_run_that_resumes_a_session_keeps_them_for_its_second_attempt() -> None:
    resumes = a_record(request={**REQUEST, "runtime": {"sessionId": "s"}})
    assert resumes.submitted().request == resumes.request
    again = resumes.submitted().again()
    assert (again.phase, again.request["runtime"]) == ("submitting", {})
    assert again.request["config"] == REQUEST["config"]
    ended = again.ended({"status": "failed"}, tidied=True)
    assert not any(canary in json.dumps(ended.to_json()) for canary in CANARIES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("\xff", "cannot be read"),
        ("[]", "is no JSON object"),
        ('{"version": 2}', "was written by a newer claude-k8s (format 2, this one reads 1)"),
        ('{"version": "x"}', "has no known format"),
        ('{"version": 1}', "is damaged"),
    ],
)
def test_a_broken_or_newer_record_is_one_clear_sentence(tmp_path: Path, text: str, told: str) -> None:
    state = State(tmp_path)
    state.write(a_record())
    state.files("r1").record.write_bytes(text.encode("latin-1"))
    with pytest.raises(Stop) as stop:
        state.read("r1")
    assert stop.value.error == "record_unreadable"
    assert told in stop.value.detail
    assert str(state.files("r1").record) in stop.value.detail
    (listed,) = state.all()
    assert isinstance(listed, Stop)


@pytest.mark.parametrize("run_id", ["nope", "../r1", "", ".", "a/b", "x" * 200])
def test_a_run_that_is_not_known_is_told(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(Stop, match="is not known in") as stop:
        State(tmp_path).read(run_id)
    assert stop.value.error == "unknown_run"


def test_the_newest_run_comes_first(tmp_path: Path) -> None:
    state = State(tmp_path)
    for day in ("19", "21", "20"):
        state.write(replace(a_record(), run_id=f"r{day}", created=f"2026-11-{day}T00:00:00.000Z"))
    assert [record.run_id for record in state.all() if isinstance(record, Record)] == ["r21", "r20", "r19"]


def test_a_state_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stop, match="set CLAUDE_K8S_STATE_DIR to a folder") as stop:
        State(tmp_path / "file" / "below")
    assert stop.value.error == "state_unwritable"


def test_one_shell_at_a_time_holds_a_run(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.write(a_record())
    with state.files("r1").held() as first, state.files("r1").held() as second:
        assert (first, second) == (True, False)
    with state.files("r1").held() as again:
        assert again
