"""Events of runs and of the process, for subscribers: `adapter.on_event(callback)`.

Names that are listed in `__all__` are public; `docs/observability.md` describes them. Importing this package
loads neither OpenTelemetry nor anything else outside the standard library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from paperclip_claude_k8s.instrumentation.event_hub import EventHub, Subscription
from paperclip_claude_k8s.instrumentation.event_types import (
    AgentStarted,
    ApiRequest,
    Event,
    LaunchBegan,
    LeaseChanged,
    LogGap,
    LogReconnecting,
    LogTotals,
    RunAdopted,
    RunEnded,
    RunEvent,
    RunInfo,
    RunLaunched,
    RunReceived,
    RunStatus,
    RunStopping,
    SessionLost,
    StartPhaseBegan,
    TokenTotals,
    WatchChanged,
)
from paperclip_claude_k8s.instrumentation.run_emitter import RunEmitter

if TYPE_CHECKING:
    from paperclip_claude_k8s.instrumentation.open_telemetry import OpenTelemetry
    from paperclip_claude_k8s.instrumentation.prometheus import PrometheusMetrics

EVENT_TYPES: tuple[type[Event], ...] = (
    RunReceived,
    LaunchBegan,
    RunLaunched,
    RunAdopted,
    StartPhaseBegan,
    AgentStarted,
    LogReconnecting,
    LogGap,
    RunStopping,
    SessionLost,
    RunStatus,
    RunEnded,
    ApiRequest,
    WatchChanged,
    LeaseChanged,
)
"""Every class of which events are emitted."""

__all__ = [
    "EVENT_TYPES",
    "AgentStarted",
    "ApiRequest",
    "Event",
    "LaunchBegan",
    "LeaseChanged",
    "LogGap",
    "LogReconnecting",
    "LogTotals",
    "OpenTelemetry",
    "PrometheusMetrics",
    "RunAdopted",
    "RunEnded",
    "RunEvent",
    "RunInfo",
    "RunLaunched",
    "RunReceived",
    "RunStatus",
    "RunStopping",
    "SessionLost",
    "StartPhaseBegan",
    "Subscription",
    "TokenTotals",
    "WatchChanged",
]
_ = EventHub, RunEmitter  # not public: imported here for the other packages of the adapter


if not TYPE_CHECKING:
    _MODULES = {"OpenTelemetry": "open_telemetry", "PrometheusMetrics": "prometheus"}

    def __getattr__(name: str) -> object:
        """Load what needs an extra (`otel`, `prometheus`) when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
