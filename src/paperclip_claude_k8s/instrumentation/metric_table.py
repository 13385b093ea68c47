"""The metrics: name, kind, unit, meaning and attributes. The only place that names them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "up_down_counter", "histogram"]
SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Bucket boundaries of histograms in seconds: requests take milliseconds, runs up to hours."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, named as in OpenTelemetry."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name that OpenTelemetry's exporter for Prometheus gives the metric."""
        unit = {"s": "_seconds", "By": "_bytes"}.get(self.unit, "")
        return self.name.replace(".", "_") + unit + ("_total" if self.kind == "counter" else "")


RUNS = Metric(
    "claude_k8s.runs",
    "counter",
    "{run}",
    "Calls of `execute` that have ended.",
    ("outcome", "error.type"),
)
ACTIVE_RUNS = Metric(
    "claude_k8s.runs.active", "up_down_counter", "{run}", "Calls of `execute` that have not ended."
)
QUEUED_RUNS = Metric(
    "claude_k8s.runs.queued",
    "up_down_counter",
    "{run}",
    "Calls of `execute` whose turn to launch has not come.",
)
RUN_DURATION = Metric(
    "claude_k8s.run.duration", "histogram", "s", "Time from a call of `execute` until its end.", ("outcome",)
)
PHASE_DURATION = Metric(
    "claude_k8s.run.phase.duration",
    "histogram",
    "s",
    "Time in each phase: `queue` (waiting for the turn to launch), `schedule`, `pull` and `start` (what the "
    "Pod waited for before its container ran), `run` (until the container's end is known), `complete` (until "
    "the log is complete).",
    ("phase",),
)
ADOPTIONS = Metric("claude_k8s.adoptions", "counter", "{run}", "Runs that continued with an existing Job.")
LOG_BYTES = Metric("claude_k8s.log.io", "counter", "By", "The agents' stdout, counted when a run ends.")
LOG_LINES = Metric(
    "claude_k8s.log.lines", "counter", "{line}", "Lines of the agents' stdout, counted when a run ends."
)
LOG_RECONNECTS = Metric(
    "claude_k8s.log.reconnects",
    "counter",
    "{reconnect}",
    "Log streams that replaced one that broke, or that continued one that had ended too early.",
)
LOG_GAPS = Metric("claude_k8s.log.gaps", "counter", "{gap}", "Parts of logs that are lost.")
COST = Metric(
    "claude_k8s.cost.usd",
    "counter",
    "",
    "Cost in US dollars, as far as it is known.",
    ("gen_ai.response.model",),
)
TOKENS = Metric(
    "claude_k8s.tokens",
    "counter",
    "{token}",
    "Tokens: `input` (with cache writes), `output`, `cache_read`.",
    ("gen_ai.token.type", "gen_ai.response.model"),
)
REQUEST_DURATION = Metric(
    "claude_k8s.api.request.duration",
    "histogram",
    "s",
    "Duration of requests to the API server; watches and logs count until the first byte. `error.type` is "
    "the HTTP status of a failure, or `no_response`.",
    ("k8s.verb", "k8s.resource", "error.type"),
)
WATCH_FAILURES = Metric(
    "claude_k8s.watch.failures",
    "counter",
    "{failure}",
    "Shared watches that began to fail.",
    ("k8s.resource",),
)
LEASE_TROUBLE = Metric(
    "claude_k8s.lease.trouble",
    "counter",
    "{event}",
    "Leases that lapsed or cannot be used.",
    ("change",),
)

METRICS = (
    RUNS,
    ACTIVE_RUNS,
    QUEUED_RUNS,
    RUN_DURATION,
    PHASE_DURATION,
    ADOPTIONS,
    COST,
    TOKENS,
    LOG_BYTES,
    LOG_LINES,
    LOG_RECONNECTS,
    LOG_GAPS,
    REQUEST_DURATION,
    WATCH_FAILURES,
    LEASE_TROUBLE,
)
