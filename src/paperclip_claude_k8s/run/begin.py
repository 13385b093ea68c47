"""The first steps of a run, before anything is created: check the host's input, call the first callbacks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext, JsonMap, StoppableContext
from paperclip_claude_k8s.host.daily_spending import next_day
from paperclip_claude_k8s.host.known_secrets import mask_tree
from paperclip_claude_k8s.host.redact import redact_command
from paperclip_claude_k8s.host.unknown_settings import describe_unknown_keys
from paperclip_claude_k8s.plan.identity import Identity, identify, user_labels
from paperclip_claude_k8s.plan.prompt import HIDDEN_KEYS
from paperclip_claude_k8s.plan.requirements import settings_too_long
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_variables import bearer_tokens
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.admit import admit
from paperclip_claude_k8s.run.host_callbacks import call_safely
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.place_notes import cluster_note, namespace_note
from paperclip_claude_k8s.run.readable_output import ReadableOutput


def read_context(given: ExecutionContext | Mapping[str, Any]) -> ExecutionContext:
    """Raises RunFailure `k8s_config_invalid`, naming the field and what is expected."""
    try:
        return ExecutionContext.read(given)
    except ContextInvalid as error:
        raise RunFailure(failures.config_invalid(str(error))) from None


def identity_of(ctx: ExecutionContext) -> Identity:
    """Raises RunFailure `k8s_agent_id_invalid`."""
    identity = identify(ctx)
    if identity is None:
        raise RunFailure(failures.agent_id_invalid(ctx.agent.id))
    return identity


def read_config(ctx: ExecutionContext) -> AdapterConfig:
    """Raises RunFailure `k8s_config_invalid`, naming key and what is expected."""
    target = ctx.execution_target or {}
    if target.get("kind") == "remote":  # the host chose a remote machine for the agent, not a Job
        raise RunFailure(failures.remote_target(str(target.get("transport") or "remote")))
    try:
        config = AdapterConfig.read(ctx.config)
    except ConfigInvalid as error:
        raise RunFailure(failures.config_invalid(str(error))) from None
    if too_long := settings_too_long(config):
        raise RunFailure(failures.settings_too_long(too_long))
    return config


async def begin_run(
    ctx: StoppableContext, config: AdapterConfig, settings: ProcessSettings, narrator: Narrator
) -> None:
    """The first steps with the config. Their order matters.

    Choose the format of the run's log; report to the host that it can cancel the run from now on; warn about
    unknown keys and invalid labels; apply the administrator's policy to the config; check the daily budget.

    Raises:
        RunFailure: `cancelled`, if the host has stopped the run already; `k8s_policy_refused`;
            `claude_max_budget`, if the agent has used up its daily budget.
    """
    if log_format_of(ctx, config) == "text":
        narrator.readable = ReadableOutput()
    if ctx.on_cancellation_ready is not None:
        await call_safely("onCancellationReady", ctx.on_cancellation_ready)
    if ctx.signal is not None and ctx.signal.is_set():
        raise RunFailure(failures.cancelled(proven=True))
    unknown = describe_unknown_keys(ctx.config)
    if unknown:
        await narrator.warn(f"Unknown config keys ignored: {', '.join(unknown)}")
    _, skipped = user_labels(config.labels)
    if skipped:
        await narrator.warn(f"Labels skipped (reserved or not valid): {', '.join(skipped)}")
    await admit(ctx.config, config, settings)
    check_daily_budget(ctx, settings)


def log_format_of(ctx: ExecutionContext, config: AdapterConfig) -> str:
    """`text` or `events`: the setting, else what the host asks for."""
    return (ctx.log_format or "events") if config.log_format == "auto" else config.log_format


def check_daily_budget(ctx: ExecutionContext, settings: ProcessSettings) -> None:
    """Raises RunFailure `claude_max_budget`."""
    limit, now = settings.policy.max_cost_usd_per_agent_per_day, settings.now()
    if limit is None:
        return
    spent = settings.spending.spent((ctx.agent.company_id or "", ctx.agent.id), now)
    if spent >= limit:
        raise RunFailure(failures.daily_budget_spent(spent, limit, next_day(now)))


def skill_summary(plan: RunPlan) -> str:
    """Number and names of the agent's skills."""
    return f"({len(plan.packed.skills)}): {', '.join(plan.packed.skills) or 'none'}"


async def announce(ctx: ExecutionContext, plan: RunPlan) -> None:
    """Report to the host what is about to run, with secrets masked."""
    if ctx.on_meta is not None:
        await call_safely("onMeta", partial(ctx.on_meta, strict_copy(_meta(ctx, plan))))
    if ctx.on_dispatch is not None:
        await call_safely("onDispatch", ctx.on_dispatch)


def _meta(ctx: ExecutionContext, plan: RunPlan) -> JsonMap:
    """The argument of `onMeta` for a Job that is about to be created."""
    return {
        "adapterType": ADAPTER_TYPE,
        "command": f"kubectl job/{plan.job_name}",
        "cwd": plan.workdir,
        "commandArgs": mask_tree(redact_command(plan.argv[1:]), plan.values_hidden_in_arguments),
        "commandNotes": [
            f"Image: {plan.image}",
            namespace_note(plan.namespace),
            _cluster_note(plan),
            _timeout_note(plan),
            f"Skills {skill_summary(plan)}",
        ],
        "prompt": mask_tree(plan.prompt.text, _secrets(ctx, plan)),
        "promptMetrics": dict(plan.prompt.metrics),
        "context": _shown_context(ctx, plan),
    }


async def announce_adoption(
    ctx: ExecutionContext, plan: RunPlan, job: JobSnapshot, prior_run: str | None
) -> None:
    """Report to the host which Job is observed. `prompt` is empty: the run that created the Job had it."""
    if ctx.on_meta is None:
        return
    meta = {
        "adapterType": ADAPTER_TYPE,
        "command": f"kubectl job/{job.ref.name}",
        "cwd": plan.workdir,
        "commandArgs": [],
        "commandNotes": [
            f"Image: {job.image}",
            namespace_note(job.ref.namespace),
            _cluster_note(plan),
            f"Reattached from prior run: {prior_run or 'unknown'}",
            _timeout_note(plan),
        ],
        "prompt": "",
        "context": _shown_context(ctx, plan),
    }
    await call_safely("onMeta", partial(ctx.on_meta, strict_copy(meta)))


def _cluster_note(plan: RunPlan) -> str:
    return cluster_note(plan.config.kubeconfig, plan.config.kube_context)


def _timeout_note(plan: RunPlan) -> str:
    return f"Timeout: {plan.config.timeout_sec:g}s"


def _shown_context(ctx: ExecutionContext, plan: RunPlan) -> object:
    """The host's context as hosts may store it: secrets masked, and without the part that holds a token."""
    shown = {key: value for key, value in ctx.context.items() if key not in HIDDEN_KEYS}
    return mask_tree(shown, _secrets(ctx, plan))


def _secrets(ctx: ExecutionContext, plan: RunPlan) -> frozenset[str]:
    return plan.secret_values | bearer_tokens(ctx)
