"""One call: an execution of a command about a run.

`RunOptions` are the options of the command. `RunCall` adds the objects that the call works with. Neither
changes during the call. `CallProgress` does: if the call is interrupted, the reply is built from it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.runs.disk import REAL_DISK, Disk
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.poller import Poller
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Connect, connect

Mode = Literal["wait", "once", "submit"]
"""wait: stay until the run ends. once: check its status and return. submit: create its Job and return."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `run`; `query`, `spawn` and `cancel` have some of them."""

    prompt: str | None = None
    run_id: str | None = None
    submit_only: bool = False
    poll_once: bool = False
    poll_interval: float = 15.0
    """Seconds."""
    timeout: float | None = None
    """Seconds."""
    poll_schedule: str | None = None
    output: Path | None = None
    print_response: bool = False
    devcluster: bool = False
    claude: Path | None = None
    kubeconfig: Path | None = None
    kubeconfig_from_option: bool = False
    """The option was typed: it replaces the kubeconfig of a known run. The variable KUBECONFIG does not."""
    namespace: str | None = None
    image: str | None = None
    model: str | None = None
    agent: str = "cli"
    session: str | None = None
    config: Path | None = None
    quiet: bool = False
    expects_cancelled: bool = False
    """True for `cancel`: exit code 0 means that the run was cancelled."""

    @property
    def mode(self) -> Mode:
        return "submit" if self.submit_only else "once" if self.poll_once else "wait"

    @property
    def kubeconfig_override(self) -> str | None:
        """The kubeconfig to use instead of the one in the record; None to use that one."""
        return str(self.kubeconfig.absolute()) if self.kubeconfig_from_option and self.kubeconfig else None


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a call needs from its environment. Tests replace parts of it."""

    disk: Disk = REAL_DISK
    connect: Connect = connect
    settings: ProcessSettings = field(default_factory=lambda: ProcessSettings(env=os.environ))


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


@dataclass(slots=True)
class CallProgress:
    """What is known so far of the run that a call is about."""

    run_id: str | None = None
    embedded: bool = False
    state: State | None = None
