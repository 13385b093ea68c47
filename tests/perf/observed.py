"""Wraps an adapter and measures the lag of its event loop; the rig's driver loads it by name.

`PERF_LAGS` names the output file: lines of `time lag`, in milliseconds of the monotonic clock.
"""

import asyncio
import importlib
import os
import time
from pathlib import Path
from typing import Any

from tests.perf.bench import ADAPTERS, OURS, PROBE

INTERVAL = 0.05
"""Seconds between two measurements; a shorter interval would itself be a load."""


class AdapterWithLag:
    """Passes `execute` on; records the lag of the event loop from the first call on."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._watch: asyncio.Task[None] | None = None

    async def execute(self, ctx: Any) -> Any:
        if self._watch is None:
            self._watch = asyncio.create_task(_record_lags())  # noqa: TID251  # lives as long as the process
        return await self._adapter.execute(ctx)


async def _record_lags() -> None:
    with Path(os.environ["PERF_LAGS"]).open("w", encoding="utf-8", buffering=1) as file:  # noqa: ASYNC230  # opened once
        while True:
            due = time.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            now = time.monotonic()
            file.write(f"{now * 1000:.1f} {(now - due) * 1000:.2f}\n")


def _create(client: str) -> AdapterWithLag:
    module, factory = ADAPTERS[client].split(":")
    return AdapterWithLag(getattr(importlib.import_module(module), factory)())


def ours() -> AdapterWithLag:
    return _create(OURS)


def probe() -> AdapterWithLag:
    return _create(PROBE)
