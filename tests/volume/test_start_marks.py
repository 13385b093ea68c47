"""Start marks, files on the shared volume by which relays report that they have started.

The host waits for the start mark of a Pod, and removes it.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.plan.run_plan import START_MARKS
from paperclip_claude_k8s.volume.start_marks import StartMarks

TEST_TIMEOUT = 30.0
"""Seconds after which a test that waits for a mark fails."""


@pytest.fixture
async def marks() -> AsyncIterator[StartMarks]:
    nursery = Nursery()
    yield StartMarks(nursery)
    await nursery.close()


def create_mark(volume: Path, uid: str) -> Path:
    folder = volume / START_MARKS
    folder.mkdir(exist_ok=True)
    mark = folder / uid
    mark.touch()
    return mark


async def test_start_mark_ends_only_the_wait_for_its_pod_and_is_removed(
    marks: StartMarks, tmp_path: Path
) -> None:
    async with asyncio.timeout(TEST_TIMEOUT), asyncio.TaskGroup() as group:
        one, two = (group.create_task(marks.wait_for_start(str(tmp_path), uid)) for uid in ("one", "two"))
        await asyncio.sleep(0.3)
        assert not one.done(), "the wait ended before a start mark existed"
        mark = create_mark(tmp_path, "one")
        await one
        assert not two.done()
        assert not mark.exists()
        create_mark(tmp_path, "two")
    assert list((tmp_path / START_MARKS).iterdir()) == []


async def test_start_marks_of_other_pods_are_kept(marks: StartMarks, tmp_path: Path) -> None:
    of_other_pod = create_mark(tmp_path, "other")
    create_mark(tmp_path, "ours")
    async with asyncio.timeout(TEST_TIMEOUT):
        await marks.wait_for_start(str(tmp_path), "ours")
    assert of_other_pod.exists()


async def test_remove_deletes_a_start_mark_and_accepts_a_missing_one(
    marks: StartMarks, tmp_path: Path
) -> None:
    mark = create_mark(tmp_path, "one")
    await marks.remove(str(tmp_path), "one")
    await marks.remove(str(tmp_path), "missing")
    assert not mark.exists()


async def test_start_marks_in_a_folder_that_is_a_link_are_ignored(marks: StartMarks, tmp_path: Path) -> None:
    elsewhere, volume = tmp_path / "elsewhere", tmp_path / "volume"
    elsewhere.mkdir()
    volume.mkdir()
    (volume / START_MARKS).symlink_to(elsewhere)
    (elsewhere / "one").touch()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await marks.wait_for_start(str(volume), "one")
    assert (elsewhere / "one").exists()


async def test_polling_for_start_marks_ends_when_nobody_waits(marks: StartMarks, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await marks.wait_for_start(str(tmp_path), "one")
    async with asyncio.timeout(TEST_TIMEOUT):
        while any("start marks" in task.get_name() for task in asyncio.all_tasks()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
