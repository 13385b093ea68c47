"""One call: an execution of a command about a run.

`RunOptions` are the options of the command. `RunCall` adds the objects that the call works with. Neither
changes during the call. `CallProgress` changes: if the call is interrupted, the reply is built from it.
"""

import os
from dataclasses import dataclass, field

from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.runs.disk import REAL_DISK, Disk
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.poller import Poller
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Connect, connect


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a call needs from its environment. Tests replace parts of it."""

    disk: Disk = REAL_DISK
    connect: Connect = connect
    settings: ProcessSettings = field(default_factory=lambda: ProcessSettings.read(os.environ))


@dataclass(frozen=True, slots=True)
class RunCall:
    """One call about the run `run_id`, which has a record."""

    state: State
    run_id: str
    options: RunOptions
    dependencies: Dependencies
    live: LiveView
    poller: Poller
    output: Output | None


async def ignore_log(_stream: str, _text: str) -> None:
    """An `onLog` that drops all lines, because the journal gets the same lines with their stream."""


@dataclass(slots=True)
class CallProgress:
    """What is known so far of the run that a call is about."""

    run_id: str | None = None
    embedded: bool = False
    state: State | None = None
