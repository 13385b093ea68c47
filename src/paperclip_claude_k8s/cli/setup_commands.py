"""The commands that run no agent: they print or check files, explain words, and remove records."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from paperclip_claude_k8s.cli.command_options import OutputFormat
from paperclip_claude_k8s.cli.command_parameters import takes_options
from paperclip_claude_k8s.cli.setup_options import (
    ConfigCheckOptions,
    ConfigInitOptions,
    ManifestsOptions,
    PruneRecordsOptions,
    RbacOptions,
)
from paperclip_claude_k8s.cli.shell_completion import complete_word

setup_app = typer.Typer()
config_app = typer.Typer(help="Files of settings, for --config.", no_args_is_help=True)


@setup_app.command()
@takes_options(RbacOptions)
def rbac(options: RbacOptions) -> int:
    """Print the minimal Role and RoleBinding of the host's service account, for `kubectl apply -f -`."""
    from paperclip_claude_k8s.cli import manifests_command  # noqa: PLC0415

    return manifests_command.rbac(options)


@setup_app.command()
@takes_options(ManifestsOptions)
def manifests(options: ManifestsOptions) -> int:
    """Print all objects of a namespace for agents, for `kubectl apply -f -`; or write kustomize folders."""
    from paperclip_claude_k8s.cli import manifests_command  # noqa: PLC0415

    return manifests_command.manifests(options)


@setup_app.command()
def explain(
    word: Annotated[
        str,
        typer.Argument(
            help="An error code, a setting, a code of `check`, a label, a phase, ...",
            autocompletion=complete_word,
        ),
    ],
    output_format: OutputFormat = None,
) -> None:
    """Explain a word that the adapter uses."""
    from paperclip_claude_k8s.cli import explain_command  # noqa: PLC0415

    raise typer.Exit(explain_command.explain(word, output_format))


@setup_app.command(name="prune")
@takes_options(PruneRecordsOptions)
def prune_records(options: PruneRecordsOptions) -> int:
    """Remove the records of runs that ended long ago. Records of runs that may go on are kept."""
    from paperclip_claude_k8s.cli import prune_command  # noqa: PLC0415

    return prune_command.prune(options)


setup_app.add_typer(config_app, name="config")


@config_app.command(name="init")
@takes_options(ConfigInitOptions)
def config_init(options: ConfigInitOptions) -> int:
    """Print a file for --config with the settings as comments, as YAML."""
    from paperclip_claude_k8s.cli import config_command  # noqa: PLC0415

    return config_command.init(options)


@config_app.command(name="check")
@takes_options(ConfigCheckOptions)
def config_check(options: ConfigCheckOptions) -> int:
    """Print what is wrong with a file for --config, without a cluster."""
    from paperclip_claude_k8s.cli import config_command  # noqa: PLC0415

    return config_command.check(options)


@setup_app.command()
def policy() -> None:
    """Print the policy in force, as YAML with the meaning and the default of each field."""
    from paperclip_claude_k8s.cli import policy_command  # noqa: PLC0415

    raise typer.Exit(policy_command.policy())


@setup_app.command(name="node-shim")
def node_shim(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the package: new, or written by this command before."),
    ],
    python: Annotated[
        str, typer.Option(help="Python interpreter that the host starts. It needs this package installed.")
    ] = sys.executable,
) -> None:
    """Write the npm package with which the Paperclip server (Node) loads this adapter."""
    from paperclip_claude_k8s.cli import node_shim as implementation  # noqa: PLC0415

    raise typer.Exit(implementation.node_shim(out, python))
