"""Which Pods' relays have begun, from the marks that they make on the shared volume.

A kubelet with many Pods tells the API a minute late that a container runs. Where the volume is mounted here
too, the relay's mark is there at once, and one look at a folder serves all runs that wait, without a request.
"""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.plan.run_plan import START_MARKS
from paperclip_claude_k8s.volume.safefs import opened

LOOK_EVERY = 0.1
"""Seconds between two looks at the folder."""
PATIENCE = 5.0
"""Longest wait for a mark to be removed, seconds: no result hangs with the volume."""
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="start-marks")
"""Not one of those that everybody shares: a hung volume keeps it."""


@dataclass(slots=True)
class StartMarks:
    """Shared by all runs of a process. Nothing is looked at while nobody waits."""

    nursery: Nursery
    _waiting: dict[str, dict[str, asyncio.Event]] = field(default_factory=dict)
    """Where a volume is mounted here → Pod's uid → set once its mark was seen."""
    _looking: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def wait_for_start(self, volume: str, pod_uid: str) -> None:
        """Wait for the mark of this Pod, and remove it; for ever where the volume cannot be read."""
        waiting = self._waiting.setdefault(volume, {})
        event = waiting[pod_uid] = asyncio.Event()
        try:
            if volume not in self._looking or self._looking[volume].done():
                work = self._look_on(volume, waiting)
                self._looking[volume] = await self.nursery.start(work, name=f"start marks {volume}")
            await event.wait()
        finally:
            del waiting[pod_uid]

    async def remove(self, volume: str, pod_uid: str) -> None:
        """Remove the mark of a Pod whose start was told otherwise; what the volume refuses stays."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().run_in_executor(_THREAD, _take, volume, (pod_uid,))

    @staticmethod
    async def _look_on(volume: str, waiting: dict[str, asyncio.Event]) -> None:
        loop = asyncio.get_running_loop()
        while waiting:
            for uid in await loop.run_in_executor(_THREAD, _take, volume, tuple(waiting)):
                if uid in waiting:
                    waiting[uid].set()
            await asyncio.sleep(LOOK_EVERY)


def _take(volume: str, pod_uids: tuple[str, ...]) -> list[str]:
    """Those of the Pods whose marks are there; the marks are removed."""
    with suppress(OSError), opened(f"{volume.rstrip('/')}/{START_MARKS}", volume) as folder:
        return list(_taken(folder, pod_uids))
    return []  # no relay has made the folder yet, or the volume cannot be read


def _taken(folder: int, pod_uids: tuple[str, ...]) -> Iterator[str]:
    for uid in pod_uids:
        try:
            os.unlink(uid, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError:  # a volume that is mounted read-only here
            with suppress(OSError):
                os.stat(uid, dir_fd=folder, follow_symlinks=False)
                yield uid
        else:
            yield uid
