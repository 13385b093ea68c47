"""Programs that some tests need and not every machine has."""

import asyncio
import os
import shutil

import pytest

EXPECTED = "PROGRAMS_EXPECTED"
"""Environment variable, set where every program must be there: a test without its program fails then."""
ADMIN = os.environ.get("ADMIN_KUBECONFIG_FOR_TESTS", "")
"""Of the real cluster."""


def program(name: str) -> str:
    """Its path; without it the test is skipped, or fails where programs are expected."""
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"{name} is not on this machine"
    if os.environ.get(EXPECTED):
        pytest.fail(missing)
    pytest.skip(missing)


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
