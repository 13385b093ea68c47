"""The steps of one run, from the host's call to its result.

A run whose session cannot be resumed repeats the steps from the launch on, with a fresh session. Both
attempts hold the same slot, so no other run of the agent starts in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.cluster.labels import RUN_LOG_ANNOTATION
from paperclip_claude_k8s.failures import Failure, RunFailure, run_taken_over
from paperclip_claude_k8s.host.context import ExecutionContext, StoppableContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.instrumentation.event_types import SessionLost
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.begin import begin_run, identity_of, read_config, read_context
from paperclip_claude_k8s.run.claim import hold_slot
from paperclip_claude_k8s.run.cleanup import JobCleanup, RunEnd
from paperclip_claude_k8s.run.conclude import (
    announce_end,
    classify_run,
    needs_fresh_session,
    result_of,
    usage_of,
)
from paperclip_claude_k8s.run.launch import LaunchedJob, launch
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.observe import observe
from paperclip_claude_k8s.run.prepare import prepare
from paperclip_claude_k8s.run.recorded_run import RecordedRun, count_cost, emit_launch, recorded_run
from paperclip_claude_k8s.run.stop import cancel_on
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, early_failure
from paperclip_claude_k8s.volume.run_log_file import remove_run_log


async def execute(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult:
    """Run one agent once. Expected failures are results; only cancellation and bugs are raised."""
    with recorded_run(process.settings) as recorded:
        result = await _execute(given, process, recorded, wait=True)
        assert result is not None  # noqa: S101  # None is possible with `wait=False` only
        recorded.end(result)
    return result


async def submit(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult | None:
    """Ensure that the run's Job exists, without waiting for its end. Returns None, or a failed result.

    Only for a process whose journal is `detached`: otherwise the Job would be an orphan at once.
    """
    with recorded_run(process.settings) as recorded:
        result = await _execute(given, process, recorded, wait=False)
        recorded.end(result)
    return result


async def _execute(
    given: ExecutionContext | Mapping[str, Any], process: Process, recorded: RecordedRun, *, wait: bool
) -> ExecutionResult | None:
    inputs, narrator = ResultInputs(now=process.settings.now()), None
    try:
        ctx = recorded.begin(read_context(given))
        narrator = Narrator(ctx, process.journal, recorded.events)
        identity, config = identity_of(ctx), read_config(ctx)
        async with process.poller.with_stop_signal(ctx) as ctx:
            await begin_run(ctx, config, process.settings, narrator)
            ports = process.ports(config.kubeconfig, config.kube_context)
            with await cancel_on(ctx.signal, recorded.in_queue(process.launch_limiter.acquire())) as permit:
                preparing = prepare(ctx, identity, config, ports, narrator)
                planner, plan = await cancel_on(ctx.signal, preparing)
                earlier: RunUsage | None = None
                async with hold_slot(ctx, plan, ports, narrator) as slot_lock:
                    while True:
                        launched = await cancel_on(
                            ctx.signal, launch(planner, plan, slot_lock, ports, narrator)
                        )
                        slot_lock.record_job(launched.job.ref.name)
                        if not wait:
                            await _report_launch(launched, ports, narrator)
                            return None
                        permit.release()  # lets the next run launch, since this run only waits from now on
                        attempt = _Attempt(launched, slot_lock, earlier)
                        result = await _run_attempt(ctx, attempt, ports, narrator)
                        if isinstance(result, ExecutionResult):
                            return result
                        await _report_lost_session(launched, narrator)
                        plan, earlier = planner.plan(fresh=True), result
    except RunFailure as error:
        return await _early_result(error.failure, inputs, narrator)


async def _report_lost_session(launched: LaunchedJob, narrator: Narrator) -> None:
    session = launched.plan.resume
    narrator.events.emit(SessionLost, session or "")
    await narrator.status(f"Session {session} cannot be resumed; trying once more with a fresh session")


async def _report_launch(launched: LaunchedJob, ports: Ports, narrator: Narrator) -> None:
    await ports.journal.launched(launched.job.ref)
    emit_launch(launched, narrator.events)
    await narrator.status(launched.headline)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One Job of the run, the slot that the run holds, and the usage of the earlier attempt, if any."""

    launched: LaunchedJob
    slot_lock: SlotLock
    earlier: RunUsage | None


async def _run_attempt(
    ctx: StoppableContext, attempt: _Attempt, ports: Ports, narrator: Narrator
) -> ExecutionResult | RunUsage:
    """Observe the Job to its end, and clean up.

    Returns the result; or the usage of this attempt, if its session cannot be resumed and a second attempt
    with a fresh one has to follow.
    """
    launched, slot_lock = attempt.launched, attempt.slot_lock
    plan, job, settings = launched.plan, launched.job, ports.settings
    async with JobCleanup(launched, slot_lock, ports, narrator) as cleanup:
        await _report_launch(launched, ports, narrator)
        observation = await observe(ctx, launched, slot_lock, ports, narrator)
        if not await cleanup.still_ours():
            taken_over = run_taken_over(job.ref.name)
            return await _early_result(taken_over, ResultInputs(now=settings.now()), narrator)
        await announce_end(observation, plan, narrator)
        failure = classify_run(observation, plan, settings)
        result = None
        if not needs_fresh_session(failure, plan):
            result = result_of(failure, observation, plan, settings, narrator.host_failures, attempt.earlier)
            count_cost(result, narrator.events, settings)
        # Record the result before the clean-up deletes the Job: a crash in between would lose it otherwise.
        recorded = not observation.end_unknown and await ports.journal.ended(result)
        cleanup.end = RunEnd(observation, recorded=recorded, result=result)
        if recorded and result is not None and ctx.on_result is not None:
            await cleanup.deliver(result, ctx.on_result)
    run_log = job.annotations.get(RUN_LOG_ANNOTATION)
    await remove_run_log(plan, run_log, settings, succeeded=failure is None)
    return usage_of(observation, plan) if result is None else result


async def _early_result(failure: Failure, inputs: ResultInputs, narrator: Narrator | None) -> ExecutionResult:
    """Report a failure that is not based on an observation. `narrator` is None if the context is invalid."""
    if narrator is not None:
        await narrator.warn(failure.message)
    return early_failure(failure, inputs)
