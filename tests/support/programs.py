"""Programs and rights that some tests need and that not every machine has."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from tests.support.real_namespace import NAMESPACE

EXPECTED = "PROGRAMS_EXPECTED"
"""Name of an environment variable. If it is set, a missing program fails a test instead of skipping it."""
ADMIN = os.environ.get("ADMIN_KUBECONFIG_FOR_TESTS", "")
"""Path of the kubeconfig of the real cluster's administrator."""


def program(name: str) -> str:
    """Return the path of the program. If it is missing, skip the test, or fail it if `EXPECTED` is set."""
    path = shutil.which(name)
    if path is None:
        skip_or_fail(f"{name} is not on this machine")
    return path


def skip_or_fail(missing: str) -> NoReturn:
    """Skip the test because of what is missing on this machine, or fail it if `EXPECTED` is set."""
    if os.environ.get(EXPECTED):
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def mounted_tmpfs(folder: Path, options: str = "size=300k") -> Iterator[None]:
    """Mount a tmpfs on this folder. Without permission, skip or fail the test as `program` does."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = [program("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        skip_or_fail(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


async def kubectl(kubeconfig: str, *arguments: str, stdin: str = "") -> str:
    """Run kubectl and return its stdout. An error fails the test."""
    process = await asyncio.create_subprocess_exec(
        program("kubectl"),
        *("--kubeconfig", kubeconfig, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


async def as_admin(*arguments: str, stdin: str = "") -> str:
    """Run kubectl as the real cluster's administrator, in the Paperclip host's namespace."""
    return await kubectl(ADMIN, "--namespace", NAMESPACE, *arguments, stdin=stdin)
