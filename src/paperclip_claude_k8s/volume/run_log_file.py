"""Read and remove the run log on the shared volume.

The relay in the Pod copies the agent's output to this file, from which gaps in the container's log are
filled. Agents can write to the volume, so no symbolic link on it is followed: by a link, an agent could make
this process read or remove any file.
"""

import asyncio
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import PurePosixPath

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.base.path_lengths import path_is_too_long
from paperclip_claude_k8s.base.threads import DaemonThreads
from paperclip_claude_k8s.plan.run_log import RUN_LOG_FOLDER, is_of_run, path_of_pod
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.volume.removal import discard, names_in, remove_older
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, KEPT_SECONDS, open_at, open_path

_THREADS = DaemonThreads(4)
"""Separate from the default executor: a volume that hangs would block its threads for other uses."""
REMOVAL_TIMEOUT = 10.0
"""Seconds that removing a run log may take: the run's result must not wait for a volume that hangs."""


class RunLogFile:
    """The run log that one Pod's relay writes."""

    def __init__(self, volume: str, path: str, pod_uid: str | None, limit: int) -> None:
        """`path`: the annotated path, into which the first characters of the Pod's uid are inserted.

        Without `pod_uid`, the run must have only one file. `limit`: bytes of the file that are read; 0: all.
        """
        self._limit = limit or sys.maxsize
        self._volume = volume
        self._path = path
        self._name = None if pod_uid is None else PurePosixPath(path_of_pod(path, pod_uid)).name

    async def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the agent's stdout; fewer at the end of the file. Raises `OSError`."""
        return await asyncio.get_running_loop().run_in_executor(_THREADS, self._read, start, stop)

    def _read(self, start: int, stop: int) -> bytes:
        with (
            _folder_of(self._volume, self._path) as (folder, run_name),
            open_at(folder, self._name or _only_file(folder, run_name), FILE_FLAGS) as file,
        ):
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            return os.pread(file, max(min(stop, self._limit) - start, 0), start)


def run_log_of(
    volume: str | None, annotated: str | None, pod_uid: str | None = None, limit: int = 0
) -> RunLogFile | None:
    """The run log of a Pod; None without a volume, or if the path in its Job's annotation is not valid.

    `limit`: the limit of the agent's output in bytes; 0: no limit.
    """
    if volume is None or annotated is None or path_is_too_long(annotated):
        return None
    parts = PurePosixPath(annotated).parts
    if parts[:1] != (RUN_LOG_FOLDER,) or len(parts) == 1 or ".." in parts or "\0" in annotated:
        return None
    return RunLogFile(volume, annotated, pod_uid, limit and limit + relay.ABOVE_LIMIT)


def _only_file(folder: int, run_name: str) -> str:
    names = [name for name in names_in(folder) if is_of_run(name, run_name)]
    if not names:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), run_name)
    if len(names) > 1:
        raise OSError(errno.EINVAL, f"{len(names)} Pods of the run have written a run log")
    return names[0]


async def remove_run_log(
    plan: RunPlan, annotated: str | None, settings: ProcessSettings, *, succeeded: bool
) -> None:
    """Remove the run logs of a successful run, and expired files in their folder. Errors are ignored.

    `annotated`: the path in the Job's annotation. (For an adopted Job, the path in `plan` is another one.)
    """
    if plan.volume_here is None or plan.config.retain_run_logs:
        return
    if annotated is None or run_log_of(plan.volume_here, annotated) is None:
        return
    oldest = settings.now().timestamp() - KEPT_SECONDS
    remove = partial(_remove, plan.volume_here, annotated, oldest, of_run=succeeded)
    with suppress(OSError):
        async with asyncio.timeout(REMOVAL_TIMEOUT):
            await asyncio.get_running_loop().run_in_executor(_THREADS, remove)


def _remove(volume: str, path: str, oldest: float, *, of_run: bool) -> None:
    """Remove the other runs' files that are older than `oldest`, and the run's files if `of_run`."""
    with _folder_of(volume, path) as (folder, run_name):
        names = {name for name in names_in(folder) if is_of_run(name, run_name)}
        for name in names if of_run else ():
            discard(folder, name)
        remove_older(folder, oldest, kept=names)


@contextmanager
def _folder_of(volume: str, path: str) -> Iterator[tuple[int, str]]:
    """The open folder of the run's files, and their annotated name, without the part of a Pod's uid."""
    whole = PurePosixPath(volume, path)
    with open_path(str(whole.parent), volume) as folder:
        yield folder, whole.name
