"""One run, as a table of contents."""

from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.cluster.labels import RUN_LOG_ANNOTATION
from paperclip_claude_k8s.failures import RunFailure, config_invalid
from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.planning import Planner
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import Ports, Tenure
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.announce import get_ready
from paperclip_claude_k8s.run.answer import answer, verdict_on, wants_fresh_session
from paperclip_claude_k8s.run.launch import LaunchedJob, launch
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.observe import observe
from paperclip_claude_k8s.run.prepare import identity_of, prepare, read_config
from paperclip_claude_k8s.run.runlog import put_away
from paperclip_claude_k8s.run.slot import slot_held
from paperclip_claude_k8s.run.stop import unless_stopped
from paperclip_claude_k8s.run.tend import tended
from paperclip_claude_k8s.verdict.report import Asked, apologize
from paperclip_claude_k8s.verdict.sighting import Sighting


async def execute(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult:
    """Run one agent once. Expected failures are results; only cancellation and bugs escape."""
    asked = Asked(now=process.house.now())
    try:
        ctx = ExecutionContext.read(given)
    except ContextInvalid as error:
        return apologize(config_invalid(str(error)), asked)
    say = Narrator(ctx)
    try:
        async with process.poller.heeding(ctx) as heeding:
            return await _run(heeding, process, say)
    except RunFailure as stop:
        await say.warn(stop.failure.message)
        return apologize(stop.failure, asked)


async def _run(ctx: ExecutionContext, process: Process, say: Narrator) -> ExecutionResult:
    who, config = identity_of(ctx), read_config(ctx)
    ports = process.ports(config.kubeconfig)
    await get_ready(ctx, config, say)
    planner, plan = await unless_stopped(ctx.signal, prepare(ctx, who, config, ports, say))
    async with slot_held(ctx, plan, ports, say) as held:
        seen, launched = await _attempt(planner, plan, held, ports, say)
        failure = verdict_on(seen, launched.plan, ports.house)
        if wants_fresh_session(failure, launched.plan):
            lost = launched.plan.resume
            await say.status(f"Session {lost} cannot be resumed; trying once more with a fresh one")
            seen, launched = await _attempt(planner, planner.plan(fresh=True), held, ports, say)
            failure = verdict_on(seen, launched.plan, ports.house)
    log_path = launched.job.annotations.get(RUN_LOG_ANNOTATION)
    await put_away(launched.plan, log_path, ports.house, succeeded=failure is None)
    return answer(failure, seen, launched.plan, ports.house)


async def _attempt(
    planner: Planner, plan: RunPlan, held: Tenure, ports: Ports, say: Narrator
) -> tuple[Sighting, LaunchedJob]:
    ctx = planner.ctx
    async with ports.turns.of(held.slot), ports.launches.granted():
        launched = await unless_stopped(ctx.signal, launch(planner, plan, held, ports, say))
    async with tended(launched, held, ports, say) as care:
        await say.status(launched.headline)
        seen = await observe(ctx, launched, held, ports, say)
        care.end_unknown, care.agent_ended = seen.end_unknown, seen.agent_ended
        return seen, launched
