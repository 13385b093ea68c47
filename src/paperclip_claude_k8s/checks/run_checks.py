"""The environment test that hosts call before an agent's first run."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.checks import assess
from paperclip_claude_k8s.checks.agent_surroundings import (
    REMOTE_EXECUTION,
    api_address_checks,
    server_runs_agents_itself,
)
from paperclip_claude_k8s.checks.collect import call_within, collect_rights, collect_run
from paperclip_claude_k8s.checks.dry_run import (
    clock_checks,
    dry_run_checks,
    namespace_check,
    pod_dry_run_checks,
)
from paperclip_claude_k8s.checks.observations import GrantedRights, PlannedRun, Response
from paperclip_claude_k8s.checks.probe import ProbeOutcome, probe
from paperclip_claude_k8s.checks.session_checks import session_volume_checks
from paperclip_claude_k8s.checks.workspaces import workspace_checks
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigRefused
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.host.checkup import Check, Checkup, CheckupContext, worst_status
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.context import ContextInvalid
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.plan.pod_admission import plan_refusals
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.admit import find_refusals
from paperclip_claude_k8s.run.prepare import job_namespace

IN_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"
"""Variable that each Pod has. A process in a Pod reaches the cluster by the Pod's service account, without a
kubeconfig."""
SETUP_NEEDED = Check(
    code="k8s_setup_needed",
    level="warn",
    message="This agent cannot run yet: nothing names a cluster, and the server runs in none",
    hint="finish the setup; then, in the agent's Harness / Runtime, set `kubeconfig` to a path on the "
    "server, `image`, and `namespace` if the kubeconfig's context has none; then run this test again",
)
_LEVELS = ("error", "warn", "info")
"""What needs attention comes first; within a level, checks go from basics to details."""


async def test_environment(given: CheckupContext | Mapping[str, Any], process: Process) -> Checkup:
    """Check everything that a run needs. Creates nothing but the probe Job, if it is requested.

    Errors become checks: apart from cancellation, nothing is raised.
    """
    started = process.settings.now()
    try:
        checks = tuple(await _examine(given, process))
    except (ContextInvalid, ConfigInvalid) as error:
        checks = (assess.failure_check(failures.config_invalid(str(error))),)
    except RunFailure as failed:
        checks = (assess.failure_check(failed.failure),)
    except Exception as error:  # noqa: BLE001  # a bug must become a check too, so that people see it
        checks = (_bug_check(error),)
    checks = tuple(sorted(checks, key=lambda check: _LEVELS.index(check.level)))
    return Checkup(adapter_type=ADAPTER_TYPE, status=worst_status(checks), checks=checks, tested_at=started)


test_environment.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it as a test


async def _examine(given: CheckupContext | Mapping[str, Any], process: Process) -> list[Check]:
    ctx = CheckupContext.read(given)
    config = AdapterConfig.read(ctx.config)
    refusals = await find_refusals(ctx.config, config, process.settings)
    if refusals:
        return [*assess.config_checks(ctx.config), *assess.policy_checks(refusals)]
    names_environment = (ctx.execution_target or {}).get("kind") == "remote"
    if names_environment or server_runs_agents_itself(process.settings.env):
        return [*assess.config_checks(ctx.config), REMOTE_EXECUTION]
    ports = process.ports(config.kubeconfig, config.kube_context)
    version = await _connect(ports)
    if isinstance(version, KubeconfigRefused):
        refusals = (Refusal("kubeconfig", version.rule, version.allowed_by),)
        return [*assess.config_checks(ctx.config), *assess.policy_checks(refusals)]
    first_checks = [*assess.config_checks(ctx.config), *assess.server_checks(version, config)]
    if not isinstance(version, ClusterError):
        return first_checks + await _examine_cluster(ctx, config, ports)
    names_cluster = config.kubeconfig is not None or IN_CLUSTER_VARIABLE in process.settings.env
    if ctx.setup_may_follow and not names_cluster:
        return [*assess.config_checks(ctx.config), SETUP_NEEDED]
    return first_checks  # every other call would fail in the same way


async def _examine_cluster(ctx: CheckupContext, config: AdapterConfig, ports: Ports) -> list[Check]:
    namespace = await job_namespace(config.namespace, config.kubeconfig, ports)
    async with asyncio.TaskGroup() as group:
        rights = group.create_task(collect_rights(namespace, config, ports))
        planned = group.create_task(collect_run(ctx, config, ports))
    run, reached = planned.result(), None
    checks = [*_assess(rights.result(), run, namespace)]
    if isinstance(run, PlannedRun):
        checks += assess.policy_checks(plan_refusals(run.plan, ports.settings.policy))
    if ctx.probe or config.test_with_probe:
        outcome = await _probe(checks, rights.result(), run, ports)
        checks.append(outcome.check)
        reached = outcome.reached_api
    if isinstance(run, PlannedRun):
        checks += api_address_checks(run, reached=reached)
    return checks


async def _connect(ports: Ports) -> Response[tuple[int, int]]:
    """The server's version. The credentials are loaded first, because an exec plugin may take long."""
    timings = ports.settings.timings
    loaded = await call_within(ports.cluster.default_namespace, timings.request)
    if isinstance(loaded, ClusterError):
        return loaded
    return await call_within(ports.cluster.server_version, timings.check)


def _assess(granted: GrantedRights, run: PlannedRun | Failure, namespace: str) -> Iterator[Check]:
    if isinstance(run, Failure):
        yield assess.failure_check(run)
        yield from assess.rights_checks(granted, namespace)
        return
    # Ordered from basics to details, so that a person can resolve the problems from top to bottom.
    yield namespace_check(run, granted)
    yield from assess.rights_checks(granted, namespace)
    yield from assess.secret_checks(run, granted)
    yield from assess.volume_checks(run, granted)
    yield from session_volume_checks(run, granted)
    yield from workspace_checks(run)
    yield assess.credentials_check(run)
    yield from assess.pod_security_checks(run)
    yield from assess.reach_checks(run)
    yield from clock_checks(run.dry_run)
    yield from dry_run_checks(run, granted)
    yield from pod_dry_run_checks(run, granted)


async def _probe(
    checks: list[Check], granted: GrantedRights, run: PlannedRun | Failure, ports: Ports
) -> ProbeOutcome:
    """Run the probe Job, unless it is certain to fail."""
    if granted.lacks("create", "secrets"):
        text = "The probe Job was not started: this account may not create the Secret that it needs"
        return ProbeOutcome(Check(code="k8s_probe_skipped", level="info", message=text))
    if isinstance(run, Failure) or worst_status(tuple(checks)) == "fail":
        text = "The probe Job was not started: resolve the errors above first"
        return ProbeOutcome(Check(code="k8s_probe_skipped", level="info", message=text))
    return await probe(run.plan, ports)


def _bug_check(error: Exception) -> Check:
    return Check(
        code="k8s_checks_failed",
        level="error",
        message=f"The environment test itself failed: {type(error).__name__}: {error}",
        hint="this is a bug in the adapter; please report it",
    )
