"""Events of runs and of the process, for subscribers: `adapter.on_event(callback)`.

Names that are listed in `__all__` are public; `docs/observability.md` describes them. Importing this package
loads neither OpenTelemetry nor anything else outside the standard library.
"""

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
_ = EventHub, RunEmitter
