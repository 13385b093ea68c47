"""Counts events in OpenTelemetry's metrics. Needs the extra `otel`."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from opentelemetry.metrics import Meter

from paperclip_claude_k8s.instrumentation import metric_table as table
from paperclip_claude_k8s.instrumentation.event_types import (
    ApiRequest,
    Event,
    LaunchBegan,
    LeaseChanged,
    RunAdopted,
    RunEnded,
    RunEvent,
    RunReceived,
    TokenTotals,
    WatchChanged,
)
from paperclip_claude_k8s.instrumentation.metric_table import Metric

MAX_MODELS = 100
"""Number of models that have an attribute value of their own. Their names come from the agents' output, which
may contain any number of names."""
MAX_MODELS_OF_AGENT = 20
"""How many of these one agent can add, so that an agent that invents names does not use them all up."""
OTHER = "other"
STATUSES = range(100, 600)
Record: TypeAlias = Callable[..., None]


class RunMetrics:
    """Creates the instruments of `metric_table` and records each event in them. Used in one thread."""

    def __init__(self, meter: Meter) -> None:
        self._record = {metric.name: _instrument(meter, metric) for metric in table.METRICS}
        self._active: set[int] = set()
        """Calls of `execute` that have not ended, by `RunInfo.execution`."""
        self._queued: set[int] = set()
        """Those of them whose turn to launch has not come."""
        self._models: set[str] = set()
        self._added: Counter[str] = Counter()
        """Agent → how many models its runs were the first to name."""

    def record(self, event: Event) -> None:
        """Record one event."""
        match event:
            case ApiRequest():
                self._record_request(event)
            case RunEvent():
                self._record_run_event(event)
            case WatchChanged(resource=resource, change="failing"):
                self._add(table.WATCH_FAILURES, 1, {"k8s.resource": resource})
            case LeaseChanged(change="lapsed" | "unavailable" as change):
                self._add(table.LEASE_TROUBLE, 1, {"change": change})

    def record_phase(self, phase: str, seconds: float) -> None:
        """Record the time that a run has spent in a phase."""
        self._add(table.PHASE_DURATION, max(seconds, 0.0), {"phase": phase})

    def record_end(self, event: RunEnded) -> None:
        """Record the end of a run, even if no other event of the run was recorded."""
        outcome: dict[str, str] = {"outcome": event.outcome}
        code = {"error.type": event.error_code or event.outcome} if _is_error(event) else {}
        self._add(table.RUNS, 1, {**outcome, **code})
        self._add(table.RUN_DURATION, event.seconds, outcome)
        model = {"gen_ai.response.model": self._known_model(event.model, event.run.agent_id)}
        if event.cost_usd:
            self._add(table.COST, event.cost_usd, model)
        if event.tokens is not None:
            self._record_tokens(event.tokens, model)
        if event.log is not None:
            self._add(table.LOG_BYTES, event.log.bytes)
            self._add(table.LOG_LINES, event.log.lines)
            self._add(table.LOG_RECONNECTS, event.log.reconnects)
            self._add(table.LOG_GAPS, event.log.gaps)

    def _record_run_event(self, event: RunEvent) -> None:
        execution = event.run.execution
        match event:
            case RunReceived():
                self._active.add(execution)
                self._queued.add(execution)
                self._add(table.ACTIVE_RUNS, 1)
                self._add(table.QUEUED_RUNS, 1)
            case LaunchBegan(queued_seconds=seconds):
                self._leave_queue(execution)
                self.record_phase("queue", seconds)
            case RunAdopted():
                self._add(table.ADOPTIONS, 1)
            case RunEnded():
                self._leave_queue(execution)
                if execution in self._active:
                    self._active.discard(execution)
                    self._add(table.ACTIVE_RUNS, -1)
                self.record_end(event)

    def _leave_queue(self, execution: int) -> None:
        if execution in self._queued:
            self._queued.discard(execution)
            self._add(table.QUEUED_RUNS, -1)

    def _record_tokens(self, tokens: TokenTotals, model: dict[str, str]) -> None:
        kinds = (("input", tokens.input), ("output", tokens.output), ("cache_read", tokens.cached_input))
        for kind, number in kinds:
            self._add(table.TOKENS, number, {"gen_ai.token.type": kind, **model})

    def _record_request(self, event: ApiRequest) -> None:
        attributes = {"k8s.verb": event.verb, "k8s.resource": event.resource}
        if event.reason:
            known = event.status is not None and event.status in STATUSES
            attributes["error.type"] = str(event.status) if known else "no_response"
        self._add(table.REQUEST_DURATION, event.seconds, attributes)

    def _known_model(self, model: str, agent: str) -> str:
        if not model or model in self._models:
            return model or "unknown"
        if len(self._models) >= MAX_MODELS or self._added[agent] >= MAX_MODELS_OF_AGENT:
            return OTHER
        self._models.add(model)
        self._added[agent] += 1
        return model

    def _add(self, metric: Metric, value: float, attributes: dict[str, str] | None = None) -> None:
        self._record[metric.name](value, attributes)


def _is_error(event: RunEnded) -> bool:
    return event.outcome in {"failed", "crashed"}


def _instrument(meter: Meter, metric: Metric) -> Record:
    common: Any = {"unit": metric.unit, "description": metric.meaning}
    match metric.kind:
        case "counter":
            return meter.create_counter(metric.name, **common).add
        case "up_down_counter":
            return meter.create_up_down_counter(metric.name, **common).add
        case "histogram":
            bounds = list(table.SECONDS)
            return meter.create_histogram(
                metric.name, **common, explicit_bucket_boundaries_advisory=bounds
            ).record
