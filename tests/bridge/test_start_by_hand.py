"""The bridge's program prints how it is started if a person starts it in a shell."""

import subprocess
import sys

import pytest

from paperclip_claude_k8s.bridge.__main__ import EXIT_USAGE, HOW_TO_START


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [([], subprocess.DEVNULL), (["--help"], subprocess.DEVNULL), (["--help"], subprocess.PIPE)],
)
def test_bridge_started_without_a_host_prints_how_to_start_it(arguments: list[str], stdin: int) -> None:
    command = [sys.executable, "-m", "paperclip_claude_k8s.bridge", *arguments]
    ended = subprocess.run(command, stdin=stdin, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (EXIT_USAGE, b"")
    assert ended.stderr.decode() == f"{HOW_TO_START}\n"
