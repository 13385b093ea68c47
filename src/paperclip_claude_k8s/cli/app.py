"""The commands and their options. The implementation of a command is imported when it is called."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.cli.app_runs import Config, Dev, Image, Kubeconfig, Namespace, runs

app = typer.Typer(
    name="claude-k8s",
    help="Run Claude Code agents as Kubernetes Jobs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(__version__)
        raise typer.Exit


app.add_typer(runs)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Run Claude Code agents as Kubernetes Jobs."""


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Captured stdout of the Claude CLI, plain or gzipped.")],
    exit_code: Annotated[int | None, typer.Option(help="Exit code of the container; 0 by default.")] = None,
    pod_state: Annotated[
        str | None,
        typer.Option(help='JSON: how the container ended, such as {"exitCode": 137, "reason": "OOMKilled"}.'),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no transcript on stderr.")] = False,
    resumed: Annotated[
        bool | None,
        typer.Option(
            "--resumed/--fresh",
            help="Whether the run resumed an earlier session. The cost and some failures depend on it.",
        ),
    ] = None,
) -> None:
    """Print the transcript of a captured output, and the result that the run would have had."""
    from paperclip_claude_k8s.cli import replay as work  # noqa: PLC0415

    raise typer.Exit(work.replay(work.Recording(file, exit_code, pod_state, quiet, resumed)))


@app.command()
def check(
    devcluster: Dev = False,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    image: Image = None,
    config: Config = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also run `claude --version` in a Job, and delete the Job.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no table on stderr.")] = False,
) -> None:
    """Test whether runs would work: a table on stderr, a JSON object on stdout. Exit code 1 if not."""
    from paperclip_claude_k8s.cli.check import CheckOptions, check  # noqa: PLC0415

    options = CheckOptions(
        devcluster=devcluster,
        kubeconfig=kubeconfig,
        namespace=namespace,
        image=image,
        config=config,
        probe=probe,
        quiet=quiet,
    )
    raise typer.Exit(check(options))


@app.command()
def rbac(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the Jobs.")],
    service_account: Annotated[
        str,
        typer.Option(
            "--service-account",
            "-s",
            help="The host's account; NAMESPACE:NAME if it is in another namespace.",
        ),
    ] = "paperclip",
    network_policy: Annotated[
        bool, typer.Option("--network-policy", help="Also print a NetworkPolicy for the agents' Pods.")
    ] = False,
) -> None:
    """Print the minimal Role and RoleBinding of the host's service account, for `kubectl apply -f -`."""
    from paperclip_claude_k8s.checks.role import Account, access_objects, to_yaml  # noqa: PLC0415

    account = Account.read(service_account, namespace)
    objects = access_objects(namespace, account, network_policy=network_policy)
    typer.echo(to_yaml(objects), nl=False)


@app.command(name="node-shim")
def node_shim(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the package: new, or written by this command.")
    ],
    python: Annotated[
        str, typer.Option(help="Python interpreter that the host starts. It needs this package installed.")
    ] = sys.executable,
) -> None:
    """Write the npm package with which the Paperclip server (Node) loads this adapter."""
    from paperclip_claude_k8s.cli import node_shim as work  # noqa: PLC0415

    raise typer.Exit(work.node_shim(out, python))
