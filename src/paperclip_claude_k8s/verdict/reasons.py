"""Kubernetes Events, as far as they explain a wait, in one clause each."""

from collections.abc import Iterator, Sequence

from paperclip_claude_k8s.cluster.model import EventSnapshot

ROUTINE = frozenset({"Scheduled", "Pulled", "Created", "Started", "SuccessfulCreate"})
"""What happens in every good start needs no line."""


def explain_events(events: Sequence[EventSnapshot]) -> Iterator[str]:
    """One line per Event worth reading, oldest first; warnings and whatever is not routine."""
    for event in events:
        if event.kind == "Warning" or event.reason not in ROUTINE:
            again = f" (x{event.count})" if event.count > 1 and event.kind == "Warning" else ""
            yield f"{event.reason}: {event.message}{again}"
