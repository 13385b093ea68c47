"""What the host is told, and asked, before anything is created."""

from functools import partial

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig, unknown_keys
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.host.redact import mask_tree, redact_command
from paperclip_claude_k8s.plan.identity import user_labels
from paperclip_claude_k8s.plan.prompt import CONTEXT_TOKENS
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_variables import bearer_tokens
from paperclip_claude_k8s.run.host_callbacks import call_safely
from paperclip_claude_k8s.run.narrate import Narrator


async def begin_run(ctx: ExecutionContext, config: AdapterConfig, say: Narrator) -> None:
    """Ask to be told of a Stop (HOST.md 0.2) and say what of the config has no effect.

    Raises:
        RunFailure: `cancelled`, when the host has stopped the run already.
    """
    if ctx.on_cancellation_ready is not None:
        await call_safely("onCancellationReady", ctx.on_cancellation_ready)
    if ctx.signal is not None and ctx.signal.is_set():
        raise RunFailure(failures.cancelled(proven=True))
    unknown = unknown_keys(ctx.config)
    if unknown:
        await say.warn(f"Unknown config keys ignored: {', '.join(unknown)}")
    _, skipped = user_labels(config.labels)
    if skipped:
        await say.warn(f"Labels skipped (reserved or not legal): {', '.join(skipped)}")


async def announce(ctx: ExecutionContext, plan: RunPlan) -> None:
    """Tell the host what is about to be run; secrets stay out of it."""
    if ctx.on_meta is not None:
        await call_safely("onMeta", partial(ctx.on_meta, _meta(ctx, plan)))
    if ctx.on_dispatch is not None:
        await call_safely("onDispatch", ctx.on_dispatch)


def _meta(ctx: ExecutionContext, plan: RunPlan) -> JsonMap:
    """As the seeds word it; the context loses the part that holds a token (HOST.md 3.3)."""
    timeout = plan.config.timeout_sec
    secrets = plan.secret_values | bearer_tokens(ctx)
    return {
        "adapterType": ADAPTER_TYPE,
        "command": f"kubectl job/{plan.job_name}",
        "cwd": plan.namespace,
        "commandArgs": redact_command(plan.argv[1:]),
        "commandNotes": [
            f"Image: {plan.image}",
            f"Namespace: {plan.namespace}",
            f"Timeout: {timeout:g}s",
        ],
        "prompt": mask_tree(plan.prompt.text, secrets),
        "promptMetrics": dict(plan.prompt.metrics),
        "context": mask_tree(_without_tokens(ctx.context), secrets),
    }


def _without_tokens(context: JsonMap) -> JsonMap:
    return {key: value for key, value in context.items() if key not in CONTEXT_TOKENS}
