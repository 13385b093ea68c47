"""One run, as a table of contents."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

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

T = TypeVar("T")


async def execute(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult:
    """Run one agent once. Expected failures are results; only cancellation and bugs escape."""
    return await _answered(given, process, _run)


async def submit(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult | None:
    """See to it that the run's Job exists, and leave it: None, or why there is none.

    Only for a process whose chronicle holds Jobs for their runs: any other Job would be an orphan.
    """
    return await _answered(given, process, _submit)


_Walk = Callable[[ExecutionContext, Process, Narrator], Awaitable[T]]


async def _answered(
    given: ExecutionContext | Mapping[str, Any], process: Process, walk: _Walk[T]
) -> T | ExecutionResult:
    asked = Asked(now=process.house.now())
    try:
        ctx = ExecutionContext.read(given)
    except ContextInvalid as error:
        return apologize(config_invalid(str(error)), asked)
    say = Narrator(ctx)
    try:
        async with process.poller.heeding(ctx) as heeding:
            return await walk(heeding, process, say)
    except RunFailure as stop:
        await say.warn(stop.failure.message)
        return apologize(stop.failure, asked)


async def _run(ctx: ExecutionContext, process: Process, say: Narrator) -> ExecutionResult:
    ports, planner, plan = await _planned(ctx, process, say)
    async with slot_held(ctx, plan, ports, say) as held:
        result = await _attempt(planner, plan, held, ports, say)
        if result is None:
            await say.status(f"Session {plan.resume} cannot be resumed; trying once more with a fresh one")
            result = await _attempt(planner, planner.plan(fresh=True), held, ports, say)
    assert result is not None  # noqa: S101  # a second attempt resumes no session that could be lost
    return result


async def _submit(ctx: ExecutionContext, process: Process, say: Narrator) -> None:
    ports, planner, plan = await _planned(ctx, process, say)
    async with slot_held(ctx, plan, ports, say) as held:
        launched = await _launched(planner, plan, held, ports, say)
        await ports.chronicle.launched(launched.job.ref)
        await say.status(launched.headline)


async def _planned(ctx: ExecutionContext, process: Process, say: Narrator) -> tuple[Ports, Planner, RunPlan]:
    who, config = identity_of(ctx), read_config(ctx)
    ports = process.ports(config.kubeconfig)
    await get_ready(ctx, config, say)
    return ports, *await unless_stopped(ctx.signal, prepare(ctx, who, config, ports, say))


async def _launched(
    planner: Planner, plan: RunPlan, held: Tenure, ports: Ports, say: Narrator
) -> LaunchedJob:
    async with ports.turns.of(held.slot), ports.launches.granted():
        return await unless_stopped(planner.ctx.signal, launch(planner, plan, held, ports, say))


async def _attempt(
    planner: Planner, plan: RunPlan, held: Tenure, ports: Ports, say: Narrator
) -> ExecutionResult | None:
    """The answer; None where the session it should resume is lost, and a fresh one may do."""
    launched = await _launched(planner, plan, held, ports, say)
    async with tended(launched, held, ports, say) as care:
        await ports.chronicle.launched(launched.job.ref)
        await say.status(launched.headline)
        seen = await observe(planner.ctx, launched, held, ports, say)
        care.end_unknown, care.agent_ended = seen.end_unknown, seen.agent_ended
        failure = verdict_on(seen, launched.plan, ports.house)
        again = wants_fresh_session(failure, launched.plan)
        result = None if again else answer(failure, seen, launched.plan, ports.house)
        if not seen.end_unknown:
            care.written = await ports.chronicle.ended(result)
    log_path = launched.job.annotations.get(RUN_LOG_ANNOTATION)
    await put_away(launched.plan, log_path, ports.house, succeeded=failure is None)
    return result
