"""Runs the real Paperclip server with the adapter's shim, and prints the outcome of each check.

    REAL_HOST=FOLDER python -m tests.real_host.run

FOLDER contains `up.sh`, which installs and starts the server. Exit code 1: a check failed; 2: no such folder.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from tests.real_host.pages import PAGES
from tests.real_host.paperclip import NotSo, Paperclip, Pods
from tests.real_host.rig import RigFailed, real_host
from tests.real_host.runs import RUNS, a_stopped_server_leaves_its_jobs
from tests.real_host.stage import Stage

Point = Callable[[Stage], Awaitable[str]]
LIMIT = 540.0
"""Seconds for everything, including the installation of the server."""


async def drive(folder: Path) -> list[str]:
    """Run all checks; returns the names of those that failed."""
    async with asyncio.timeout(LIMIT):
        async with (
            real_host(folder) as rig,
            Paperclip.at(rig.api) as host,
        ):
            stage = Stage(rig, host, Pods(host.http, rig.kubeconfig))
            failed = await _check([*PAGES, *RUNS], stage)
            return failed + await _check([a_stopped_server_leaves_its_jobs], stage)


async def _check(points: Iterable[Point], stage: Stage) -> list[str]:
    """Run the checks concurrently, because the server itself waits for long in many of them."""
    async with asyncio.TaskGroup() as group:
        tasks = {point: group.create_task(_one(point, stage)) for point in points}
    return [point.__name__ for point, task in tasks.items() if not task.result()]


async def _one(point: Point, stage: Stage) -> bool:
    name = point.__name__.replace("_", " ")
    try:
        print(f"ok      {name}: {await point(stage)}", flush=True)
    except (NotSo, KeyError, ValueError, OSError) as fault:
        print(f"FAILED  {name}: {type(fault).__name__} {fault}", flush=True)
        return False
    return True


def main() -> int:
    folder = Path(os.environ.get("REAL_HOST", ""))
    if not (folder / "up.sh").is_file():
        print("REAL_HOST names no folder with an up.sh", file=sys.stderr)
        return 2
    try:
        failed = asyncio.run(drive(folder.resolve()))
    except (RigFailed, TimeoutError) as fault:
        print(f"FAILED  {fault or 'not done in time'}")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
