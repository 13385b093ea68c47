"""One run, as a table of contents."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from paperclip_claude_k8s.base.aio import Place
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.cluster.labels import RUN_LOG_ANNOTATION
from paperclip_claude_k8s.failures import RunFailure, config_invalid, run_taken_over
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.begin import begin_run
from paperclip_claude_k8s.run.cleanup import JobCleanup
from paperclip_claude_k8s.run.conclude import answer, classify_run, needs_fresh_session, used_by
from paperclip_claude_k8s.run.launch import LaunchedJob, launch
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.observe import observe
from paperclip_claude_k8s.run.prepare import identity_of, prepare, read_config
from paperclip_claude_k8s.run.slot import slot_held
from paperclip_claude_k8s.run.stop import cancel_on
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, early_failure
from paperclip_claude_k8s.volume.run_log_file import remove_run_log

T = TypeVar("T")


async def execute(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult:
    """Run one agent once. Expected failures are results; only cancellation and bugs escape."""
    return await _answered(given, process, _run)


async def submit(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult | None:
    """See to it that the run's Job exists, and leave it: None, or why there is none.

    Only for a process whose chronicle holds Jobs for their runs: any other Job would be an orphan.
    """
    return await _answered(given, process, _submit)


@dataclass(frozen=True, slots=True)
class _Start:
    """A run that may be launched now, and its place among those that are."""

    ctx: ExecutionContext
    who: Identity
    config: AdapterConfig
    ports: Ports
    say: Narrator
    place: Place


_Walk = Callable[[_Start], Awaitable[T]]


async def _answered(
    given: ExecutionContext | Mapping[str, Any], process: Process, walk: _Walk[T]
) -> T | ExecutionResult:
    asked = ResultInputs(now=process.settings.now())
    try:
        ctx = ExecutionContext.read(given)
    except ContextInvalid as error:
        return early_failure(config_invalid(str(error)), asked)
    say = Narrator(ctx)
    try:
        async with process.poller.with_stop_signal(ctx) as with_stop_signal:
            who, config = identity_of(with_stop_signal), read_config(with_stop_signal)
            await begin_run(with_stop_signal, config, say)
            place = await cancel_on(with_stop_signal.signal, process.launches.enter())
            try:
                return await walk(
                    _Start(with_stop_signal, who, config, process.ports(config.kubeconfig), say, place)
                )
            finally:
                place.leave()
    except RunFailure as stop:
        await say.warn(stop.failure.message)
        return early_failure(stop.failure, asked)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One Job of the run, and what the attempt before it used."""

    launched: LaunchedJob
    earlier: RunUsage | None = None


async def _run(start: _Start) -> ExecutionResult:
    ctx, ports, say = start.ctx, start.ports, start.say
    planner, plan = await _planned(start)
    async with slot_held(ctx, plan, ports, say) as held:
        launched = await _launched(planner, plan, held, ports, say)
        start.place.leave()
        result = await _seen_through(ctx, _Attempt(launched), held, ports, say)
        if isinstance(result, RunUsage):
            await say.status(f"Session {plan.resume} cannot be resumed; trying once more with a fresh one")
            launched = await _launched(planner, planner.plan(fresh=True), held, ports, say)
            result = await _seen_through(ctx, _Attempt(launched, result), held, ports, say)
    assert isinstance(result, ExecutionResult)  # noqa: S101  # a second attempt resumes nothing that is lost
    return result


async def _submit(start: _Start) -> None:
    planner, plan = await _planned(start)
    async with slot_held(start.ctx, plan, start.ports, start.say) as held:
        launched = await _launched(planner, plan, held, start.ports, start.say)
        await start.ports.journal.launched(launched.job.ref)
        await start.say.status(launched.headline)


async def _planned(start: _Start) -> tuple[Planner, RunPlan]:
    preparing = prepare(start.ctx, start.who, start.config, start.ports, start.say)
    return await cancel_on(start.ctx.signal, preparing)


async def _launched(
    planner: Planner, plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator
) -> LaunchedJob:
    launched = await cancel_on(planner.ctx.signal, launch(planner, plan, held, ports, say))
    held.has_job(launched.job.ref.name)
    return launched


async def _seen_through(
    ctx: ExecutionContext, attempt: _Attempt, held: SlotLock, ports: Ports, say: Narrator
) -> ExecutionResult | RunUsage:
    """The answer; what was used where the session it should resume is lost, and a fresh one may do."""
    launched = attempt.launched
    async with JobCleanup(launched, held, ports, say) as care:
        await ports.journal.launched(launched.job.ref)
        await say.status(launched.headline)
        seen = await observe(ctx, launched, held, ports, say)
        care.end_unknown, care.agent_ended, care.last = seen.end_unknown, seen.agent_ended, seen.known
        if not await care.still_ours():
            await say.warn((lost := run_taken_over(launched.job.ref.name)).message)
            return early_failure(lost, ResultInputs(now=ports.settings.now()))
        failure = classify_run(seen, launched.plan, ports.settings)
        again = needs_fresh_session(failure, launched.plan)
        untaken, earlier = say.untaken, attempt.earlier
        result = None if again else answer(failure, seen, launched.plan, ports.settings, untaken, earlier)
        if not seen.end_unknown:
            care.written = await ports.journal.ended(result)
    log_path = launched.job.annotations.get(RUN_LOG_ANNOTATION)
    await remove_run_log(launched.plan, log_path, ports.settings, succeeded=failure is None)
    return used_by(seen, launched.plan) if result is None else result
