"""Traces and metrics by OpenTelemetry: `adapter.on_event(OpenTelemetry())`. Needs the extra `otel`.

Only the API of OpenTelemetry is used. A host that configures an SDK gets the data; without one nothing is
recorded. A run's span begins on the event loop, because its context goes into the Pod; everything else is
done in the thread of the subscription, with the times of the events.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from paperclip_claude_k8s.instrumentation.event_types import (
    AgentStarted,
    Event,
    LogGap,
    LogReconnecting,
    RunAdopted,
    RunEnded,
    RunEvent,
    RunInfo,
    RunLaunched,
    RunStopping,
    SessionLost,
    StartPhaseBegan,
)
from paperclip_claude_k8s.instrumentation.run_metrics import RunMetrics

SCOPE = "paperclip_claude_k8s"
PROVIDERS = {"anthropic": "anthropic", "aws_bedrock": "aws.bedrock"}
"""`RunEnded.provider` → `gen_ai.provider.name`."""
SPAN_EVENTS: Mapping[type[Event], str] = {
    RunAdopted: "run.adopted",
    LogReconnecting: "log.reconnecting",
    LogGap: "log.gap",
    RunStopping: "run.stopping",
    SessionLost: "session.lost",
}
"""Events that become events of the run's span."""
_propagator = TraceContextTextMapPropagator()


class OpenTelemetry:
    """A subscriber that turns events into spans and metrics."""

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        """A provider that is None is replaced by OpenTelemetry's global one."""
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._metrics = RunMetrics(metrics.get_meter(SCOPE, meter_provider=meter_provider))
        self._traces: dict[int, _RunTrace] = {}
        """`RunInfo.execution` → the trace of that call."""

    def begin(self, run: RunInfo, at: datetime, traceparent: str, tracestate: str) -> tuple[str, str]:
        """Begin the run's span; its parent is the host's context, else the current span, if there is one."""
        parent = None
        if traceparent:
            parent = _propagator.extract({"traceparent": traceparent, "tracestate": tracestate})
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.agent.id": run.agent_id,
            "gen_ai.agent.name": run.agent_name,
            "claude_k8s.run.id": run.run_id,
            "claude_k8s.company.id": run.company_id,
        }
        span = self._tracer.start_span(
            f"invoke_agent {run.agent_name or run.agent_id}"[:200],
            parent,
            SpanKind.CLIENT,
            {key: value for key, value in attributes.items() if value},
            start_time=_nanoseconds(at),
        )
        self._traces[run.execution] = _RunTrace(self._tracer, span, self._metrics)
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(span))
        return carrier.get("traceparent", traceparent), carrier.get("tracestate", tracestate)

    def __call__(self, event: Event) -> None:
        self._metrics.record(event)
        if not isinstance(event, RunEvent):
            return
        run_trace = self._traces.get(event.run.execution)
        if run_trace is not None:
            run_trace.record(event)
            if isinstance(event, RunEnded):
                del self._traces[event.run.execution]


class _RunTrace:
    """The span of one call of `execute`, and those of its phases."""

    def __init__(self, tracer: Tracer, span: Span, phase_metrics: RunMetrics) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, Context())
        self._metrics = phase_metrics
        self._phase = ""
        """The phase that the run is in; "" if none is known."""
        self._since: datetime | None = None
        """When that phase began."""

    def record(self, event: RunEvent) -> None:
        """Record one event of the run."""
        if type(event) in SPAN_EVENTS:
            self._span.add_event(SPAN_EVENTS[type(event)], _attributes(event.facts()), _nanoseconds(event.at))
        match event:
            case RunLaunched() | RunAdopted():
                self._describe_job(event)
            case StartPhaseBegan(phase=phase):
                self._change_phase(phase, event.at)
            case AgentStarted():
                self._change_phase("run", event.at)
                self._span.set_attributes(
                    {
                        "k8s.pod.name": event.pod,
                        "k8s.pod.uid": event.pod_uid,
                        "k8s.node.name": event.node,
                    }
                )
            case SessionLost():
                self._change_phase("", event.at)
            case RunEnded():
                self._end(event)

    def _describe_job(self, event: RunLaunched | RunAdopted) -> None:
        known = {
            "k8s.namespace.name": event.run.namespace,
            "k8s.job.name": event.run.job,
            "k8s.job.uid": event.job_uid,
        }
        if isinstance(event, RunLaunched):
            known |= _attributes({"container.image.name": event.image, "gen_ai.request.model": event.model})
        self._span.set_attributes(known)
        if isinstance(event, RunAdopted) and event.prior_traceparent:
            earlier = _propagator.extract({"traceparent": event.prior_traceparent}, Context())
            self._span.add_link(trace.get_current_span(earlier).get_span_context())

    def _change_phase(self, phase: str, at: datetime) -> None:
        if self._phase and self._since is not None:
            self._add_phase(self._phase, self._since, at)
        self._phase, self._since = phase, at

    def _add_phase(self, name: str, began: datetime, ended: datetime) -> None:
        child = self._tracer.start_span(name, self._context, start_time=_nanoseconds(began))
        child.end(_nanoseconds(max(began, ended)))
        self._metrics.record_phase(name, (ended - began).total_seconds())

    def _end(self, event: RunEnded) -> None:
        self._end_phases(event)
        usage = event.tokens
        known: dict[str, Any] = {
            "claude_k8s.outcome": event.outcome,
            "claude_k8s.cost_usd": event.cost_usd,
            "gen_ai.provider.name": PROVIDERS.get(event.provider),
            "gen_ai.response.model": event.model,
            "gen_ai.conversation.id": event.session,
            # by OpenTelemetry's conventions, the input includes what was read from the cache
            "gen_ai.usage.input_tokens": usage and usage.input + usage.cached_input,
            "gen_ai.usage.cache_read.input_tokens": usage and usage.cached_input,
            "gen_ai.usage.output_tokens": usage and usage.output,
        }
        if event.outcome in {"failed", "crashed"}:
            known["error.type"] = event.error_code or event.outcome
            self._span.set_status(Status(StatusCode.ERROR, event.error_code or event.outcome))
        self._span.set_attributes(_attributes(known))
        self._span.end(_nanoseconds(event.at))

    def _end_phases(self, event: RunEnded) -> None:
        """End the last phase. The result says when the container's end was known, and the log complete."""
        phases = dict(event.phases)
        if self._phase != "run" or self._since is None or "run" not in phases:
            self._change_phase("", event.at)
            return
        ended = min(self._since + timedelta(seconds=phases["run"]), event.at)
        self._change_phase("", ended)
        complete = min(ended + timedelta(seconds=phases.get("complete", 0.0)), event.at)
        self._add_phase("complete", ended, complete)


def _attributes(known: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are known; OpenTelemetry has no null."""
    return {key: value for key, value in known.items() if value is not None and value != ""}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
