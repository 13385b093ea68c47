"""Collects what the environment test needs to know from the cluster, and creates nothing there.

Independent calls run concurrently, each with its own time limit, so that a server that stops responding
delays the test by one such limit, not by the sum of all limits.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.checks.observations import DryRun, GrantedRights, Keys, PlannedRun, Response
from paperclip_claude_k8s.checks.references import pod_manifest, references
from paperclip_claude_k8s.checks.rights import rights_of
from paperclip_claude_k8s.checks.workspaces import sample_workspace
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, JsonObject
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.host.checkup import CheckupContext
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.session_volume_settings import AUTO
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.requirements import excludes_too_long, settings_too_long
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.session_volume import claim_manifest
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.begin import identity_of
from paperclip_claude_k8s.run.narrate import PREFIX, Narrator
from paperclip_claude_k8s.run.prepare import find_site
from paperclip_claude_k8s.run.session_claim import look_up_session_claim

T = TypeVar("T")
K = TypeVar("K")
TEST_AGENT_ID = "environment-test"
"""Agent id of the planned Job and of the probe Job: with a real agent's id they would wait for its slot."""


async def call_within(call: Callable[[], Awaitable[T]], seconds: float) -> Response[T]:
    """What the call returns within `seconds`; an error or a timeout is returned as a `ClusterError`."""
    try:
        async with asyncio.timeout(seconds):
            return await call()
    except TimeoutError:
        return ClusterError(None, "Timeout", f"no response within {seconds:g}s")
    except ClusterError as error:
        return error
    except Exception as error:  # noqa: BLE001  # a bug in one check must not hide the results of others
        return ClusterError(None, "Bug", f"{type(error).__name__} in the check itself: {error}")


async def call_all_within(
    calls: Mapping[K, Callable[[], Awaitable[T]]], seconds: float
) -> dict[K, Response[T]]:
    """Key → what its call returns; all calls run concurrently, each with its own limit of `seconds`."""
    async with asyncio.TaskGroup() as group:
        tasks = {key: group.create_task(call_within(call, seconds)) for key, call in calls.items()}
    return {key: task.result() for key, task in tasks.items()}


async def collect_rights(namespace: str, config: AdapterConfig, ports: Ports) -> GrantedRights:
    """For each right that this config needs: whether the API server's access review says it is granted."""
    needed = rights_of(
        auto_claims=config.session_volume == AUTO,
        job_events=config.job_events,
        uploads=config.workspace == "upload",
    )
    calls = {right: partial(ports.cluster.may, namespace, right.access) for right in needed}
    return GrantedRights(await call_all_within(calls, ports.settings.timings.check))


async def collect_run(given: CheckupContext, config: AdapterConfig, ports: Ports) -> PlannedRun | Failure:
    """Plan a run like a real one, dry-run its Job, and look up what the Job refers to.

    Returns a failure if no run can be planned, for example because the home pod cannot be read.
    """
    if too_long := settings_too_long(config):
        return failures.settings_too_long(too_long)
    log: list[str] = []
    ctx = ExecutionContext.read(_sample_context(given, log))
    identity = identity_of(ctx)
    site = await _find_site(ctx, identity, config, ports, log)
    if isinstance(site, Failure):
        return site
    site = replace(site, workspace=sample_workspace(config))
    try:
        plan = Planner(ctx, identity, config, site).plan()
    except RunFailure as failed:
        return failed.failure
    if too_long := excludes_too_long(plan):
        return failures.settings_too_long(too_long)
    manifest, limit, cluster = job_manifest(plan), ports.settings.timings.check, ports.cluster
    named = references(manifest, plan.secret_name)
    read_keys = partial(_secret_keys, cluster, plan.namespace)
    read_claim = partial(cluster.read_claim, plan.namespace)

    def look_up(
        names: Iterable[str], read: Callable[[str], Awaitable[T]]
    ) -> Coroutine[Any, Any, dict[str, Response[T]]]:
        return call_all_within({name: partial(read, name) for name in names}, limit)

    async with asyncio.TaskGroup() as group:
        dry_run = group.create_task(call_within(partial(_dry_run, plan, manifest, ports), limit))
        pod = pod_manifest(manifest)
        pod_dry_run = group.create_task(call_within(partial(cluster.try_pod, plan.namespace, pod), limit))
        secrets = group.create_task(look_up(named.secrets, read_keys))
        pull_secrets = group.create_task(look_up(named.pull_secrets, read_keys))
        claims = group.create_task(look_up(named.claims, read_claim))
        claim_dry_run = group.create_task(call_within(partial(_try_claim, plan, ports), limit))
    return PlannedRun(
        site=site,
        plan=plan,
        references=named,
        dry_run=dry_run.result(),
        pod_dry_run=pod_dry_run.result(),
        secrets=secrets.result(),
        pull_secrets=pull_secrets.result(),
        claims=claims.result(),
        claim_dry_run=claim_dry_run.result(),
    )


async def _secret_keys(cluster: Cluster, namespace: str, name: str) -> Keys:
    secret = await cluster.read_secret(namespace, name)
    return None if secret is None else secret.keys


def _sample_context(given: CheckupContext, log: list[str]) -> dict[str, object]:
    """The context of a new run of the test agent; the run's log lines are appended to `log`."""

    async def on_log(_stream: str, text: str) -> None:
        log.append(text.removeprefix(PREFIX).strip())

    return {
        "runId": str(uuid.uuid4()),
        "agent": {"id": TEST_AGENT_ID, "name": TEST_AGENT_ID, "companyId": given.company_id},
        "config": given.config,
        "onLog": on_log,
    }


async def _find_site(
    ctx: ExecutionContext, identity: Identity, config: AdapterConfig, ports: Ports, log: list[str]
) -> RunSite | Failure:
    """`find_site` and the session claim, within the time limit of a check; a failure is returned."""
    limit, narrator = ports.settings.timings.check, Narrator(ctx)
    try:
        async with asyncio.timeout(limit):
            site = await find_site(config, ports, narrator)
            claim = await look_up_session_claim(config, identity, site.namespace, ports, narrator)
            return replace(site, session_claim=claim)
    except RunFailure as failed:
        return failed.failure
    except TimeoutError:
        why = "; ".join([f"no usable response within {limit:g}s", *log])
        timeout = ClusterError(None, "Timeout", why)
        return failures.home_pod_unavailable(ports.settings.env.get("HOSTNAME", "(unknown)"), why, timeout)


async def _try_claim(plan: RunPlan, ports: Ports) -> ClaimSnapshot | None:
    """Create the claim of `auto` as a dry run, which includes validation, admission and quota."""
    if plan.session_volume.kind != AUTO:
        return None
    manifest = claim_manifest(plan.config, plan.identity, plan.namespace, {})
    return await ports.cluster.create_claim(plan.namespace, manifest, dry_run=True)


async def _dry_run(plan: RunPlan, manifest: JsonObject, ports: Ports) -> DryRun:
    """Create the Job as a dry run, which includes validation, admission and quota, but stores nothing."""
    requested = ports.settings.now()
    job = await ports.cluster.create_job(plan.namespace, manifest, dry_run=True)
    return DryRun(job, requested, ports.settings.now())
