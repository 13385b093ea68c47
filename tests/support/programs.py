"""Programs that some tests need and that are not on every machine."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

EXPECTED = "PROGRAMS_EXPECTED"
"""Environment variable; if set, a test fails if its program is missing, instead of being skipped."""
ADMIN = os.environ.get("ADMIN_KUBECONFIG_FOR_TESTS", "")
"""Kubeconfig of the real cluster's administrator."""


def program(name: str) -> str:
    """The path of the program; without it the test is skipped, or fails if programs are expected."""
    path = shutil.which(name)
    if path is None:
        _do_without(f"{name} is not on this machine")
    return path


def _do_without(missing: str) -> NoReturn:
    if os.environ.get(EXPECTED):
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def small_disk(folder: Path, options: str = "size=300k") -> Iterator[None]:
    """Mount a small file system in memory on this folder; if that is not allowed, skip or fail."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = [program("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        _do_without(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


async def kubectl(kubeconfig: str, *arguments: str, given: str = "") -> str:
    """The output of kubectl; `given` is its stdin. An error fails the test."""
    process = await asyncio.create_subprocess_exec(
        program("kubectl"),
        *("--kubeconfig", kubeconfig, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


async def as_admin(*arguments: str, given: str = "") -> str:
    """As `kubectl`, on the real cluster in the host's namespace."""
    return await kubectl(ADMIN, "--namespace", "paperclip", *arguments, given=given)
