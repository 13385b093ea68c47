"""Options of `prune`, `config`, `rbac` and `manifests`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from paperclip_claude_k8s.cli.command_options import OutputFormat

SessionVolume = Annotated[
    Literal["shared", "auto", "none"],
    typer.Option(help="`sessionVolume` of the agents. auto: the host may create claims and mark their use."),
]
ServiceAccount = Annotated[
    str,
    typer.Option(
        "--service-account", "-s", help="The host's account; NAMESPACE:NAME if it is in another namespace."
    ),
]


@dataclass(frozen=True, slots=True)
class PruneRecordsOptions:
    """Which records in the state folder are removed."""

    older_than: Annotated[
        str, typer.Option(help="Remove runs that ended before then: 12h, 30d, 2026-11-01.")
    ] = "30d"
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False
    output_format: OutputFormat = None


@dataclass(frozen=True, slots=True)
class ConfigInitOptions:
    out: Annotated[Path | None, typer.Option("--out", help="New file to write; stdout by default.")] = None
    all: Annotated[bool, typer.Option("--all", help="All settings, not only those that most files have.")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class ConfigCheckOptions:
    file: Annotated[Path, typer.Argument(help="File for --config, in JSON or YAML.")]
    strict: Annotated[bool, typer.Option("--strict", help="Unknown settings are errors.")] = False
    output_format: OutputFormat = None


@dataclass(frozen=True, slots=True)
class RbacOptions:
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the Jobs.")]
    service_account: ServiceAccount = "paperclip"
    session_volume: SessionVolume = "shared"
    job_events: Annotated[
        bool, typer.Option("--job-events", help="Include the right that jobEvents needs.")
    ] = False
    network_policy: Annotated[
        bool, typer.Option("--network-policy", help="Also print a NetworkPolicy for the agents' Pods.")
    ] = False


@dataclass(frozen=True, slots=True)
class ManifestsOptions:
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the Jobs.")]
    service_account: ServiceAccount = "paperclip"
    pod_security: Annotated[
        Literal["restricted", "baseline", "none"],
        typer.Option(help="Pod Security Standard that the namespace enforces."),
    ] = "restricted"
    session_volume: SessionVolume = "shared"
    claim: Annotated[
        str | None,
        typer.Option(
            help="Claim for the HOME of all agents, mounted at /paperclip; '' for none. "
            "Default: agents-home, or none with --session-volume auto."
        ),
    ] = None
    storage: Annotated[str, typer.Option(help="Size of the claim.")] = "10Gi"
    storage_class: Annotated[
        str | None,
        typer.Option(help="Storage class that offers ReadWriteMany. Default: that of the cluster."),
    ] = None
    network_policy: Annotated[bool, typer.Option(help="NetworkPolicy for the agents' Pods.")] = True
    telemetry: Annotated[
        str | None,
        typer.Option(
            help="Namespace of an OpenTelemetry collector that agents may reach (ports 4317, 4318)."
        ),
    ] = None
    server: Annotated[
        str | None, typer.Option(help="Image of a Paperclip server that is to run in the same namespace.")
    ] = None
    metrics: Annotated[
        str | None, typer.Option(help="NAMESPACE:PORT: who may read metrics from which port of the server.")
    ] = None
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="New folder for a kustomize base and its overlays.")
    ] = None
