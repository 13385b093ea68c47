"""Fault injection: a test makes the cluster behave like a broken or an old cluster."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


def _event_already_set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Faults:
    """Settings that a test changes while the cluster runs. Durations in seconds, sizes in bytes."""

    status_delay: float = 0.0
    """Delay between the end of a container and its status in the Pod."""
    condition_delay: float = 0.0
    """Delay between the end of a Pod and the condition of its Job."""
    jobs_never_finish: bool = False
    """The Job controller writes no condition, however the Pods ended."""
    replaces_terminating_pods: bool = False
    """Behave as a server before 1.29, which drops `podReplacementPolicy`: a deleted Pod is replaced at
    once."""
    pod_refusal: str = ""
    """Message with which admission refuses every new Pod; empty: no Pod is refused."""
    pod_suffix: str = ""
    """Last part of the names of new Pods; empty: a random one."""
    rotate_log_at: int = 0
    """Size at which a container's log is rotated; 0: never."""
    every_record_stamped: bool = False
    """Serve logs as kubelets before v1.26: a timestamp before every record, not only at the start of a
    line."""
    ignored_log_options: set[str] = field(default_factory=set)
    """Options of log requests that are ignored, as virtual kubelets do: `timestamps`, `follow`, `sinceTime`,
    `tailLines`."""
    request_hooks: list[Callable[[str, str], None]] = field(default_factory=list)
    """Called with verb and resource of every request. A hook that raises a `Problem` refuses the request."""
    denied: set[tuple[str, str]] = field(default_factory=set)
    """(verb, resource) pairs that RBAC denies; subresources as "pods/log"."""
    warnings: list[str] = field(default_factory=list)
    """`Warning` headers in the response to every create, as Pod Security sends them."""
    logs_flowing: asyncio.Event = field(default_factory=_event_already_set)
    """If cleared, open log streams deliver nothing and do not end."""
    log_stream_cutters: set[Callable[[], None]] = field(default_factory=set)
    """One function per open log stream; it breaks the connection."""
    watch_closers: set[Callable[[], None]] = field(default_factory=set)
    """One function per open watch; it ends the watch."""

    def drop_log_streams(self) -> None:
        """Break every open log stream, as a load balancer would."""
        for cut in tuple(self.log_stream_cutters):
            cut()

    def close_watches(self) -> None:
        """End every open watch."""
        for close in tuple(self.watch_closers):
            close()
