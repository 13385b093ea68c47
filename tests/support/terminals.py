"""`claude-k8s` commands on a pseudo-terminal of a given size."""

import fcntl
import os
import pty
import struct
import sys
import termios

from tests.support.cli_commands import SOURCE


def on_a_terminal(*args: str, env: dict[str, str], width: int = 80, height: int = 24) -> bytes:
    """Run a command whose stdout and stderr are a terminal; return what it writes there."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": SOURCE, "TERM": "xterm", **env}
        os.execve(sys.executable, [sys.executable, "-m", "paperclip_claude_k8s", *args], environment)  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    written = b""
    try:
        while chunk := os.read(terminal, 65536):
            written += chunk
    except OSError:  # the command has closed the terminal
        pass
    os.close(terminal)
    os.waitpid(pid, 0)
    return written.replace(b"\r\n", b"\n")
