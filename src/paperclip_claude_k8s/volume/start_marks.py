"""Start marks: files on the shared volume by which relays report that they have started.

A kubelet with many Pods may report a running container to the API server a minute late. If this process has
the volume mounted too, it sees the relay's start mark at once. One poll of a folder serves all waiting runs,
without any API call.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.threads import DaemonThreads
from paperclip_claude_k8s.plan.run_plan import START_MARKS
from paperclip_claude_k8s.volume.removal import check_name
from paperclip_claude_k8s.volume.safefs import open_path

POLL_INTERVAL = 0.1
"""Seconds between two polls of the folder."""
REMOVAL_TIMEOUT = 5.0
"""Seconds that removing a start mark may take: a run's result must not wait for a volume that hangs."""
_THREAD = DaemonThreads(1)
"""Separate from the default executor, because a volume that hangs blocks the thread."""


@dataclass(slots=True)
class StartMarks:
    """Waits for start marks; shared by all runs of a process. Polls a volume only while a run waits."""

    nursery: Nursery
    _waiting: dict[str, dict[str, asyncio.Event]] = field(default_factory=dict)
    """Mount point of a volume → uid of a Pod → event that is set when its start mark is found."""
    _polling: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def wait_for_start(self, volume: str, pod_uid: str) -> None:
        """Wait for the start mark of this Pod, and remove it. Never returns if the volume cannot be read."""
        waiting = self._waiting.setdefault(volume, {})
        event = waiting[pod_uid] = asyncio.Event()
        try:
            if volume not in self._polling or self._polling[volume].done():
                work = self._poll(volume, waiting)
                self._polling[volume] = await self.nursery.start(work, name=f"start marks {volume}")
            await event.wait()
        finally:
            del waiting[pod_uid]

    async def remove(self, volume: str, pod_uid: str) -> None:
        """Remove the start mark of a Pod whose start was observed in another way. Errors are ignored."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REMOVAL_TIMEOUT):
                await asyncio.get_running_loop().run_in_executor(_THREAD, _remove_marks, volume, (pod_uid,))

    @staticmethod
    async def _poll(volume: str, waiting: dict[str, asyncio.Event]) -> None:
        loop = asyncio.get_running_loop()
        while waiting:
            for uid in await loop.run_in_executor(_THREAD, _remove_marks, volume, tuple(waiting)):
                if uid in waiting:
                    waiting[uid].set()
            await asyncio.sleep(POLL_INTERVAL)


def _remove_marks(volume: str, pod_uids: tuple[str, ...]) -> list[str]:
    """Remove the start marks of these Pods; return the uids of the Pods that had one."""
    with suppress(OSError), open_path(f"{volume.rstrip('/')}/{START_MARKS}", volume) as folder:
        return list(_remove_each(folder, pod_uids))
    return []  # no relay has created the folder yet, or the volume cannot be read


def _remove_each(folder: int, pod_uids: tuple[str, ...]) -> Iterator[str]:
    """Yields the uid of each Pod that had a start mark."""
    for uid in pod_uids:
        try:
            check_name(uid)
            os.unlink(uid, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError:  # e.g. the volume is mounted read-only: a mark that exists counts, though it stays
            with suppress(OSError):
                check_name(uid)
                os.stat(uid, dir_fd=folder, follow_symlinks=False)
                yield uid
        else:
            yield uid
