"""Reads files of the host server whose paths a config author chose: kubeconfigs, instructions, credentials.

* Only regular files: a FIFO or a device could block the read for ever or never end.
* The path may contain links, so the rules apply to the real path of the opened file. The caller may allow
  only some folders. Files below /proc, /sys and /dev are never read: they show the host's processes and
  devices.
* The size is limited before and while the file is read, since it may grow.
* `read_host_file` reads in a thread of its own, so that a network volume that hangs blocks neither the event
  loop nor the end of the process.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from paperclip_claude_k8s.base.path_lengths import PATH_EXCESS, path_is_too_long
from paperclip_claude_k8s.base.threads import call_in_thread, place_of

KERNEL_FOLDERS = ("/proc", "/sys", "/dev")
"""No file in them is ever read, whatever the caller allows."""
_KERNEL_FILE_SYSTEMS = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs"})
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


Allows: TypeAlias = Callable[[str], bool]
"""Whether a file may be read. The argument is its absolute path, with all links resolved."""


def anywhere(_: str) -> bool:
    """Allow every path; files of the kernel are refused all the same."""
    return True


class HostFileError(Exception):
    """A file of the host cannot or must not be read. The text says why, as a phrase without the path."""


class HostFileMissing(HostFileError):
    """There is no such file."""


class HostFileRefused(HostFileError):
    """The file must not be read because of where it is."""


class HostFileUnsuitable(HostFileError):
    """The path names no regular file, one with too many bytes, or is itself too long."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """The content of a file, and where it really is, all links resolved."""

    path: str
    content: bytes


async def read_host_file(path: str, *, limit: int, seconds: float, allows: Allows = anywhere) -> HostFile:
    """`read_host_file_now` in a thread, given up after `seconds`.

    Raises:
        HostFileError: as for `read_host_file_now`, and if the read does not end in time.
    """
    if path_is_too_long(path):
        raise HostFileUnsuitable(f"its path {PATH_EXCESS}")
    try:
        read = partial(read_host_file_now, path, limit=limit, allows=allows)
        return await call_in_thread(read, seconds, place_of(path))
    except TimeoutError:
        raise HostFileError(f"it could not be read within {seconds:g} s; its volume may hang") from None


def read_host_file_now(path: str, *, limit: int, allows: Allows = anywhere) -> HostFile:
    """Read a regular file of at most `limit` bytes; blocks the calling thread.

    `~` at the beginning of a path is the home of the user who runs the host server.

    Raises:
        HostFileError: it cannot be read; the subclasses name the reasons that a caller may tell apart.
    """
    try:
        # O_PATH opens nothing yet: opening a device may have an effect, such as arming a watchdog
        descriptor = os.open(os.path.expanduser(path), os.O_PATH | os.O_CLOEXEC)  # noqa: PTH111  # not a Path
    except FileNotFoundError:
        raise HostFileMissing("it does not exist") from None
    except OSError as error:
        raise HostFileError(error.strerror or str(error)) from None
    except ValueError:
        raise HostFileUnsuitable("the text is not a path") from None
    try:
        return _read_located(descriptor, limit, allows)
    except OSError as error:
        raise HostFileError(error.strerror or str(error)) from None
    finally:
        os.close(descriptor)


def _read_located(descriptor: int, limit: int, allows: Allows) -> HostFile:
    """Read a file that was opened with O_PATH. Later changes of its path have no effect on what is read."""
    self_link = f"/proc/self/fd/{descriptor}"
    real, status = str(Path(self_link).readlink()), os.fstat(descriptor)
    if _is_of_the_kernel(real, status):
        raise HostFileRefused(f"it is below {', '.join(KERNEL_FOLDERS)}; name a file elsewhere")
    if not allows(real):
        raise HostFileRefused("it is outside the folders that may be read")
    if not stat.S_ISREG(status.st_mode):
        raise HostFileUnsuitable("it is not a regular file")
    if status.st_size > limit:
        raise HostFileUnsuitable(_too_large(limit))
    with os.fdopen(os.open(self_link, _FLAGS), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise HostFileUnsuitable(_too_large(limit))
    return HostFile(real, content)


def _is_of_the_kernel(real: str, status: os.stat_result) -> bool:
    """Whether the file is below one of `KERNEL_FOLDERS`, or elsewhere on a file system of the kernel."""
    if any(f"{real}/".startswith(f"{folder}/") for folder in KERNEL_FOLDERS):
        return True
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    on_device = (line for line in mounts if line.split(" ", 3)[2] == device)
    return any(line.rpartition(" - ")[2].split(" ")[0] in _KERNEL_FILE_SYSTEMS for line in on_device)


def _too_large(limit: int) -> str:
    return f"it has more than {limit} bytes"
