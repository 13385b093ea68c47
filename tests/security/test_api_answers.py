"""An API server whose answers never end or are far too large costs the host little memory and time."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.support.api_server import write_kubeconfig
from tests.support.hostile_api import hostile_api

MAX_MEGABYTES = 150
"""By how much the memory of the client may grow. The client is a process of its own."""
MAX_LAG = 0.5
"""Seconds for which the client's event loop may be blocked."""
MAX_SECONDS = 10
"""Seconds that a call may take."""


async def measure(call: str, answers: list[str], folder: Path) -> list[dict[str, Any]]:
    """Make one call for each answer; return what the client measured. Fails above a limit of this file."""
    calls = [f"{call}:{answer}" for answer in answers]
    async with hostile_api() as url:
        command = (sys.executable, "-m", "tests.support.hostile_api", write_kubeconfig(folder, url), *calls)
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        printed, _ = await child.communicate()
    assert child.returncode == 0
    found: list[dict[str, Any]] = json.loads(printed)
    for answer in found:
        print(answer)
    assert max(answer["megabytes"] for answer in found) <= MAX_MEGABYTES
    assert max(answer["lag"] for answer in found) <= MAX_LAG
    assert max(answer["seconds"] for answer in found) <= MAX_SECONDS
    return found


async def test_list_response_that_is_endless_or_too_large_is_an_error(tmp_path: Path) -> None:
    expected = {
        "endless body": "has more than 16777216 bytes",
        "endless spaces": "has more than 16777216 bytes",
        "compressed": "is compressed",
        "compressed by another name": "is compressed",
        "endless pages": "too large or does not end",
        "pages of large objects": "too large or does not end|in time",
        "many lists": "values at once|in time",
        "many keys": "values at once|in time",
        "deep": "not a JSON object",
        "large number": "not a JSON object",
        "one byte at a time": "in time",
        "endless headers": "ClusterError",
        "a long header": "ClusterError",
        "endless refusal": "Internal Server Error",
        "compressed refusal": "Forbidden",
    }
    found = await measure("list", list(expected), tmp_path)
    assert [
        answer["answer"] for answer in found if not re.search(expected[answer["answer"]], answer["error"])
    ] == []


async def test_watch_response_that_is_endless_or_too_large_is_an_error(tmp_path: Path) -> None:
    answers = ["endless line", "one byte at a time", "empty lines for ever", "compressed", "endless headers"]
    found = await measure("watch", answers, tmp_path)
    assert [answer for answer in found if not answer["error"].startswith("ClusterError")] == []


async def test_shared_watch_keeps_a_bounded_number_of_objects(tmp_path: Path) -> None:
    answers = ["many objects", "large objects", "one object for ever", "bookmarks for ever"]
    await measure("informer", answers, tmp_path)


async def test_compressed_log_is_an_error(tmp_path: Path) -> None:
    [found] = await measure("log", ["compressed"], tmp_path)
    assert "is compressed" in found["error"]
