"""The state folder and its records: who can read them, which secrets they contain, and broken records."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paperclip_claude_k8s.cli.runs.record import JobPart, Record, RunTarget, read_record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.state import State, state_folder

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
"""A request with secrets in all places where they are masked, and with texts that are no secrets."""
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
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/claude-k8s"),
        ({"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/claude-k8s"),
        ({"CLAUDE_K8S_STATE_DIR": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/s"),
    ],
)
def test_state_folder_follows_the_environment(env: dict[str, str], folder: str) -> None:
    assert str(state_folder(env)) == folder


def test_existing_folder_below_home_is_used_until_one_in_xdg_state_home_exists(tmp_path: Path) -> None:
    old, new = tmp_path / ".local" / "state" / "claude-k8s", tmp_path / "xdg" / "claude-k8s"
    env = {"XDG_STATE_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    old.mkdir(parents=True)
    assert state_folder(env) == old
    new.mkdir(parents=True)
    assert state_folder(env) == new


def test_record_has_the_json_keys_that_earlier_versions_wrote(tmp_path: Path) -> None:
    written = State(tmp_path).write(a_record()).to_json()
    assert {"place", "gate", "tidied"} <= written.keys()  # of the attributes target, quota and cleaned_up


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State(tmp_path)
    record = a_record(
        jobs=(JobPart("u", "j", stdout=5, stderr=0),),
        target=RunTarget(server="https://a:1", digest="d", namespace="ns"),
        quota="granted",
        position=9,
    )
    written = state.write(record)
    assert state.read("r1") == written
    assert read_record(json.loads(json.dumps(written.to_json()))) == written


def test_records_are_readable_by_their_owner_only(tmp_path: Path) -> None:
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
    assert "PLAIN" in text
    assert "Say hello." in text


def test_secrets_are_kept_for_a_second_attempt_if_a_session_is_resumed() -> None:
    resumes = a_record(request={**REQUEST, "runtime": {"sessionId": "s"}})
    assert resumes.submitted().request == resumes.request
    again = resumes.submitted().with_fresh_session()
    assert (again.phase, again.request["runtime"]) == ("submitting", {})
    assert again.request["config"] == REQUEST["config"]
    ended = again.ended({"status": "failed"}, cleaned_up=True)
    assert not any(canary in json.dumps(ended.to_json()) for canary in CANARIES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("\xff", "cannot be read"),
        ("[]", "is not a JSON object"),
        ('{"version": 2}', "was written by a newer claude-k8s (format 2, this one reads 1)"),
        ('{"version": "x"}', "has an unknown format"),
        ('{"version": 1}', "is damaged"),
    ],
)
def test_broken_or_newer_record_is_reported_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    state = State(tmp_path)
    state.write(a_record())
    state.files("r1").record.write_bytes(text.encode("latin-1"))
    with pytest.raises(Stop) as stop:
        state.read("r1")
    assert stop.value.error == "record_unreadable"
    assert reason in stop.value.detail
    assert str(state.files("r1").record) in stop.value.detail
    (listed,) = state.all()
    assert isinstance(listed, Stop)


@pytest.mark.parametrize("run_id", ["nope", "../r1", "", ".", "a/b", "x" * 200])
def test_unknown_run_is_reported(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(Stop, match="is not known in") as stop:
        State(tmp_path).read(run_id)
    assert stop.value.error == "unknown_run"


def test_state_lists_the_newest_run_first(tmp_path: Path) -> None:
    state = State(tmp_path)
    for day in ("19", "21", "20"):
        state.write(replace(a_record(), run_id=f"r{day}", created=f"2026-11-{day}T00:00:00.000Z"))
    assert [record.run_id for record in state.all() if isinstance(record, Record)] == ["r21", "r20", "r19"]


def test_state_folder_below_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stop, match="set CLAUDE_K8S_STATE_DIR to a folder") as stop:
        State(tmp_path / "file" / "below")
    assert stop.value.error == "state_unwritable"


def test_run_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.write(a_record())
    with state.files("r1").try_lock() as first, state.files("r1").try_lock() as second:
        assert (first, second) == (True, False)
    with state.files("r1").try_lock() as again:
        assert again
