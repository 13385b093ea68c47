"""A signal to a container of the development cluster is not lost while the container's process is started."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from paperclip_claude_k8s.devcluster.container import Command, Container
from paperclip_claude_k8s.devcluster.crilog import LogFile

SLEEP = ("sleep", "300")


@pytest.mark.parametrize(("signal", "code"), [(Container.terminate, 143), (Container.kill, 137)])
@pytest.mark.parametrize("turns", range(6))
async def test_signal_during_the_start_of_a_process_ends_the_process(
    tmp_path: Path, signal: Callable[[Container], None], code: int, turns: int
) -> None:
    """`turns`: turns of the event loop before the signal. A start takes several of them."""
    container = Container(LogFile(tmp_path / "log"), tmp_path)
    command = Command(SLEEP, {"PATH": "/usr/bin:/bin"}, tmp_path)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(container.run(command))
        for _ in range(turns):
            await asyncio.sleep(0)
        signal(container)
    assert running.result() == code
