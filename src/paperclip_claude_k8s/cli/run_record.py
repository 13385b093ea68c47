"""Where the Job of a run is, according to what a Paperclip server recorded of the run and of its agent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from paperclip_claude_k8s.base.json_readers import as_object, as_trimmed
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.run.place_notes import CLUSTER_NOTE, NAMESPACE_NOTE, cluster_note

INVOKED = "adapter.invoke"
"""The server's type of the event in which it stores what the adapter gave to `onMeta`."""
Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All places that are possible according to the record. An empty set: the record says nothing."""

    namespaces: frozenset[str] = frozenset()
    """"" stands for the namespace that a host uses if no setting names one."""
    clusters: frozenset[str] = frozenset()
    """Cluster notes; see `place_notes`."""

    @classmethod
    def of_events(cls, events: Iterable[Mapping[str, Any]]) -> Self:
        """What the notes of the run itself say."""
        payloads = [as_object(event.get("payload")) for event in events if event.get("eventType") == INVOKED]
        notes = [
            note
            for payload in payloads
            if payload.get("adapterType") == ADAPTER_TYPE and isinstance(payload.get("commandNotes"), list)
            for note in payload["commandNotes"]
            if isinstance(note, str)
        ]
        return cls(
            frozenset(note.removeprefix(NAMESPACE_NOTE) for note in notes if note.startswith(NAMESPACE_NOTE)),
            frozenset(note for note in notes if note.startswith(CLUSTER_NOTE)),
        )

    @property
    def is_complete(self) -> bool:
        return bool(self.namespaces and self.clusters)

    def completed_by(self, configs: Sequence[Config]) -> "RunRecord":
        """Where the notes say nothing: what the settings name that the agent had since the run began."""
        namespaces = frozenset(as_trimmed(config.get("namespace")) or "" for config in configs)
        return RunRecord(self.namespaces or namespaces, self.clusters or frozenset(map(cluster_of, configs)))


def cluster_of(config: Config) -> str:
    """The cluster note of an agent's settings."""
    return cluster_note(as_trimmed(config.get("kubeconfig")), as_trimmed(config.get("kubeContext")))


def configs_since(began: object, revisions: Iterable[Mapping[str, Any]]) -> list[Config] | None:
    """The settings before and after each change since the time `began`; None if a time cannot be read."""
    start = parse_time(began if isinstance(began, str) else None)
    configs: list[Config] = []
    for revision in revisions:
        changed = parse_time(as_trimmed(revision.get("createdAt")))
        if start is None or changed is None:
            return None
        if changed >= start:
            snapshots = (as_object(revision.get(key)) for key in ("beforeConfig", "afterConfig"))
            configs += [as_object(snapshot.get("adapterConfig")) for snapshot in snapshots]
    return configs if start is not None else None
