"""Emits the events of one call of `execute`."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Concatenate, ParamSpec

from paperclip_claude_k8s.instrumentation.event_hub import EventHub
from paperclip_claude_k8s.instrumentation.event_types import RunEvent, RunInfo

P = ParamSpec("P")
_executions = count(1)
_log = logging.getLogger(__name__)


class RunEmitter:
    """Emits events with the run and the time. Creates an event only if something receives it."""

    def __init__(self, hub: EventHub, now: Callable[[], datetime]) -> None:
        self.run = RunInfo(execution=next(_executions))
        """The run, as far as it is known."""
        self.listener: Callable[[RunEvent], None] | None = None
        """Called on the event loop with each event, before subscribers; it must neither block nor raise."""
        self._hub = hub
        self._now = now

    def describe_run(self, **known: str) -> None:
        """Add fields of `RunInfo`, which all further events have."""
        self.run = replace(self.run, **known)  # type: ignore[arg-type]  # the fields that are text

    def emit(
        self, kind: Callable[Concatenate[datetime, RunInfo, P], RunEvent], *args: P.args, **fields: P.kwargs
    ) -> None:
        """Emit an event of this class; the arguments are its fields after `at` and `run`."""
        if self.listener is None and not self._hub.wants(kind):  # type: ignore[arg-type]  # a class
            return
        event = kind(self._now(), self.run, *args, **fields)
        if self.listener is not None:
            self.listener(event)
        self._hub.emit(event)

    def begin_trace(self, traceparent: str, tracestate: str) -> tuple[str, str]:
        """`traceparent` and `tracestate` for the Pod: those of the run's span, else the host's."""
        if self._hub.tracer is not None:
            try:
                return self._hub.tracer.begin(self.run, self._now(), traceparent, tracestate)
            except Exception as error:  # noqa: BLE001  # telemetry must not end a run
                _log.warning("The trace of a run could not begin; the run goes on", exc_info=error)
        return traceparent, tracestate
