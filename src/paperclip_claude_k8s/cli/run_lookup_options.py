"""The options of commands about runs on a cluster, whoever started them: `jobs`, `logs`, `attach`, ..."""

from dataclasses import dataclass
from typing import Annotated

import typer

from paperclip_claude_k8s.cli.command_options import ClusterOptions, OutputFormat, Quiet, Times
from paperclip_claude_k8s.cli.shell_completion import complete_run

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Run id or name of a Job, or the beginning of one.", autocompletion=complete_run
    ),
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces, not in that of --namespace.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Only output from then on: 30s, 10m, 2h, or 2026-11-01T12:00:00Z."),
]
Tail = Annotated[int | None, typer.Option("--tail", help="Only the last so many lines.", min=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupOptions(ClusterOptions):
    """The options of a command about one run."""

    run: Run
    all_namespaces: AllNamespaces = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsOptions(ClusterOptions):
    all_namespaces: AllNamespaces = False
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="Only Jobs with these labels, as for kubectl: a=b,c!=d,e.")
    ] = ""
    output_format: OutputFormat = None
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and print each change.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions(LookupOptions):
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the run ends.")] = False
    rendered: Annotated[
        bool | None,
        typer.Option(
            "--rendered/--raw",
            help="Print a transcript, or the output byte for byte. Default: a transcript on a terminal only.",
        ),
    ] = None
    since: Since = None
    tail: Tail = None
    times: Times = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachOptions(LookupOptions):
    since: Since = None
    tail: Tail = None
    times: Times = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeOptions(LookupOptions):
    output_format: OutputFormat = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOptions(LookupOptions):
    output_format: OutputFormat = None
    timeout: Annotated[float, typer.Option(help="Seconds to wait until the run has ended.")] = 120.0
    quiet: Quiet = False
