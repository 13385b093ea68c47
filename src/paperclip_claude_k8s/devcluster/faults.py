"""Faults on request: what a cluster does on a bad day, when a test asks for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from paperclip_claude_k8s.devcluster.problems import Problem


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Refusal:
    """Answer the next `times` requests of this verb and resource with a status."""

    verb: str
    resource: str
    code: int
    times: int = 1
    retry_after: int | None = None
    message: str = "mischief was asked for"


@dataclass(slots=True)
class Faults:
    """Knobs that tests turn. Durations in seconds, sizes in bytes."""

    status_delay: float = 0.0
    """How late a container's end shows in the Pod's status."""
    condition_delay: float = 0.0
    """How late the Job's condition follows."""
    replaces_dying_pods: bool = False
    """As a server before 1.29, which drops `podReplacementPolicy`: a deleted Pod is replaced at once."""
    rotate_log_at: int = 0
    """Size at which a container's log is rotated; 0 is never."""
    every_record_stamped: bool = False
    """Log answers as of kubelets before v1.26."""
    refusals: list[Refusal] = field(default_factory=list)
    denied: set[tuple[str, str]] = field(default_factory=set)
    """(verb, resource) pairs that RBAC refuses, subresources as "pods/log"."""
    warnings: list[str] = field(default_factory=list)
    """What the server warns of in the answer to every create, as Pod Security does."""
    talking: asyncio.Event = field(default_factory=_set_event)
    """Cleared, open log streams bring nothing any more, and do not end."""
    streams: set[Callable[[], None]] = field(default_factory=set)
    """How to break each open log stream."""
    watches: set[Callable[[], None]] = field(default_factory=set)
    """How to end each open watch."""

    def refuse(  # noqa: PLR0913, PLR0917  # one knob for each part of the answer
        self,
        verb: str,
        resource: str,
        code: int,
        times: int = 1,
        retry_after: int | None = None,
        message: str = "mischief was asked for",
    ) -> None:
        self.refusals.append(Refusal(verb, resource, code, times, retry_after, message))

    async def heard(self) -> None:
        """Hold a log stream back for as long as streams are to be silent."""
        await self.talking.wait()

    def drop_log_streams(self) -> None:
        """Cut every open log stream, as a load balancer would."""
        for cut in tuple(self.streams):
            cut()

    def close_watches(self) -> None:
        for close in tuple(self.watches):
            close()

    def check(self, verb: str, resource: str) -> None:
        """Raise what is wished for this request."""
        for refusal in self.refusals:
            if (refusal.verb, refusal.resource) == (verb, resource) and refusal.times > 0:
                refusal.times -= 1
                reasons = {
                    403: "Forbidden",
                    429: "TooManyRequests",
                    500: "InternalError",
                    503: "ServiceUnavailable",
                }
                reason = reasons.get(refusal.code, "Unknown")
                raise Problem(refusal.code, reason, refusal.message, retry_after=refusal.retry_after)
