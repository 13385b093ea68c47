"""The commands of `claude-k8s`. Calling a command imports its implementation, so that help stays fast."""

from typing import Annotated

import typer

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.cli.command_options import (
    QUERY_OPTIONS,
    SPAWN_OPTIONS,
    CheckOptions,
    Claude,
    HistoryOptions,
    OutputFormat,
    PruneOptions,
    RecoverOptions,
    ReplayOptions,
    ReportOptions,
    RunOptions,
    StatsOptions,
    VolumesOptions,
)
from paperclip_claude_k8s.cli.command_parameters import takes_options
from paperclip_claude_k8s.cli.log_setup import LogFormat, configure_logging
from paperclip_claude_k8s.cli.run_lookup_options import (
    AttachOptions,
    CancelOptions,
    DescribeOptions,
    JobsOptions,
    LogsOptions,
)
from paperclip_claude_k8s.cli.setup_commands import setup_app

app = typer.Typer(
    name="claude-k8s",
    help="Run Claude Code agents as Kubernetes Jobs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
devcluster_app = typer.Typer(
    help="A development cluster that keeps running in the background.", no_args_is_help=True
)
volumes_app = typer.Typer(
    help="The claims with agents' sessions that `sessionVolume` auto has created.", no_args_is_help=True
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001  # its callback prints it
        bool,
        typer.Option("--version", "-V", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Log to stderr: -v steps of runs, -vv everything."),
    ] = 0,
    log_format: Annotated[LogFormat, typer.Option(help="Format of the log records.")] = LogFormat.TEXT,
) -> None:
    """Run Claude Code agents as Kubernetes Jobs."""
    configure_logging(verbose, log_format)


@app.command()
@takes_options(RunOptions)
def run(options: RunOptions) -> int:
    """Run one agent until it ends: transcript on stderr, one JSON object on stdout.

    Exit code 0: the run succeeded. 1: the run or this command failed. 2: the run continues (--poll-once).
    """
    from paperclip_claude_k8s.cli import run_command, run_dry_run  # noqa: PLC0415

    return run_dry_run.dry_run(options) if options.dry_run else run_command.run(options)


@app.command()
@takes_options(RunOptions, QUERY_OPTIONS, required=("run_id",))
def query(options: RunOptions) -> int:
    """Continue waiting for a run, as `run --run-id` does. Never starts a second run."""
    from paperclip_claude_k8s.cli import run_command  # noqa: PLC0415

    return run_command.run(options)


@app.command(name="last-run")
def last_run(output_format: OutputFormat = None) -> None:
    """Print the newest run of this user."""
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    raise typer.Exit(run_history.last_run(output_format))


@app.command()
@takes_options(HistoryOptions)
def history(options: HistoryOptions) -> int:
    """List the runs of this user, newest first."""
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    return run_history.history(options)


@app.command()
@takes_options(RunOptions, SPAWN_OPTIONS)
def spawn(options: RunOptions) -> int:
    """Print the command that an agent host should run in the background.

    Repeating that command never starts a second run.
    """
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    return run_history.spawn(options)


@app.command()
@takes_options(CancelOptions)
def cancel(options: CancelOptions) -> int:
    """Cancel any run of the adapter: the agent gets SIGTERM. Exit code 0 if the run was cancelled.

    The process that works on the run, such as a host, reports it as cancelled by you.
    """
    from paperclip_claude_k8s.cli import cancel_command  # noqa: PLC0415

    return cancel_command.cancel(options)


@app.command()
@takes_options(JobsOptions)
def jobs(options: JobsOptions) -> int:
    """List the runs on a cluster, whoever started them."""
    from paperclip_claude_k8s.cli import jobs as implementation  # noqa: PLC0415

    return implementation.jobs(options)


@app.command()
@takes_options(DescribeOptions)
def describe(options: DescribeOptions) -> int:
    """Show one run on one page: its process, phases, Pod, Events, usage and end, and the next commands."""
    from paperclip_claude_k8s.cli import describe_command  # noqa: PLC0415

    return describe_command.describe(options)


@app.command()
@takes_options(AttachOptions)
def attach(options: AttachOptions) -> int:
    """Watch any run live: its transcript and its current activity. Ctrl-C does not affect the run.

    Exit code 0: the run succeeded.
    """
    from paperclip_claude_k8s.cli import attach_command  # noqa: PLC0415

    return attach_command.attach(options)


@app.command()
@takes_options(StatsOptions)
def stats(options: StatsOptions) -> int:
    """Print tokens and cost by agent, day, model or code, as one JSON object or as CSV."""
    from paperclip_claude_k8s.cli import stats_command  # noqa: PLC0415

    return stats_command.stats(options)


@app.command()
def metrics(
    port: Annotated[int, typer.Option(help="Port on loopback.", min=1, max=65535)] = 9464,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics, and do not serve them.")] = False,
) -> None:
    """Serve the ended runs of this user as metrics for Prometheus, on http://127.0.0.1:PORT/metrics."""
    from paperclip_claude_k8s.cli import metrics_command  # noqa: PLC0415

    raise typer.Exit(metrics_command.metrics(port, once=once))


@app.command()
@takes_options(RecoverOptions)
def recover(options: RecoverOptions) -> int:
    """Let a Paperclip server that was killed go on with the tasks that it holds.

    This command reads from the cluster how the runs of these tasks ended, reports the findings to the server,
    and prints one JSON object on stdout.
    """
    from paperclip_claude_k8s.cli import recover_command  # noqa: PLC0415

    return recover_command.recover(options)


app.add_typer(volumes_app, name="volumes")


@volumes_app.command(name="list")
@takes_options(VolumesOptions)
def list_volumes(options: VolumesOptions) -> int:
    """List these claims and their use: a table on stderr, one JSON object on stdout."""
    from paperclip_claude_k8s.cli import volumes_command as implementation  # noqa: PLC0415

    return implementation.volumes(options)


@volumes_app.command()
@takes_options(PruneOptions)
def prune(options: PruneOptions) -> int:
    """Remove these claims, with the sessions on them, if no run has used them for some days."""
    from paperclip_claude_k8s.cli import volumes_command as implementation  # noqa: PLC0415

    return implementation.prune(options)


@app.command()
@takes_options(LogsOptions)
def logs(options: LogsOptions) -> int:
    """Print the output of any run so far: a transcript on a terminal, byte for byte to a file or pipe.

    The run is not affected.
    """
    from paperclip_claude_k8s.cli import logs as implementation  # noqa: PLC0415

    return implementation.logs(options)


app.add_typer(devcluster_app, name="devcluster")


@devcluster_app.command()
def up(claude: Claude = None) -> None:
    """Start the cluster unless it is running; `--devcluster` uses it from then on."""
    from paperclip_claude_k8s.cli import devcluster_commands  # noqa: PLC0415

    raise typer.Exit(devcluster_commands.up(claude))


@devcluster_app.command()
def down() -> None:
    """Stop the cluster and delete everything in it."""
    from paperclip_claude_k8s.cli import devcluster_commands  # noqa: PLC0415

    raise typer.Exit(devcluster_commands.down())


@devcluster_app.command()
def status() -> None:
    """Print whether the cluster is up. Exit code 0: up. 1: down."""
    from paperclip_claude_k8s.cli import devcluster_commands  # noqa: PLC0415

    raise typer.Exit(devcluster_commands.status())


@devcluster_app.command(hidden=True)
def serve(claude: Claude = None) -> None:
    """Run the cluster in the foreground (used by `up`)."""
    from paperclip_claude_k8s.cli import devcluster_commands  # noqa: PLC0415

    raise typer.Exit(devcluster_commands.serve(claude))


@app.command()
@takes_options(ReplayOptions)
def replay(options: ReplayOptions) -> int:
    """Print the transcript of a captured output, and the result that the run would have had."""
    from paperclip_claude_k8s.cli.replay_command import replay  # noqa: PLC0415

    return replay(options)


@app.command()
@takes_options(ReportOptions)
def report(options: ReportOptions) -> int:
    """Print header and transcript of a run, or of captured output: as text, or as one HTML page."""
    from paperclip_claude_k8s.cli.report import report  # noqa: PLC0415

    return report(options)


@app.command()
@takes_options(CheckOptions)
def check(options: CheckOptions) -> int:
    """Test whether runs would work: table on stderr, JSON object on stdout. Exit code 1: they would not."""
    from paperclip_claude_k8s.cli.check import check  # noqa: PLC0415

    return check(options)


app.add_typer(setup_app)
