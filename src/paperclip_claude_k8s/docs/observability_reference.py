"""Renders `observability.md`: its own introduction, then the tables of events, spans and metrics."""

import inspect
import logging
from dataclasses import fields
from pathlib import Path

from paperclip_claude_k8s.instrumentation import EVENT_TYPES, Event, RunEvent

_PAGE = Path(__file__).with_name("observability.md")
_FIRST_TABLE = "\n## Events\n"
_EVENTS = """
All events have `at`, a time in UTC. Events of a run have a `run`: a `RunInfo` with `execution` (the number of
the call in this process), `run_id`, `agent_id`, `agent_name`, `company_id`, `namespace` and `job`. The level
is the highest one at which an event of the class is logged.

| event | logger and level | fields | meaning |
|---|---|---|---|
"""


def observability_reference() -> str:
    """The page: its introduction unchanged, then the generated sections."""
    introduction = _PAGE.read_text(encoding="utf-8").partition(_FIRST_TABLE)[0].rstrip() + "\n"
    return introduction + _FIRST_TABLE + _EVENTS + "".join(map(_event_row, EVENT_TYPES))


def _event_row(kind: type[Event]) -> str:
    common = {field.name for field in fields(RunEvent if issubclass(kind, RunEvent) else Event)}
    names = ", ".join(f"`{field.name}`" for field in fields(kind) if field.name not in common)
    logger = kind.LOGGER.rpartition(".")[2]
    meaning = " ".join((inspect.getdoc(kind) or "").split())
    return f"| `{kind.__name__}` | {logger}, {logging.getLevelName(kind.LEVEL)} | {names} | {meaning} |\n"
