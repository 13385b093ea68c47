"""`claude-k8s volumes`: list the claims that `sessionVolume` auto has created, and remove unused ones."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.chosen_cluster import chosen_cluster, cluster_stop
from paperclip_claude_k8s.cli.command_options import PruneOptions, VolumesOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.text_tables import Column, table, terminal_width
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.verdict.unused_claims import ClaimUse, claim_uses

COLUMNS = (
    *(Column(name, itemgetter(name)) for name in ("claim", "agent", "company", "size", "phase", "last_used")),
    Column("storage_class", itemgetter("storage_class"), wide=True),
    Column("access_modes", lambda row: ", ".join(row["access_modes"]), wide=True),
    Column("used_by", lambda row: ", ".join(row["used_by"])),
)
_AUTO_CLAIM_LABELS: Mapping[str, str] = {
    **labels.ALL_OURS,
    "app.kubernetes.io/component": "session-volume",
}


def volumes(options: VolumesOptions) -> int:
    """Print `{namespace, volumes: [{claim, agent, company, size, …, last_used, used_by}]}`."""

    async def list_claims(namespace: str, ports: Ports) -> Reply:
        uses = await _read(namespace, ports.cluster)
        return {"namespace": namespace, "volumes": [_row(use) for use in uses]}

    reply = run_to_reply(lambda: _on_cluster(options, list_claims), CallProgress())
    code = DONE if "volumes" in reply else FAILED
    rows = reply.get("volumes", ())
    return print_reply(reply, code, options.output_format, lambda chosen: _table(rows, chosen))


def prune(options: PruneOptions) -> int:
    """Remove claims that no run has used for some days.

    Prints `{namespace, removed, kept, dry_run}`, and `failed` if some could not be removed: exit code 1.
    """
    unused = timedelta(days=options.unused_days)

    async def remove_unused(namespace: str, ports: Ports) -> Reply:
        return await prune_unused(namespace, ports, unused, dry_run=options.dry_run)

    reply = run_to_reply(lambda: _on_cluster(options, remove_unused), CallProgress())
    code = DONE if "removed" in reply and not reply.get("failed") else FAILED
    return print_reply(reply, code, options.output_format)


async def _on_cluster(options: VolumesOptions, work: Callable[[str, Ports], Awaitable[Reply]]) -> Reply:
    try:
        async with chosen_cluster(options) as chosen:
            if chosen is None:
                raise Stop("task_failed", "the development cluster is not running, so it has no volumes")
            namespace, ports = chosen
            return await work(namespace, ports)
    except ClusterError as error:
        needed = "list persistentvolumeclaims, jobs and pods, and for `prune` delete persistentvolumeclaims"
        hint = f" (the account needs the rights to {needed})" if error.lacks_right else ""
        raise cluster_stop(f"cannot read the volumes{hint}", error) from None


async def _read(namespace: str, cluster: Cluster) -> tuple[ClaimUse, ...]:
    """The claims and their use. The claims are listed first; `run/session_claim` explains the reason."""
    claims = await cluster.list_claims(namespace, _AUTO_CLAIM_LABELS)
    jobs = await cluster.list_jobs(namespace, {})
    pods = await cluster.list_pods(namespace, {})
    return claim_uses(claims.items, jobs.items, pods.items)


async def prune_unused(namespace: str, ports: Ports, unused: timedelta, *, dry_run: bool) -> Reply:
    """Remove the claims that no run has used for the time `unused`; with `dry_run`, only list them."""
    removed: list[str] = []
    kept: dict[str, str] = {}
    failed: dict[str, str] = {}
    for use in await _read(namespace, ports.cluster):
        name, why = use.claim.name, use.why_kept(ports.settings.now(), unused)
        if why:
            kept[name] = why
        elif dry_run:
            removed.append(name)
        else:
            try:
                deleted_by_us = await ports.cluster.delete_claim(use.claim)
            except ClusterError as error:
                failed[name] = str(error)
                continue
            if deleted_by_us:
                removed.append(name)
            else:
                kept[name] = "a run began to use it, or something else changed or removed it meanwhile"
    reply: Reply = {"namespace": namespace, "removed": removed, "kept": kept, "dry_run": dry_run}
    return reply | ({"failed": failed} if failed else {})


def _row(use: ClaimUse) -> dict[str, Any]:
    claim = use.claim
    return {
        "claim": claim.name,
        "agent": claim.labels.get(labels.AGENT_LABEL),
        "company": claim.labels.get(labels.COMPANY_LABEL),
        "per": claim.labels.get(labels.CLAIM_PER_LABEL),
        "size": claim.size,
        "storage_class": claim.storage_class,
        "access_modes": list(claim.access_modes),
        "phase": "Terminating" if claim.deleting else claim.phase,
        "created": _time_text(claim.created),
        "last_used": _time_text(use.last_used),
        "last_run": claim.annotations.get(labels.LAST_RUN_ANNOTATION),
        "used_by": list(use.users),
    }


def _time_text(time: datetime | None) -> str | None:
    return format_time(time) if time is not None else None


def _table(rows: Sequence[Mapping[str, Any]], output: Format) -> str:
    if output is Format.NAME:
        return "\n".join(str(row["claim"]) for row in rows)
    return table(rows, COLUMNS, output, width=terminal_width()) if rows else "no volumes"
