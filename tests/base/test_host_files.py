"""Which files of the host may be read, and within which bounds."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from paperclip_claude_k8s.base.aio import MAX_HANGING_THREADS, call_in_thread
from paperclip_claude_k8s.base.host_files import (
    HostFileError,
    HostFileMissing,
    HostFileRefused,
    HostFileUnsuitable,
    read_host_file,
    read_host_file_now,
)


def a_file(path: Path, content: bytes = b"content") -> str:
    path.write_bytes(content)
    return str(path)


async def test_host_file_within_its_limit_is_read(tmp_path: Path) -> None:
    found = await read_host_file(a_file(tmp_path / "a"), limit=7, seconds=10)
    assert (found.path, found.content) == (str(tmp_path / "a"), b"content")


def test_host_file_above_its_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostFileUnsuitable, match="more than 6 bytes"):
        read_host_file_now(a_file(tmp_path / "a"), limit=6)


def test_sparse_host_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(HostFileUnsuitable, match="more than 100 bytes"):
        read_host_file_now(str(tmp_path / "sparse"), limit=100)


def test_fifo_and_folder_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(HostFileUnsuitable, match="not a regular file"):
            read_host_file_now(str(path), limit=100)


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/environ",
        "/proc/self/root/proc/self/environ",
        "/dev/zero",
        "/dev/stdin",
        "/sys/kernel/uevent_seqnum",
        "/etc/../proc/self/cmdline",
        "//proc/self/cmdline",
    ],
)
def test_host_file_of_the_kernel_is_refused(path: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    for spelled in (path, str(link)):
        with pytest.raises(HostFileRefused):
            read_host_file_now(spelled, limit=100, roots=["/"])


def test_host_file_outside_the_roots_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", a_file(tmp_path / "outside")
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (tmp_path / "link-to-root").symlink_to(inside)
    for path in (outside, f"{inside}/link", f"{inside}/../outside", a_file(tmp_path / "inside-not")):
        with pytest.raises(HostFileRefused, match="outside the folders"):
            read_host_file_now(path, limit=100, roots=[str(inside)])
    a_file(inside / "a")
    assert read_host_file_now(f"{tmp_path}/link-to-root/a", limit=100, roots=[str(inside)]).content
    assert read_host_file_now(f"{inside}/a", limit=100, roots=[f"{tmp_path}/link-to-root"]).content


@pytest.mark.parametrize("path", ["", "/nowhere/file"])
def test_missing_host_file_is_missing(path: str) -> None:
    with pytest.raises(HostFileMissing):
        read_host_file_now(path, limit=100)


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000])
def test_text_that_is_no_path_is_an_error(path: str) -> None:
    with pytest.raises(HostFileError):
        read_host_file_now(path, limit=100)


async def test_thread_that_hangs_is_given_up_and_blocks_nothing() -> None:
    release = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            await call_in_thread(release.wait, 0.05)
        waiting = asyncio.ensure_future(call_in_thread(release.wait, 60))  # noqa: TID251  # to cancel it
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await call_in_thread(lambda: 7, 10) == 7
    finally:
        release.set()


async def test_threads_that_hang_are_bounded() -> None:
    release = threading.Event()
    try:
        for _ in range(MAX_HANGING_THREADS):
            with pytest.raises(TimeoutError):
                await call_in_thread(release.wait, 0.001)
        with pytest.raises(TimeoutError):
            await call_in_thread(lambda: 7, 10)
    finally:
        release.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await call_in_thread(lambda: 7, 10) == 7
                return
            except TimeoutError:
                await asyncio.sleep(0.01)


async def test_error_of_a_thread_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise LookupError("a")

    with pytest.raises(LookupError, match="a"):
        await call_in_thread(fail, 10)
