"""The options of each command: one dataclass per command, whose fields are the options.

A field has the option's type, default and help. `takes_options` in `command_parameters.py` turns a function
whose parameter is such a dataclass into a typer command.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.shell_completion import (
    complete_context,
    complete_namespace,
    complete_recorded_run,
)

Mode = Literal["wait", "once", "submit"]
"""wait: stay until the run ends. once: check its status and return. submit: create its Job and return."""


def absolute_files(paths: str) -> str:
    """The files that a value of KUBECONFIG names, as absolute paths with `:` between them; "" for none."""
    files = (os.path.abspath(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path)  # noqa: PTH100, PTH111
    return os.pathsep.join(files)


Devcluster = Annotated[
    bool,
    typer.Option(
        "--devcluster", help="Use the running development cluster, or else one inside this process."
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", envvar="KUBECONFIG", help="Kubeconfig of the cluster. Default: ~/.kube/config."
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: its current context.",
        autocompletion=complete_context,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace of the Jobs.", autocompletion=complete_namespace),
]
Image = Annotated[str | None, typer.Option("--image", help="Container image with the Claude CLI.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="File with more settings of the adapter, JSON or YAML.")
]
Claude = Annotated[
    Path | None, typer.Option("--claude", help="A real Claude CLI for --devcluster, not the stand-in.")
]
Times = Annotated[
    bool,
    typer.Option("--timestamps", "--times", help="Show the time (UTC) of each item of the transcript."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option("--format", "-o", help="Format on stdout. Default: text on a terminal, else json."),
]
"""Option of every command whose reply is an object."""
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a --config with unknown settings."),
]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `run`; `query`, `spawn` and `cancel` have some of them."""

    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", help="Prompt for the agent; - reads stdin. Default: a pipe on stdin."),
    ] = None
    prompt_file: Annotated[
        Path | None, typer.Option(help="File with the prompt for the agent; - is stdin.")
    ] = None
    run_id: Annotated[
        str | None,
        typer.Option(
            help="Id of a run that was started before: continue it.", autocompletion=complete_recorded_run
        ),
    ] = None
    submit_only: Annotated[
        bool, typer.Option("--submit-only", help="Create the Job, print the run id and exit.")
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the Job and the Secret, without secrets, and create nothing."),
    ] = False
    poll_once: Annotated[
        bool,
        typer.Option("--poll-once", help="Check once and exit; exit code 2 means that the run continues."),
    ] = False
    poll_interval: Annotated[float, typer.Option(help="Seconds between two polls.")] = 15.0
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds to wait; the Job continues after it. Default: 600; none with --poll-schedule."
        ),
    ] = None
    poll_schedule: Annotated[
        str | None,
        typer.Option(
            help="Milliseconds between polls: 5000,10000,...; more are added until they sum to 1 hour."
        ),
    ] = None
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for result.json, transcript.ndjson and log.")
    ] = None
    output_format: OutputFormat = None
    print_response: Annotated[
        bool, typer.Option("--print-response", help="Add the agent's final text as `response`.")
    ] = False
    devcluster: Devcluster = False
    claude: Claude = None
    kubeconfig: Kubeconfig = None
    context: Context = None
    namespace: Namespace = None
    image: Image = None
    model: Annotated[str | None, typer.Option(help="Model to use.")] = None
    agent: Annotated[
        str, typer.Option(help="Agent id. An agent has one run at a time; another id runs beside it.")
    ] = "cli"
    session: Annotated[str | None, typer.Option(help="Id of the session to resume.")] = None
    config: Config = None
    strict: Strict = False
    quiet: Quiet = False
    times: Times = False
    kubeconfig_from_option: bool = False
    """Whether `--kubeconfig` was typed. Unlike KUBECONFIG, it replaces the kubeconfig in a run's record."""
    expects_cancelled: bool = False
    """True for `cancel`: exit code 0 means that the run was cancelled."""

    @property
    def mode(self) -> Mode:
        return "submit" if self.submit_only else "once" if self.poll_once else "wait"

    @property
    def kubeconfig_override(self) -> str | None:
        """The kubeconfig to use instead of the one in the run's record; None to use that of the record."""
        given = str(self.kubeconfig or "") if self.kubeconfig_from_option else ""
        return absolute_files(given) or None


QUERY_OPTIONS = (
    "run_id",
    "poll_once",
    "poll_interval",
    "timeout",
    "poll_schedule",
    "output",
    "output_format",
    "print_response",
    "kubeconfig",
    "context",
    "quiet",
    "times",
)
"""Fields of `RunOptions` that are options of `query`."""
SPAWN_OPTIONS = (
    "prompt",
    "prompt_file",
    "output_format",
    "strict",
    "devcluster",
    "kubeconfig",
    "context",
    "namespace",
    "image",
    "model",
    "agent",
    "session",
    "config",
)
"""Fields of `RunOptions` that are options of `spawn`."""


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """Which of the records in the state folder are listed."""

    limit: Annotated[int, typer.Option(help="Number of runs, newest first.", min=1)] = 20
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None
    status: Annotated[
        Literal["succeeded", "failed", "cancelled", "polling"] | None,
        typer.Option(help="Only runs with this status; polling: not ended."),
    ] = None
    since: Annotated[
        str | None, typer.Option(help="Only runs that were started since then: 12h, 7d, 2026-11-01.")
    ] = None
    grep: Annotated[
        str | None, typer.Option(help="Only runs whose prompt has this text in its first line.")
    ] = None
    output_format: OutputFormat = None


@dataclass(frozen=True, slots=True)
class CheckOptions:
    devcluster: Devcluster = False
    kubeconfig: Kubeconfig = None
    context: Context = None
    namespace: Namespace = None
    image: Image = None
    config: Config = None
    probe: Annotated[
        bool, typer.Option("--probe", help="Also run `claude --version` in a Job, and delete the Job.")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no table on stderr.")] = False
    output_format: OutputFormat = None
    kubeconfig_from_option: bool = False
    """Whether `--kubeconfig` was typed. False if the value comes from KUBECONFIG."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The options that name a cluster and a namespace."""

    devcluster: Devcluster = False
    kubeconfig: Kubeconfig = None
    context: Context = None
    namespace: Namespace = None
    kubeconfig_from_option: bool = False


@dataclass(frozen=True, slots=True)
class StatsOptions(ClusterOptions):
    by: Annotated[Literal["agent", "day", "model", "code"], typer.Option(help="What the rows are.")] = "agent"
    since: Annotated[
        str | None, typer.Option(help="Only runs that ended since then: 12h, 7d, 2026-11-01.")
    ] = None
    output: Annotated[
        Literal["text", "json", "yaml", "csv"] | None,
        typer.Option(
            "--format", "--output", "-o", help="Format on stdout. Default: text on a terminal, else json."
        ),
    ] = None
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Read the retained Jobs of a namespace, not the records here.")
    ] = False


@dataclass(frozen=True, slots=True)
class RecoverOptions:
    """The options that name a cluster replace those in the agents' settings."""

    server: Annotated[
        str | None, typer.Option("--server", help="URL of the Paperclip server. Default: PAPERCLIP_API_URL.")
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the held tasks and the state of their Jobs.")
    ] = False
    release_absent: Annotated[
        bool,
        typer.Option(
            "--release-absent",
            help="Also release tasks whose Job is `not_found`: you know that it is nowhere else.",
        ),
    ] = False
    kubeconfig: Kubeconfig = None
    context: Context = None
    namespace: Namespace = None
    kubeconfig_from_option: bool = False


@dataclass(frozen=True, slots=True)
class VolumesOptions(ClusterOptions):
    """The options of `volumes`, which name a cluster."""

    output_format: OutputFormat = None


@dataclass(frozen=True, slots=True)
class PruneOptions(VolumesOptions):
    unused_days: Annotated[
        float, typer.Option("--unused-days", help="Remove what no run has used for so many days.", min=1)
    ] = 30.0
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Recorded output of one run, and how its container ended."""

    files: Annotated[
        list[Path],
        typer.Argument(
            help="Stdout of the Claude CLI, a container's log or a host's log, plain or gzipped; - is stdin. "
            "Several files are parts of one output."
        ),
    ]
    dedup: Annotated[
        bool, typer.Option("--dedup", help="Ignore events that were read before: the files overlap.")
    ] = False
    exit_code: Annotated[int | None, typer.Option(help="Exit code of the container; 0 by default.")] = None
    pod_state: Annotated[
        str | None,
        typer.Option(help='JSON: how the container ended, such as {"exitCode": 137, "reason": "OOMKilled"}.'),
    ] = None
    """JSON object with any of exitCode, reason, message, signal, deleted (boolean), disrupted (a reason)."""
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no transcript on stderr.")] = False
    times: Times = False
    resumed: Annotated[
        bool | None,
        typer.Option(
            "--resumed/--fresh",
            help="Whether the run resumed an earlier session. The cost and some failures depend on it.",
        ),
    ] = None
    """None if unknown."""
    output_format: OutputFormat = None


@dataclass(frozen=True, slots=True)
class ReportOptions:
    source: Annotated[
        str, typer.Argument(metavar="RUN|FILE", help="Id of a run, or a file with the agent's stdout.")
    ]
    html: Annotated[bool, typer.Option("--html", help="One page without other files; else text.")] = False
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; stdout by default.")
    ] = None
