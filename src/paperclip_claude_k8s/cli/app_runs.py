"""The commands about runs and `devcluster`, and the options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

runs = typer.Typer()
"""Added to the app without a name: its commands are top-level commands."""

Dev = Annotated[
    bool,
    typer.Option(
        "--devcluster", help="Use the running development cluster, or else one inside this process."
    ),
]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", envvar="KUBECONFIG", help="Kubeconfig of the cluster.")
]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the Jobs.")]
Image = Annotated[str | None, typer.Option("--image", help="Container image with the Claude CLI.")]
Config = Annotated[Path | None, typer.Option("--config", help="JSON file with more settings of the adapter.")]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="Prompt for the agent; - reads stdin.")]
Model = Annotated[str | None, typer.Option("--model", help="Model to use.")]
Agent = Annotated[str, typer.Option("--agent", help="Agent id. An agent has one run at a time.")]
Session = Annotated[str | None, typer.Option("--session", help="Id of the session to resume.")]
Claude = Annotated[
    Path | None, typer.Option("--claude", help="A real Claude CLI for --devcluster, not the stand-in.")
]
Once = Annotated[
    bool, typer.Option("--poll-once", help="Check once and exit; exit code 2 means that the run continues.")
]
Interval = Annotated[float, typer.Option("--poll-interval", help="Seconds between two polls.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Seconds to wait; the Job continues after it. Default: 600; none with --poll-schedule.",
    ),
]
PollSchedule = Annotated[
    str | None,
    typer.Option("--poll-schedule", help="Milliseconds between polls: 5000,10000,...; extended to 1 hour."),
]
Out = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder for result.json, transcript.ndjson and log.")
]
Response = Annotated[bool, typer.Option("--print-response", help="Add the agent's final text as `response`.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.")]
RunId = Annotated[str, typer.Option("--run-id", help="Id of a run that was started before.")]


@runs.command()
def run(
    ctx: typer.Context,
    prompt: Prompt = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Continue this run instead.")] = None,
    submit_only: Annotated[
        bool, typer.Option("--submit-only", help="Create the Job, print the run id and exit.")
    ] = False,
    poll_once: Once = False,
    poll_interval: Interval = 15.0,
    timeout: Timeout = None,
    poll_schedule: PollSchedule = None,
    output: Out = None,
    print_response: Response = False,
    devcluster: Dev = False,
    claude: Claude = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    image: Image = None,
    model: Model = None,
    agent: Agent = "cli",
    session: Session = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Run one agent until it ends: transcript on stderr, one JSON object on stdout.

    Exit code 0: the run succeeded. 1: the run or this command failed. 2: the run continues (--poll-once).
    """
    from paperclip_claude_k8s.cli import run_command as work  # noqa: PLC0415
    from paperclip_claude_k8s.cli.runs.call import RunOptions  # noqa: PLC0415

    options = RunOptions(
        prompt=_read_prompt(prompt),
        run_id=run_id,
        submit_only=submit_only,
        poll_once=poll_once,
        poll_interval=poll_interval,
        timeout=timeout,
        poll_schedule=poll_schedule,
        output=output,
        print_response=print_response,
        devcluster=devcluster,
        claude=claude,
        kubeconfig=kubeconfig,
        kubeconfig_from_option=_is_typed(ctx, "kubeconfig"),
        namespace=namespace,
        image=image,
        model=model,
        agent=agent,
        session=session,
        config=config,
        quiet=quiet,
    )
    raise typer.Exit(work.run(options))


@runs.command()
def query(
    ctx: typer.Context,
    run_id: RunId,
    poll_once: Once = False,
    poll_interval: Interval = 15.0,
    timeout: Timeout = None,
    poll_schedule: PollSchedule = None,
    output: Out = None,
    print_response: Response = False,
    kubeconfig: Kubeconfig = None,
    quiet: Quiet = False,
) -> None:
    """Continue waiting for a run, as `run --run-id` does. Never starts a second run."""
    from paperclip_claude_k8s.cli import run_command as work  # noqa: PLC0415
    from paperclip_claude_k8s.cli.runs.call import RunOptions  # noqa: PLC0415

    options = RunOptions(
        run_id=run_id,
        poll_once=poll_once,
        poll_interval=poll_interval,
        timeout=timeout,
        poll_schedule=poll_schedule,
        output=output,
        print_response=print_response,
        kubeconfig=kubeconfig,
        kubeconfig_from_option=_is_typed(ctx, "kubeconfig"),
        quiet=quiet,
    )
    raise typer.Exit(work.run(options))


@runs.command(name="last-run")
def last_run() -> None:
    """Print the newest run of this user as one JSON object."""
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    raise typer.Exit(run_history.last_run())


@runs.command()
def history(limit: Annotated[int, typer.Option(help="Number of runs, newest first.", min=1)] = 20) -> None:
    """Print the runs of this user as one JSON object."""
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    raise typer.Exit(run_history.history(limit))


@runs.command()
def spawn(
    prompt: Prompt = None,
    devcluster: Dev = False,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    image: Image = None,
    model: Model = None,
    agent: Agent = "cli",
    session: Session = None,
    config: Config = None,
) -> None:
    """Print the command that an agent host should run in the background.

    Repeating that command never starts a second run.
    """
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415
    from paperclip_claude_k8s.cli.runs.call import RunOptions  # noqa: PLC0415

    options = RunOptions(
        prompt=_read_prompt(prompt),
        devcluster=devcluster,
        kubeconfig=kubeconfig,
        namespace=namespace,
        image=image,
        model=model,
        agent=agent,
        session=session,
        config=config,
    )
    raise typer.Exit(run_history.spawn(options))


@runs.command()
def cancel(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait until the run has ended.")] = 120.0,
    kubeconfig: Kubeconfig = None,
    quiet: Quiet = False,
) -> None:
    """Cancel a run: the agent gets SIGTERM, and its output is kept. Exit code 0 if the run was cancelled."""
    from paperclip_claude_k8s.cli import jobs as work  # noqa: PLC0415

    override = kubeconfig if _is_typed(ctx, "kubeconfig") else None
    raise typer.Exit(work.cancel(run_id, timeout, override, quiet=quiet))


@runs.command()
def jobs(
    devcluster: Dev = False,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
) -> None:
    """List all Jobs of the adapter in a namespace: a table on stderr, one JSON object on stdout."""
    from paperclip_claude_k8s.cli import jobs as work  # noqa: PLC0415

    raise typer.Exit(work.jobs(kubeconfig, namespace, devcluster=devcluster))


@runs.command()
def logs(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the run ends.")] = False,
) -> None:
    """Print the agent's stdout so far, byte for byte. Never affects the run."""
    from paperclip_claude_k8s.cli import logs as work  # noqa: PLC0415

    raise typer.Exit(work.logs(run_id, follow=follow))


cluster_app = typer.Typer(
    help="A development cluster that keeps running in the background.", no_args_is_help=True
)
runs.add_typer(cluster_app, name="devcluster")


@cluster_app.command(name="up")
def devcluster_up(claude: Claude = None) -> None:
    """Start the cluster unless it is running; `--devcluster` uses it from then on."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.up(claude))


@cluster_app.command(name="down")
def devcluster_down() -> None:
    """Stop the cluster and delete everything in it."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.down())


@cluster_app.command(name="status")
def devcluster_status() -> None:
    """Print whether the cluster is up. Exit code 0: up. 1: down."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.status())


@cluster_app.command(name="serve", hidden=True)
def devcluster_serve(claude: Claude = None) -> None:
    """Run the cluster in the foreground (used by `up`)."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.serve(claude))


def _read_prompt(prompt: str | None) -> str | None:
    return typer.get_text_stream("stdin").read() if prompt == "-" else prompt


def _is_typed(ctx: typer.Context, name: str) -> bool:
    """Whether the option is given on the command line, not by its environment variable."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
