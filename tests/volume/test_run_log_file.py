"""Run logs, the relays' copies of the agents' output on the shared volume: reading and removing them."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import a_plan

from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings, utc_now
from paperclip_claude_k8s.volume.run_log_file import remove_run_log, run_log_of

PATH = "run-logs/co/ada/run-1.ndjson"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    file = tmp_path / "volume" / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(b"0123456789")
    return tmp_path / "volume"


def plan(volume: Path, **config: Any) -> RunPlan:
    return a_plan(volume_here=str(volume), **config)


async def test_reading_a_run_log_returns_the_bytes_of_a_range(volume: Path) -> None:
    file = run_log_of(str(volume), PATH)
    assert file is not None
    assert await file.read(2, 5) == b"234"
    assert await file.read(8, 99) == b"89"
    assert await file.read(10, 99) == b""


@pytest.mark.parametrize("path", ["../secret", "run-logs/../../secret", "/etc/passwd", "elsewhere/x", ""])
def test_run_log_path_outside_the_folder_is_refused(path: str, volume: Path) -> None:
    assert run_log_of(str(volume), path) is None


@pytest.mark.parametrize("link", ["run-logs", "run-logs/co/ada", PATH])
async def test_run_log_is_neither_read_nor_removed_through_a_link(link: str, volume: Path) -> None:
    secret = volume.parent / "secret"
    (volume / "run-logs").rename(secret)
    at = volume / link
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(secret / Path(link).relative_to("run-logs"))
    file = run_log_of(str(volume), PATH)
    assert file is not None
    with pytest.raises(OSError, match=r"\[Errno"):
        await file.read(0, 10)
    await remove_run_log(plan(volume), PATH, ProcessSettings(), succeeded=True)
    assert (secret / "co/ada/run-1.ndjson").exists()


async def test_run_log_of_one_of_several_pods_is_found_by_the_pod_uid(volume: Path) -> None:
    uids = [f"{part}-1111-2222-3333-444455556666" for part in ("0a1b2c3d", "ffffffff")]
    for uid in uids:
        (volume / PATH).with_name(f"run-1.{uid[:8]}.ndjson").write_text(uid, encoding="utf-8")
    for uid in uids:
        file = run_log_of(str(volume), PATH, uid)
        assert file is not None
        assert await file.read(0, 99) == uid.encode()
    of_unknown_pod = run_log_of(str(volume), PATH)
    assert of_unknown_pod is not None
    # the two Pods, and the one that wrote the file `PATH`
    with pytest.raises(OSError, match="3 Pods of the run have written a run log"):
        await of_unknown_pod.read(0, 99)


async def test_run_log_without_a_pod_uid_is_the_only_file_of_the_run(volume: Path) -> None:
    (volume / PATH).rename((volume / PATH).with_name("run-1.0a1b2c3d.ndjson"))
    file = run_log_of(str(volume), PATH)
    assert file is not None
    assert await file.read(0, 3) == b"012"


async def test_reading_a_run_log_fails_if_the_file_is_missing_or_special(volume: Path) -> None:
    (volume / PATH).unlink()
    file = run_log_of(str(volume), PATH)
    assert file is not None
    with pytest.raises(FileNotFoundError):
        await file.read(0, 3)
    os.mkfifo(volume / PATH)
    with pytest.raises(OSError, match="not a regular file"):
        await file.read(0, 3)


async def test_run_logs_of_all_pods_of_the_run_are_removed(volume: Path) -> None:
    names = ["run-1.0a1b2c3d.ndjson", "run-1.ffffffff.ndjson", "run-11.0a1b2c3d.ndjson", "run-11.ndjson"]
    for name in names:
        (volume / PATH).with_name(name).write_bytes(b"x")
    await remove_run_log(plan(volume), PATH, ProcessSettings(), succeeded=True)
    assert sorted(file.name for file in (volume / PATH).parent.iterdir()) == names[2:]


async def test_run_log_is_removed_on_success_and_kept_on_failure(volume: Path) -> None:
    await remove_run_log(plan(volume), PATH, ProcessSettings(), succeeded=False)
    assert (volume / PATH).exists()
    await remove_run_log(plan(volume), PATH, ProcessSettings(), succeeded=True)
    assert not (volume / PATH).exists()


async def test_run_log_is_kept_with_retain_run_logs(volume: Path) -> None:
    await remove_run_log(plan(volume, retainRunLogs=True), PATH, ProcessSettings(), succeeded=True)
    assert (volume / PATH).exists()


async def test_run_logs_of_failures_are_removed_after_a_week(volume: Path) -> None:
    old, young = (volume / PATH).with_name("old.ndjson"), (volume / PATH).with_name("young.ndjson")
    for file, days in ((old, 8), (young, 6)):
        file.write_bytes(b"x")
        then = (utc_now() - timedelta(days=days)).timestamp()
        os.utime(file, (then, then))
    await remove_run_log(plan(volume), PATH, ProcessSettings(), succeeded=False)
    assert [old.exists(), young.exists(), (volume / PATH).exists()] == [False, True, True]


async def test_removing_run_logs_ignores_a_missing_volume(tmp_path: Path) -> None:
    await remove_run_log(plan(tmp_path / "gone"), PATH, ProcessSettings(), succeeded=True)
