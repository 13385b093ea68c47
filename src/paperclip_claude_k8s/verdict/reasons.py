"""Kubernetes Events, as far as they explain a wait, in one clause each."""

from collections.abc import Iterator, Sequence

from paperclip_claude_k8s.cluster.model import EventSnapshot

ROUTINE = frozenset({"Scheduled", "Pulled", "Created", "Started", "SuccessfulCreate"})
"""What happens in every good start needs no line."""


def events_worth_telling(events: Sequence[EventSnapshot]) -> Iterator[EventSnapshot]:
    """Warnings and whatever is not routine, oldest first."""
    return (event for event in events if event.kind == "Warning" or event.reason not in ROUTINE)


def describe_event(event: EventSnapshot) -> str:
    again = f" (x{event.count})" if event.count > 1 and event.kind == "Warning" else ""
    return f"{event.reason}: {event.message}{again}"
