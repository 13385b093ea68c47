"""Looks at a cluster, all at once, each bounded in time. Nothing is judged here, nothing created."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.checks.observations import DryRun, Granted, Place, Seen
from paperclip_claude_k8s.checks.references import references
from paperclip_claude_k8s.checks.rights import RIGHTS
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.host.checkup import CheckupContext
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.begin import identity_of
from paperclip_claude_k8s.run.narrate import PREFIX, Narrator
from paperclip_claude_k8s.run.prepare import find_site

T = TypeVar("T")
K = TypeVar("K")
AGENT = "environment-test"
"""The agent id of Jobs that are rehearsed or started as a probe: no real agent's slot is touched."""


async def seen(look: Callable[[], Awaitable[T]], seconds: float) -> Seen[T]:
    """What the look brought, within `seconds`; whatever went wrong is a value."""
    try:
        async with asyncio.timeout(seconds):
            return await look()
    except TimeoutError:
        return ClusterError(None, "Timeout", f"no answer within {seconds:g}s")
    except ClusterError as error:
        return error
    except Exception as error:  # noqa: BLE001  # one look that fails by a bug must not hide the others
        return ClusterError(None, "Bug", f"{type(error).__name__} in the check itself: {error}")


async def all_seen(looks: Mapping[K, Callable[[], Awaitable[T]]], seconds: float) -> dict[K, Seen[T]]:
    """Every look at the same time."""
    async with asyncio.TaskGroup() as group:
        tasks = {key: group.create_task(seen(look, seconds)) for key, look in looks.items()}
    return {key: task.result() for key, task in tasks.items()}


async def look_at_rights(namespace: str, ports: Ports) -> Granted:
    looks = {right: partial(ports.cluster.may, namespace, right.access) for right in RIGHTS}
    return Granted(await all_seen(looks, ports.settings.timings.check))


async def look_at_place(given: CheckupContext, config: AdapterConfig, ports: Ports) -> Place | Failure:
    """Plan a run as a run would be planned, and see whether the cluster would take it."""
    said: list[str] = []
    ctx = ExecutionContext.read(_imagined(given, said))
    setting = await _setting(ctx, config, ports, said)
    if isinstance(setting, Failure):
        return setting
    plan = Planner(ctx, identity_of(ctx), config, setting).plan()
    manifest, limit, cluster = job_manifest(plan), ports.settings.timings.check, ports.cluster
    refers = references(manifest, plan.secret_name)
    exists = {name: partial(_secret_exists, cluster, plan.namespace, name) for name in refers.secrets}
    pulls = {name: partial(_secret_exists, cluster, plan.namespace, name) for name in refers.pull_secrets}
    modes = {name: partial(cluster.claim_access_modes, plan.namespace, name) for name in refers.claims}
    async with asyncio.TaskGroup() as group:
        rehearsal = group.create_task(seen(partial(_rehearse, plan, manifest, ports), limit))
        secrets = group.create_task(all_seen(exists, limit))
        pull_secrets = group.create_task(all_seen(pulls, limit))
        claims = group.create_task(all_seen(modes, limit))
    return Place(
        setting, plan, refers, rehearsal.result(), secrets.result(), pull_secrets.result(), claims.result()
    )


async def _secret_exists(cluster: Cluster, namespace: str, name: str) -> bool:
    return await cluster.read_secret(namespace, name) is not None


def _imagined(given: CheckupContext, said: list[str]) -> dict[str, object]:
    """A run nobody asked for: fresh, of an agent of its own; what it would say is kept in `said`."""

    async def on_log(_stream: str, text: str) -> None:
        said.append(text.removeprefix(PREFIX).strip())

    return {
        "runId": str(uuid.uuid4()),
        "agent": {"id": AGENT, "name": AGENT, "companyId": given.company_id},
        "config": given.config,
        "onLog": on_log,
    }


async def _setting(
    ctx: ExecutionContext, config: AdapterConfig, ports: Ports, said: list[str]
) -> RunSite | Failure:
    limit = ports.settings.timings.check
    try:
        async with asyncio.timeout(limit):
            return await find_site(config, ports, Narrator(ctx))
    except RunFailure as stop:
        return stop.failure
    except TimeoutError:
        why = "; ".join([f"no good answer within {limit:g}s", *said])
        unheard = ClusterError(None, "Timeout", why)
        return failures.home_pod_unavailable(ports.settings.env.get("HOSTNAME", ""), why, unheard)


async def _rehearse(plan: RunPlan, manifest: JsonObject, ports: Ports) -> DryRun:
    """The real Job, checked by everything that checks Jobs, and not stored."""
    asked = ports.settings.now()
    job = await ports.cluster.create_job(plan.namespace, manifest, dry_run=True)
    return DryRun(job, asked, ports.settings.now())
