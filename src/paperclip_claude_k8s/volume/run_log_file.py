"""The run log on the shared volume, read and removed from here.

Agents write on that volume: no path below it is followed through a symbolic link, or an agent could have us
read or remove a file of the host.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import PurePosixPath

from paperclip_claude_k8s.plan.run_log import RUN_LOG_FOLDER, is_of_run, path_of_pod
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.volume.safefs import FILE, KEPT_SECONDS, descended, opened

_THREADS = ThreadPoolExecutor(4, thread_name_prefix="run-log")
"""Not those that everybody shares: one that a hung volume keeps comes back late or never."""
PATIENCE = 10.0
"""Longest wait for a run's log to be removed, seconds: its result does not hang with the volume."""


class RunLogFile:
    """The file of one Pod's relay; fills gaps in a container's log."""

    def __init__(self, volume: str, path: str, pod_uid: str | None) -> None:
        """`path`: without the Pod's part. Of a Pod that nobody knows it is the run's only file."""
        self._volume = volume
        self._path = path
        self._name = None if pod_uid is None else PurePosixPath(path_of_pod(path, pod_uid)).name

    async def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the agent's stdout; fewer where the file ends. Raises `OSError`."""
        return await asyncio.get_running_loop().run_in_executor(_THREADS, self._read, start, stop)

    def _read(self, start: int, stop: int) -> bytes:
        with (
            _folder_of(self._volume, self._path) as (folder, run_name),
            descended(folder, self._name or _only_file(folder, run_name), FILE) as file,
        ):
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            return os.pread(file, stop - start, start)


def run_log_of(volume: str | None, annotated: str | None, pod_uid: str | None = None) -> RunLogFile | None:
    """The file of a Pod whose Job has this annotation; none if it cannot be reached or leads elsewhere."""
    if volume is None or annotated is None:
        return None
    parts = PurePosixPath(annotated).parts
    if parts[:1] != (RUN_LOG_FOLDER,) or ".." in parts:
        return None
    return RunLogFile(volume, annotated, pod_uid)


def _only_file(folder: int, run_name: str) -> str:
    names = [name for name in os.listdir(folder) if is_of_run(name, run_name)]
    if not names:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), run_name)
    if len(names) > 1:
        raise OSError(errno.EINVAL, f"{len(names)} Pods of the run have one")
    return names[0]


async def remove_run_log(
    plan: RunPlan, annotated: str | None, settings: ProcessSettings, *, succeeded: bool
) -> None:
    """Remove the files of a run that ended well, and old ones beside them; what the volume refuses stays.

    `annotated`: what the Job says of its log's path; an adopted one was made by another run.
    """
    if plan.volume_here is None or plan.config.retain_run_logs:
        return
    if annotated is None or run_log_of(plan.volume_here, annotated) is None:
        return
    oldest = settings.now().timestamp() - KEPT_SECONDS
    remove = partial(_remove, plan.volume_here, annotated, oldest, own=succeeded)
    with suppress(OSError):
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().run_in_executor(_THREADS, remove)


def _remove(volume: str, path: str, oldest: float, *, own: bool) -> None:
    with _folder_of(volume, path) as (folder, name), os.scandir(folder) as entries:
        for entry in entries:
            old = entry.stat(follow_symlinks=False).st_mtime < oldest
            if own if is_of_run(entry.name, name) else old:
                os.unlink(entry.name, dir_fd=folder)


@contextmanager
def _folder_of(volume: str, path: str) -> Iterator[tuple[int, str]]:
    """The opened folder in which the run's files lie, and their name without a Pod's part."""
    whole = PurePosixPath(volume, path)
    with opened(str(whole.parent), volume) as folder:
        yield folder, whole.name
