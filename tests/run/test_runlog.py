"""The run log on the shared volume: read for gaps, removed in time, and no way out of the volume."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import a_plan

from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import House, utc_now
from paperclip_claude_k8s.run.runlog import put_away, run_log_of

PATH = "run-logs/co/ada/run-1.ndjson"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    file = tmp_path / "volume" / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(b"0123456789")
    return tmp_path / "volume"


def plan(volume: Path, **config: Any) -> RunPlan:
    return a_plan(volume_here=str(volume), **config)


async def test_any_piece_can_be_read(volume: Path) -> None:
    file = run_log_of(str(volume), PATH)
    assert file is not None
    assert await file.read(2, 5) == b"234"
    assert await file.read(8, 99) == b"89"
    assert await file.read(10, 99) == b""


@pytest.mark.parametrize("path", ["../secret", "run-logs/../../secret", "/etc/passwd", "elsewhere/x", ""])
def test_a_path_out_of_the_folder_is_none(path: str, volume: Path) -> None:
    assert run_log_of(str(volume), path) is None


@pytest.mark.parametrize("link", ["run-logs", "run-logs/co/ada", PATH])
async def test_no_link_of_an_agent_is_followed(link: str, volume: Path) -> None:
    secret = volume.parent / "secret"
    (volume / "run-logs").rename(secret)
    at = volume / link
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(secret / Path(link).relative_to("run-logs"))
    file = run_log_of(str(volume), PATH)
    assert file is not None
    with pytest.raises(OSError, match=r"\[Errno"):
        await file.read(0, 10)
    await put_away(plan(volume), PATH, House(), succeeded=True)
    assert (secret / "co/ada/run-1.ndjson").exists()


async def test_a_success_removes_it_and_a_failure_keeps_it(volume: Path) -> None:
    await put_away(plan(volume), PATH, House(), succeeded=False)
    assert (volume / PATH).exists()
    await put_away(plan(volume), PATH, House(), succeeded=True)
    assert not (volume / PATH).exists()


async def test_it_can_be_retained(volume: Path) -> None:
    await put_away(plan(volume, retainRunLogs=True), PATH, House(), succeeded=True)
    assert (volume / PATH).exists()


async def test_what_failures_left_goes_after_a_week(volume: Path) -> None:
    old, young = (volume / PATH).with_name("old.ndjson"), (volume / PATH).with_name("young.ndjson")
    for file, days in ((old, 8), (young, 6)):
        file.write_bytes(b"x")
        then = (utc_now() - timedelta(days=days)).timestamp()
        os.utime(file, (then, then))
    await put_away(plan(volume), PATH, House(), succeeded=False)
    assert [old.exists(), young.exists(), (volume / PATH).exists()] == [False, True, True]


async def test_a_volume_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    await put_away(plan(tmp_path / "gone"), PATH, House(), succeeded=True)
