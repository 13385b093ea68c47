"""Finds and kills the processes of Pods, including those that left the process group of their container.

A container's processes inherit the variable `MARK`, whose value is the folder of their Pod. A process that
clears its environment is not found. As a program, this file waits until the cluster's process has ended in
any way, and then kills the processes that remain of the cluster's Pods:

    python -I -S processes.py FOLDER [remove]

It imports nothing of this package, so that it starts quickly. `remove`: also remove the cluster's folder.
"""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

MARK = "DEVCLUSTER_POD"
ROUNDS = 50
"""Largest number of searches for processes: a process may start another while it is killed."""


def kill_marked(folder: Path) -> None:
    """Kill every process whose mark is `folder` or a path below it."""
    mark = f"\0{MARK}={folder}".encode()
    for _ in range(ROUNDS):
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        if not any([_kill_if_marked(pid, mark) for pid in pids]):  # noqa: C419  # a list: kills all of them
            return


def _kill_if_marked(pid: int, mark: bytes) -> bool:
    """Kill the process if it has the mark, and return whether it has.

    The descriptor ensures that no other process is killed that got the same pid in the meantime.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        environment = b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
        if mark + b"\0" not in environment and mark + b"/" not in environment:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def main() -> None:
    folder = Path(sys.argv[1])
    with suppress(OSError):
        sys.stdin.buffer.read()  # returns when the process at the other end of the pipe has ended
    kill_marked(folder / "pods")
    if "remove" in sys.argv[2:]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
