"""A container of the development cluster receives a signal whenever it is sent, even before the start."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from paperclip_claude_k8s.devcluster.container import Command, Container
from paperclip_claude_k8s.devcluster.crilog import LogFile

SLEEP = ("sleep", "300")


@pytest.mark.parametrize(("signal", "code"), [(Container.terminate, 143), (Container.kill, 137)])
@pytest.mark.parametrize("turns", range(6))
async def test_signal_reaches_a_process_that_is_being_started(
    tmp_path: Path, signal: Callable[[Container], None], code: int, turns: int
) -> None:
    """A start takes several turns of the event loop; the process may run after the first turn."""
    container = Container(LogFile(tmp_path / "log"), tmp_path)
    command = Command(SLEEP, {"PATH": "/usr/bin:/bin"}, tmp_path)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(container.run(command))
        for _ in range(turns):
            await asyncio.sleep(0)
        signal(container)
    assert running.result() == code
