"""Which files of the host may be read, and within which bounds."""

import os
from pathlib import Path

import pytest

from paperclip_claude_k8s.base.host_files import (
    HostFileError,
    HostFileMissing,
    HostFileRefused,
    HostFileUnsuitable,
    anywhere,
    read_host_file,
    read_host_file_now,
)


def write_file(path: Path, content: bytes = b"content") -> str:
    path.write_bytes(content)
    return str(path)


async def test_host_file_within_its_limit_is_read(tmp_path: Path) -> None:
    found = await read_host_file(write_file(tmp_path / "a"), limit=7, seconds=10)
    assert (found.path, found.content) == (str(tmp_path / "a"), b"content")


def test_host_file_above_its_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostFileUnsuitable, match="more than 6 bytes"):
        read_host_file_now(write_file(tmp_path / "a"), limit=6)


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
            read_host_file_now(spelled, limit=100, allows=anywhere)


def test_host_file_is_allowed_by_where_it_really_is(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", write_file(tmp_path / "outside")
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (tmp_path / "link-to-inside").symlink_to(inside)

    def allows(real: str) -> bool:
        return Path(real).is_relative_to(inside)

    for path in (outside, f"{inside}/link", f"{inside}/../outside", write_file(tmp_path / "inside-not")):
        with pytest.raises(HostFileRefused, match="may be read"):
            read_host_file_now(path, limit=100, allows=allows)
    write_file(inside / "a")
    assert read_host_file_now(f"{tmp_path}/link-to-inside/a", limit=100, allows=allows).content


@pytest.mark.parametrize("path", ["", "/nowhere/file"])
def test_missing_host_file_has_an_error_of_its_own(path: str) -> None:
    with pytest.raises(HostFileMissing):
        read_host_file_now(path, limit=100)


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000])
def test_text_that_is_no_path_is_an_error(path: str) -> None:
    with pytest.raises(HostFileError):
        read_host_file_now(path, limit=100)
