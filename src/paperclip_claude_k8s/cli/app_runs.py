"""The commands about runs: `run` and all that goes on with one."""

from pathlib import Path
from typing import Annotated

import typer

runs = typer.Typer()
"""Part of the whole, without a name of its own."""

Dev = Annotated[
    bool, typer.Option("--devcluster", help="Use the development cluster, embedded if none is up.")
]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", envvar="KUBECONFIG", help="The cluster to use.")
]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Where Jobs run.")]
Image = Annotated[str | None, typer.Option("--image", help="Image with the Claude CLI in it.")]
Settings = Annotated[
    Path | None, typer.Option("--config", help="JSON file with further settings of the adapter.")
]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="What the agent is asked; - reads stdin.")]
Model = Annotated[str | None, typer.Option("--model", help="Model to ask for.")]
Agent = Annotated[str, typer.Option("--agent", help="Agent id; one run per agent at a time.")]
Session = Annotated[str | None, typer.Option("--session", help="Session id to resume.")]
Claude = Annotated[
    Path | None, typer.Option("--claude", help="A real Claude CLI for --devcluster instead of the stand-in.")
]
Once = Annotated[bool, typer.Option("--poll-once", help="One look: exit code 2 means it still runs.")]
Interval = Annotated[float, typer.Option("--poll-interval", help="Seconds between looks.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", help="Seconds to wait; then the Job goes on alone. 600, or none with --poll-schedule."
    ),
]
PollSchedule = Annotated[
    str | None,
    typer.Option("--poll-schedule", help="Milliseconds between looks: 5000,10000,...; extended to an hour."),
]
Out = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder for result.json, transcript.ndjson and log.")
]
Response = Annotated[bool, typer.Option("--print-response", help="Add the agent's answer as `response`.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]
RunId = Annotated[str, typer.Option("--run-id", help="A run that was started before.")]


@runs.command()
def run(
    ctx: typer.Context,
    prompt: Prompt = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Go on with this run instead.")] = None,
    submit_only: Annotated[
        bool, typer.Option("--submit-only", help="Print the run id and leave; the Job goes on.")
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
    config: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Run one agent to its end: transcript on stderr, one JSON object on stdout.

    Exit code 0: it succeeded. 1: it failed, or this call did. 2: it still runs (--poll-once).
    """
    from paperclip_claude_k8s.cli import run_command as work  # noqa: PLC0415

    wish = work.Wish(
        prompt=_text(prompt),
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
        kubeconfig_given=_is_typed(ctx, "kubeconfig"),
        namespace=namespace,
        image=image,
        model=model,
        agent=agent,
        session=session,
        config=config,
        quiet=quiet,
    )
    raise typer.Exit(work.run(wish))


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
    """Go on waiting for a run: the same as `run --run-id`. Never starts a second one."""
    from paperclip_claude_k8s.cli import run_command as work  # noqa: PLC0415

    wish = work.Wish(
        run_id=run_id,
        poll_once=poll_once,
        poll_interval=poll_interval,
        timeout=timeout,
        poll_schedule=poll_schedule,
        output=output,
        print_response=print_response,
        kubeconfig=kubeconfig,
        kubeconfig_given=_is_typed(ctx, "kubeconfig"),
        quiet=quiet,
    )
    raise typer.Exit(work.run(wish))


@runs.command(name="last-run")
def last_run() -> None:
    """The newest run that was started from here, as one JSON object."""
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    raise typer.Exit(run_history.last_run())


@runs.command()
def history(limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20) -> None:
    """The runs that were started from here, as one JSON object."""
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
    config: Settings = None,
) -> None:
    """Print with what an agent host starts this run in the background; however often, it is one run."""
    from paperclip_claude_k8s.cli.run_command import Wish  # noqa: PLC0415

    wish = Wish(
        prompt=_text(prompt),
        devcluster=devcluster,
        kubeconfig=kubeconfig,
        namespace=namespace,
        image=image,
        model=model,
        agent=agent,
        session=session,
        config=config,
    )
    from paperclip_claude_k8s.cli import run_history  # noqa: PLC0415

    raise typer.Exit(run_history.spawn(wish))


@runs.command()
def cancel(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(help="A run that was started from here.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end.")] = 120.0,
    kubeconfig: Kubeconfig = None,
    quiet: Quiet = False,
) -> None:
    """End a run: the agent gets SIGTERM, and what it had said is kept. Exit code 0 once it is cancelled."""
    from paperclip_claude_k8s.cli import jobs as work  # noqa: PLC0415

    given = kubeconfig if _is_typed(ctx, "kubeconfig") else None
    raise typer.Exit(work.cancel(run_id, timeout, given, quiet=quiet))


@runs.command()
def jobs(
    devcluster: Dev = False,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
) -> None:
    """The adapter's Jobs in a namespace, whoever started them: a table for people, one JSON object."""
    from paperclip_claude_k8s.cli import jobs as work  # noqa: PLC0415

    raise typer.Exit(work.jobs(kubeconfig, namespace, devcluster=devcluster))


@runs.command()
def logs(
    run_id: Annotated[str, typer.Argument(help="A run that was started from here.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
) -> None:
    """Print the agent's output byte for byte, as far as it is known; never touches the run."""
    from paperclip_claude_k8s.cli import logs as work  # noqa: PLC0415

    raise typer.Exit(work.logs(run_id, follow=follow))


cluster_app = typer.Typer(help="A development cluster that outlives this shell.", no_args_is_help=True)
runs.add_typer(cluster_app, name="devcluster")


@cluster_app.command(name="up")
def devcluster_up(claude: Claude = None) -> None:
    """Start it unless it runs; `--devcluster` uses it from then on."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.up(claude))


@cluster_app.command(name="down")
def devcluster_down() -> None:
    """End it, with all its Pods and everything in it."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.down())


@cluster_app.command(name="status")
def devcluster_status() -> None:
    """Exit code 0: it is up. 1: it is not."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.status())


@cluster_app.command(name="serve", hidden=True)
def devcluster_serve(claude: Claude = None) -> None:
    """Be the cluster; what `up` starts in the background."""
    from paperclip_claude_k8s.cli import devcluster_commands as work  # noqa: PLC0415

    raise typer.Exit(work.serve(claude))


def _text(prompt: str | None) -> str | None:
    return typer.get_text_stream("stdin").read() if prompt == "-" else prompt


def _is_typed(ctx: typer.Context, name: str) -> bool:
    """On the command line, not by the environment."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
