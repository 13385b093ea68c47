"""Writes events to the loggers of the standard library, which the program that uses the adapter configures.

Messages are one line without control characters. The same facts are in the record's attributes: `event`, the
class of the event; for events of a run `run_id`, `agent_id`, `company_id`, `namespace` and `job`; and the
fields of the event, except `at` and `error_message`.
"""

import logging
from functools import cache
from typing import Any

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.instrumentation.event_types import Event, RunEvent, RunInfo

MAX_CHARS = 1000
"""Longest log message, and longest text among the attributes of a record."""

_logger = cache(logging.getLogger)


def is_logged(kind: type[Event]) -> bool:
    """Whether an event of this class might be logged. Fast, because it is also called for unused events."""
    return _logger(kind.LOGGER).isEnabledFor(kind.LEVEL)


def log_event(event: Event) -> None:
    """Log the event if its logger is enabled for its level."""
    logger = _logger(event.LOGGER)
    if logger.isEnabledFor(event.level):
        logger.log(event.level, "%s", _message(event), extra=attributes(event))


def attributes(event: Event) -> dict[str, Any]:
    """The attributes of the event's log record, as JSON values."""
    run = _run_attributes(event.run) if isinstance(event, RunEvent) else {}
    return {"event": type(event).__name__, **run, **{k: _json(v) for k, v in event.facts().items()}}


def _run_attributes(run: RunInfo) -> dict[str, str]:
    return {
        "run_id": _one_line(run.run_id),
        "agent_id": _one_line(run.agent_id),
        "company_id": _one_line(run.company_id),
        "namespace": run.namespace,
        "job": run.job,
    }


def _message(event: Event) -> str:
    text = event.describe()
    if isinstance(event, RunEvent):
        job = f" ({event.run.namespace}/{event.run.job})" if event.run.job else ""
        text = f"Run {event.run.run_id or '(unnamed)'} of agent {event.run.agent_id or '-'}{job}: {text}"
    return _one_line(text)


def _json(value: object) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, str):
        return _one_line(value)
    if isinstance(value, tuple):  # pairs of name and value, as in `RunEnded.phases`
        return dict(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # `LogTotals` or `TokenTotals`
    return {name: getattr(value, name) for name in value.__dataclass_fields__}  # type: ignore[attr-defined]


def _one_line(text: str) -> str:
    return neutral(text[:MAX_CHARS].replace("\n", " "))
