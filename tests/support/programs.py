"""Programs that some tests need and not every machine has."""

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
"""Environment variable, set where every program must be there: a test without its program fails then."""
ADMIN = os.environ.get("ADMIN_KUBECONFIG_FOR_TESTS", "")
"""Of the real cluster."""


def program(name: str) -> str:
    """Its path; without it the test is skipped, or fails where programs are expected."""
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
    """A file system of its own in this folder, in memory; where none may be mounted, as without a program."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = [program("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        _do_without(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


async def kubectl(kubeconfig: str, *words: str, given: str = "") -> str:
    """What it prints; `given` is its stdin, and its complaints fail the test."""
    process = await asyncio.create_subprocess_exec(
        program("kubectl"),
        *("--kubeconfig", kubeconfig, *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


async def as_admin(*words: str, given: str = "") -> str:
    """The same on the real cluster, in the host's namespace."""
    return await kubectl(ADMIN, "--namespace", "paperclip", *words, given=given)
