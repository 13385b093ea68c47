"""Starts the real Paperclip server with the adapter's shim, and prints the result of each check.

    REAL_HOST=FOLDER python -m tests.real_host.run [WORD...]

FOLDER contains `up.sh`, which installs and starts the server. With words, only those checks run whose names
contain one of them. Exit codes: 0 all checks succeeded, 1 a check failed, 2 there is no such folder.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from tests.real_host.browser import NoBrowser, open_page
from tests.real_host.endings import ENDINGS
from tests.real_host.pages import PAGES
from tests.real_host.paperclip import CheckFailed, Paperclip, Pods
from tests.real_host.restarts import RESTARTS
from tests.real_host.rig import RigFailed, real_host
from tests.real_host.runs import RUNS
from tests.real_host.screens import SCREENS, Screen
from tests.real_host.testbed import Testbed

Check = Callable[[Testbed], Awaitable[str]]
TOTAL_TIMEOUT = 600.0
"""Seconds for everything, including the installation of the server."""


async def run_all_checks(folder: Path) -> list[str]:
    """Run all checks and return the names of those that failed."""
    async with asyncio.timeout(TOTAL_TIMEOUT):
        async with (
            real_host(folder) as rig,
            Paperclip.at(f"{rig.url}/api") as host,
        ):
            testbed = Testbed(rig, host, Pods(host.http, rig.kubeconfig))
            async with asyncio.TaskGroup() as group:
                screens = group.create_task(_run_screens(testbed))
                checks = group.create_task(_run_checks([*PAGES, *RUNS, *ENDINGS], testbed))
            failed = screens.result() + checks.result()
            for restart in RESTARTS:  # no other check may run while the server is down
                failed += await _run_checks([restart], testbed)
            return failed


async def _run_checks(checks: Iterable[Check], testbed: Testbed) -> list[str]:
    """Run the checks concurrently, because they mostly wait; return the names of the failed ones."""
    async with asyncio.TaskGroup() as group:
        tasks = {
            check: group.create_task(_run_check(check, check(testbed)))
            for check in checks
            if _selected(check)
        }
    return [check.__name__ for check, task in tasks.items() if not task.result()]


async def _run_screens(testbed: Testbed) -> list[str]:
    """Run the checks in the browser, if there is one; return the names of the failed ones."""
    screens = [screen for screen in SCREENS if _selected(screen)]
    if not screens:
        return []
    try:
        async with open_page() as page:
            passed = [await _run_check(screen, screen(testbed, page)) for screen in screens]
    except NoBrowser as reason:
        print(f"skipped {len(screens)} checks in a browser: {reason}", flush=True)
        return []
    return [screen.__name__ for screen, ok in zip(screens, passed, strict=True) if not ok]


def _selected(check: Check | Screen) -> bool:
    return not sys.argv[1:] or any(word in check.__name__ for word in sys.argv[1:])


async def _run_check(check: Check | Screen, running: Awaitable[str]) -> bool:
    name = check.__name__.replace("_", " ")
    try:
        print(f"ok      {name}: {await running}", flush=True)
    except (CheckFailed, KeyError, ValueError, OSError, TimeoutError) as error:
        print(f"FAILED  {name}: {type(error).__name__} {error}", flush=True)
        return False
    return True


def main() -> int:
    folder = Path(os.environ.get("REAL_HOST", ""))
    if not (folder / "up.sh").is_file():
        print("REAL_HOST must name a folder that contains up.sh", file=sys.stderr)
        return 2
    try:
        failed = asyncio.run(run_all_checks(folder.resolve()))
    except (RigFailed, TimeoutError) as error:
        print(f"FAILED  {str(error) or 'not finished in time'}")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
