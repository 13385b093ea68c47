"""Collects the events that an adapter reports to its subscribers."""

from typing import Any, TypeVar

from paperclip_claude_k8s.instrumentation import Event, RunEvent

E = TypeVar("E", bound=Event)


class EventLog:
    """A subscriber that keeps every event: `adapter.on_event(log)`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E], **fields: Any) -> list[E]:
        """The events of this class with these fields."""
        return [
            event
            for event in self.events
            if isinstance(event, kind) and all(getattr(event, k) == v for k, v in fields.items())
        ]

    def one(self, kind: type[E], **fields: Any) -> E:
        """The only event of this class with these fields."""
        (event,) = self.of(kind, **fields)
        return event

    def steps(self) -> list[str]:
        """The class names of all run events in order, except `RunStatus`, which reports a status line."""
        names = [type(event).__name__ for event in self.events if isinstance(event, RunEvent)]
        return [name for name in names if name != "RunStatus"]
