"""A program that has imported the package, and forks one process for each `claude-k8s` command of a test.

To import the package takes a second of CPU, and the tests run many hundred commands.
`forked_commands.py` starts this program, and describes how they talk to each other.
"""

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

MAX_REQUEST = 200_000
"""Largest number of bytes of a request."""
FDS = 4
"""Number of file descriptors of a request: stdin, stdout and stderr, and the socket for replies."""


def import_package() -> None:
    """Import what commands import."""
    package: Any = import_module("paperclip_claude_k8s.cli")
    for module in pkgutil.walk_packages(package.__path__, "paperclip_claude_k8s.cli."):
        import_module(module.name)
    import_module("paperclip_claude_k8s.devcluster")
    gc.freeze()  # so that a garbage collection in a forked process does not copy all pages of memory


def next_command(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork a process for each request.

    Returns the request in each forked process, and None in this one, when the tests have ended.
    """
    ends: dict[int, tuple[int, socket.socket]] = {}  # pidfd → process, and where its exit code is sent
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in ends:
                pid, replies = ends.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                _send(replies, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                replies.close()
                continue
            message, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST, FDS)
            if not message:
                return None
            pid = os.fork()
            if pid == 0:
                return json.loads(message), fds
            for fd in fds[:-1]:
                os.close(fd)
            replies = socket.socket(fileno=fds[-1])
            _send(replies, pid)
            pidfd = os.pidfd_open(pid)
            ends[pidfd] = (pid, replies)
            poll.register(pidfd, select.POLLIN)


def _send(replies: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody waits for this command any more
        replies.send(str(number).encode())


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Give this process what a new process of the command would have."""
    for number, fd in enumerate(fds[:-1]):
        os.dup2(fd, number)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)  # noqa: PTH208
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # as Python opens them in the locale "C"
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv[1:] = request["args"]


if __name__ == "__main__":
    import_package()
    command = next_command(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        become(*command)
        from paperclip_claude_k8s.__main__ import main

        main()
