"""Emits the first and the last event of a run, and begins its trace."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.json_readers import as_object
from paperclip_claude_k8s.cluster.labels import TRACE_ANNOTATION
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.instrumentation.event_types import (
    LaunchBegan,
    LogTotals,
    Outcome,
    RunAdopted,
    RunEnded,
    RunLaunched,
    RunReceived,
    TokenTotals,
)
from paperclip_claude_k8s.instrumentation.run_emitter import RunEmitter
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.verdict.slot import is_live

T = TypeVar("T")
NO_RESULT = ExecutionResult()


class RecordedRun:
    """One call of `execute` or `submit`, as subscribers see it."""

    def __init__(self, settings: ProcessSettings) -> None:
        self.events = RunEmitter(settings.events, settings.now)
        self._began = loop_time()
        self._ended = False

    def begin(self, ctx: ExecutionContext) -> ExecutionContext:
        """Emit `RunReceived`; returns the context with the trace context of the run, for its Pod."""
        agent = ctx.agent
        self.events.describe_run(
            run_id=ctx.run_id,
            agent_id=agent.id,
            agent_name=agent.name or "",
            company_id=agent.company_id or "",
        )
        parent, state = self.events.begin_trace(ctx.traceparent or "", ctx.tracestate or "")
        self.events.emit(RunReceived)
        return ctx.model_copy(update={"traceparent": parent or None, "tracestate": state or None})

    async def in_queue(self, turn: Coroutine[Any, Any, T]) -> T:
        """Wait for the run's turn to launch, and emit `LaunchBegan`."""
        waiting_since = loop_time()
        permit = await turn
        self.events.emit(LaunchBegan, loop_time() - waiting_since)
        return permit

    def end(self, result: ExecutionResult | None) -> None:
        """Emit `RunEnded`. None: the run was submitted, and nobody waits for it."""
        if result is None:
            self._emit_end("submitted", NO_RESULT)
        else:
            outcome: Outcome = "failed" if result.error_code else "succeeded"
            self._emit_end("cancelled" if result.error_code == "cancelled" else outcome, result)

    def abandon(self, error: BaseException) -> None:
        """Emit `RunEnded` for a call that raised."""
        if not self._ended:
            self._emit_end("detached" if isinstance(error, asyncio.CancelledError) else "crashed", NO_RESULT)

    def _emit_end(self, outcome: Outcome, result: ExecutionResult) -> None:
        self._ended = True
        extra, usage = result.result_json or {}, result.usage
        tokens = None
        if usage is not None:
            tokens = TokenTotals(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
        phases = as_object(extra.get("phases"))
        self.events.emit(
            RunEnded,
            outcome,
            result.error_code or "",
            result.error_family or "",
            result.error_message or "",
            loop_time() - self._began,
            tuple((name, phases[name] / 1000) for name in ("start", "run", "complete") if name in phases),
            result.model or "",
            result.biller or "",
            result.session_id or "",
            result.cost_usd,
            tokens,
            _log_totals(extra.get("log")),
        )


def _log_totals(log: dict[str, Any] | None) -> LogTotals | None:
    """The totals in `resultJson.log`, which the adapter has written itself."""
    if log is None:
        return None
    return LogTotals(log["bytes"], log["lines"], log["reconnects"], len(log["gaps"]), log["complete"])


def count_cost(result: ExecutionResult, events: RunEmitter, settings: ProcessSettings) -> None:
    """Add the cost of a run to what its agent has spent today.

    The run still holds its slot, so the next run of the slot is launched with the new sum.
    """
    if result.cost_usd:
        agent = events.run.company_id, events.run.agent_id
        settings.spending.add(agent, result.cost_usd, settings.now())


def emit_launch(launched: LaunchedJob, events: RunEmitter) -> None:
    """Emit `RunLaunched` or `RunAdopted`; all further events name the Job."""
    job, plan = launched.job, launched.plan
    events.describe_run(namespace=job.ref.namespace, job=job.ref.name)
    if launched.adopted:
        trace = job.annotations.get(TRACE_ANNOTATION, "")
        events.emit(RunAdopted, job.ref.uid, launched.prior_run or "", not is_live(job), trace)
    else:
        model = plan.config.model or ""
        events.emit(RunLaunched, job.ref.uid, plan.image, model, plan.resume or "", plan.attempt)


@contextmanager
def recorded_run(settings: ProcessSettings) -> Iterator[RecordedRun]:
    """A recorded run for a block that calls `end`. If the block raises before that, `RunEnded` is emitted."""
    run = RecordedRun(settings)
    try:
        yield run
    except BaseException as error:
        run.abandon(error)
        raise
