"""Renders `observability.md`: its own introduction, then the tables of events and metrics."""

import inspect
import logging
from dataclasses import fields
from pathlib import Path

from paperclip_claude_k8s.instrumentation import EVENT_TYPES, Event, RunEvent
from paperclip_claude_k8s.instrumentation.metric_table import METRICS, Metric

_PAGE = Path(__file__).with_name("observability.md")
_FIRST_HEADING = "\n## Events\n"
_EVENTS = """
Each event has the field `at`, its time in UTC. Events of a run have the field `run`, a `RunInfo` with
`execution` (the number of the call of `execute` in this process), `run_id`, `agent_id`, `agent_name`,
`company_id`, `namespace` and `job`. The level is the highest one at which events of the class are logged.

| event | logger and level | fields | meaning |
|---|---|---|---|
"""
_METRICS = """
## Metrics

In Prometheus, histograms have the suffixes `_bucket`, `_sum` and `_count`, and dots become underscores.

| metric | in Prometheus | kind | attributes | meaning |
|---|---|---|---|---|
"""


def observability_reference() -> str:
    """Return the page: its introduction unchanged, then the generated sections."""
    introduction = _PAGE.read_text(encoding="utf-8").partition(_FIRST_HEADING)[0].rstrip() + "\n"
    events, metrics = "".join(map(_event_row, EVENT_TYPES)), "".join(map(_metric_row, METRICS))
    return introduction + _FIRST_HEADING + _EVENTS + events + _METRICS + metrics


def _metric_row(metric: Metric) -> str:
    attributes = ", ".join(f"`{name}`" for name in metric.attributes)
    kind = metric.kind.replace("_", "-")
    return f"| `{metric.name}` | `{metric.prometheus_name}` | {kind} | {attributes} | {metric.meaning} |\n"


def _event_row(kind: type[Event]) -> str:
    common = {field.name for field in fields(RunEvent if issubclass(kind, RunEvent) else Event)}
    names = ", ".join(f"`{field.name}`" for field in fields(kind) if field.name not in common)
    logger = kind.LOGGER.rpartition(".")[2]
    meaning = " ".join((inspect.getdoc(kind) or "").split())
    return f"| `{kind.__name__}` | {logger}, {logging.getLevelName(kind.LEVEL)} | {names} | {meaning} |\n"
