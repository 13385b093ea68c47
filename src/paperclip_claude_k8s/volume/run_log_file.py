"""Read and remove the run log on the shared volume.

The relay in the Pod copies the agent's output to this file; it fills gaps in the container's log. Agents can
write to that volume, so no symbolic link below it is followed: through one, an agent could have a file of
the host read or removed.
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
from paperclip_claude_k8s.volume.safefs import FILE, KEPT_SECONDS, open_at, open_path

_THREADS = ThreadPoolExecutor(4, thread_name_prefix="run-log")
"""Separate from the default executor: a volume that hangs would block its threads for other uses."""
REMOVAL_TIMEOUT = 10.0
"""Seconds that removing a run's log may take: its result must not wait for a volume that hangs."""


class RunLogFile:
    """The file that one Pod's relay writes."""

    def __init__(self, volume: str, path: str, pod_uid: str | None) -> None:
        """`path`: without the Pod's part. If the Pod is unknown, the run must have only one file."""
        self._volume = volume
        self._path = path
        self._name = None if pod_uid is None else PurePosixPath(path_of_pod(path, pod_uid)).name

    async def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the agent's stdout; fewer at the end of the file. Raises `OSError`."""
        return await asyncio.get_running_loop().run_in_executor(_THREADS, self._read, start, stop)

    def _read(self, start: int, stop: int) -> bytes:
        with (
            _folder_of(self._volume, self._path) as (folder, run_name),
            open_at(folder, self._name or _only_file(folder, run_name), FILE) as file,
        ):
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            return os.pread(file, stop - start, start)


def run_log_of(volume: str | None, annotated: str | None, pod_uid: str | None = None) -> RunLogFile | None:
    """The file of a Pod whose Job has this annotation; None without a volume or for an invalid path."""
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
        raise OSError(errno.EINVAL, f"{len(names)} Pods of the run have written one")
    return names[0]


async def remove_run_log(
    plan: RunPlan, annotated: str | None, settings: ProcessSettings, *, succeeded: bool
) -> None:
    """Remove the files of a successful run, and expired files beside them. Errors are ignored.

    `annotated`: the path in the Job's annotation; an adopted Job was created by another run.
    """
    if plan.volume_here is None or plan.config.retain_run_logs:
        return
    if annotated is None or run_log_of(plan.volume_here, annotated) is None:
        return
    oldest = settings.now().timestamp() - KEPT_SECONDS
    remove = partial(_remove, plan.volume_here, annotated, oldest, own=succeeded)
    with suppress(OSError):
        async with asyncio.timeout(REMOVAL_TIMEOUT):
            await asyncio.get_running_loop().run_in_executor(_THREADS, remove)


def _remove(volume: str, path: str, oldest: float, *, own: bool) -> None:
    with _folder_of(volume, path) as (folder, name), os.scandir(folder) as entries:
        for entry in entries:
            old = entry.stat(follow_symlinks=False).st_mtime < oldest
            if own if is_of_run(entry.name, name) else old:
                os.unlink(entry.name, dir_fd=folder)


@contextmanager
def _folder_of(volume: str, path: str) -> Iterator[tuple[int, str]]:
    """The open folder of the run's files, and their name without the Pod's part."""
    whole = PurePosixPath(volume, path)
    with open_path(str(whole.parent), volume) as folder:
        yield folder, whole.name
