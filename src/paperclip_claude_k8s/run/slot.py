"""The slot of a run: one agent, or one agent and task, across all processes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.stop import cancel_on


@asynccontextmanager
async def slot_held(
    ctx: ExecutionContext, plan: RunPlan, ports: Ports, say: Narrator
) -> AsyncIterator[SlotLock]:
    """Hold the run's slot for the length of the block, both attempts included.

    Raises:
        RunFailure: `k8s_concurrent_run_blocked`, `k8s_concurrency_guard_unreachable`, `cancelled`.
    """
    who, config = plan.identity, plan.config
    slot = f"{who.agent}:{who.task}" if config.concurrency_scope == "task" and who.task else who.agent
    hold = ports.slots(plan.namespace).hold(slot, who.run_id, config.concurrency_wait_sec, say)
    async with AsyncExitStack() as stack:
        yield await cancel_on(ctx.signal, stack.enter_async_context(hold))
