"""The commands, their options and exit codes. Each command's work is imported when it is called."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.cli.app_runs import Dev, Image, Kubeconfig, Namespace, Settings, runs

app = typer.Typer(
    name="claude-k8s",
    help="Run Claude Code agents as Kubernetes Jobs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


app.add_typer(runs)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Run Claude Code agents as Kubernetes Jobs."""


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A captured stdout of the CLI, plain or gzipped.")],
    exit_code: Annotated[int | None, typer.Option(help="Exit code of its container; 0 if not given.")] = None,
    pod_state: Annotated[
        str | None,
        typer.Option(help='JSON: how its container ended, such as {"exitCode": 137, "reason": "OOMKilled"}.'),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No transcript on stderr.")] = False,
    resumed: Annotated[
        bool | None,
        typer.Option(
            "--resumed/--fresh",
            help="Whether the run went on with an earlier session; cost and some failures depend on it.",
        ),
    ] = None,
) -> None:
    """Print the transcript of a captured output, and the result a run would have had."""
    from paperclip_claude_k8s.cli import replay as work  # noqa: PLC0415

    raise typer.Exit(work.replay(work.Recording(file, exit_code, pod_state, quiet, resumed)))


@app.command()
def check(
    devcluster: Dev = False,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    image: Image = None,
    config: Settings = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also start a Job that runs `claude --version`, and remove it.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table on stderr.")] = False,
) -> None:
    """Would runs work here? A table on stderr, one JSON object on stdout; exit code 1 when they would not."""
    from paperclip_claude_k8s.cli.check import Question, check  # noqa: PLC0415

    question = Question(
        devcluster=devcluster,
        kubeconfig=kubeconfig,
        namespace=namespace,
        image=image,
        config=config,
        probe=probe,
        quiet=quiet,
    )
    raise typer.Exit(check(question))


@app.command()
def rbac(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where Jobs run.")],
    service_account: Annotated[
        str,
        typer.Option(
            "--service-account", "-s", help="The host's account; NAMESPACE:NAME if it is elsewhere."
        ),
    ] = "paperclip",
    network_policy: Annotated[
        bool, typer.Option("--network-policy", help="Also a NetworkPolicy for the agents' Pods.")
    ] = False,
) -> None:
    """Print the least a service account needs, as YAML for `kubectl apply -f -`."""
    from paperclip_claude_k8s.checks.role import Account, access_objects, to_yaml  # noqa: PLC0415

    account = Account.read(service_account, namespace)
    objects = access_objects(namespace, account, network_policy=network_policy)
    typer.echo(to_yaml(objects), nl=False)


@app.command(name="node-shim")
def node_shim(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the package; a new one, or one of ours.")
    ],
    python: Annotated[
        str, typer.Option(help="The interpreter the host starts; it needs this package.")
    ] = sys.executable,
) -> None:
    """Write the npm package through which the Paperclip server (Node) loads this adapter."""
    from paperclip_claude_k8s.cli import node_shim as work  # noqa: PLC0415

    raise typer.Exit(work.node_shim(out, python))
