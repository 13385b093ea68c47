"""Kubernetes Events on the Job of a run, for people who look at it with `kubectl describe`.

Only what is unusual becomes an Event: an adoption, a connection that was lost, a gap in the log, a stop, a
failure. A run has at most `MAX_EVENTS`, each reason once in `REASON_PAUSE` seconds. Without the right to
create Events, only these Events are missing: after the first refusal the run sends none any more.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.cluster.job_event_objects import JobEvent, event_manifest
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.instrumentation.event_types import (
    LogGap,
    LogReconnecting,
    RunAdopted,
    RunEvent,
    RunStopping,
    SessionLost,
)
from paperclip_claude_k8s.ports import Ports

MAX_EVENTS = 10
REASON_PAUSE = 60.0
POST_LIMIT = 2.0
"""Seconds for the requests at the end of a run: they delay the end by no more than this."""


def job_event_of(event: RunEvent) -> JobEvent | None:
    """The Event on the Job that this event of a run becomes, if any. It contains no text of the agent."""
    match event:
        case RunAdopted(prior_run=prior):
            return JobEvent("Adopted", f"run {event.run.run_id} continues with this Job (prior run: {prior})")
        case LogReconnecting(attempts=attempts):
            return JobEvent("LogReconnecting", f"the log is opened again; failed attempts: {attempts}")
        case LogGap(missing_lines=lines, restored=False):
            return JobEvent(
                "LogGap", f"lines of the agent's log are lost: {lines or 'unknown'}", warning=True
            )
        case RunStopping(reason=reason):
            return JobEvent("Stopping", f"the adapter stops the agent: {reason}")
        case SessionLost():
            return JobEvent("SessionLost", "the session cannot be resumed; a second Job follows")
    return None


class JobEvents:
    """The Events of one Job. `listen` gets the events of the run; `post` sends the Events made of them."""

    def __init__(self, job: JobRef, ports: Ports) -> None:
        self.on_waiting: Callable[[], None] = lambda: None
        """Called when there is something to send; starts `post`."""
        self._job = job
        self._ports = ports
        self._allowed = True
        self._waiting: deque[JobEvent] = deque()
        self._noted = 0
        """Number of Events so far."""
        self._last: dict[str, float] = {}
        """Reason → loop time of its last Event."""

    def listen(self, event: RunEvent) -> None:
        """Note the Event that an event of the run becomes, if any."""
        job_event = job_event_of(event)
        if job_event is not None:
            self._note(job_event)
            self.on_waiting()

    async def post(self) -> None:
        """Send the waiting Events. Errors are ignored; if the right is missing, no more Events are sent."""
        while self._waiting and self._allowed:
            manifest = event_manifest(self._job, self._waiting.popleft(), self._ports.settings.now())
            try:
                await self._ports.cluster.create_event(self._job.namespace, manifest)
            except ClusterError as error:
                self._allowed = not error.lacks_right

    async def finish(self, code: str | None) -> None:
        """Send what is waiting, and the error code of the run, within `POST_LIMIT` seconds."""
        if code is not None and code != "cancelled":  # a stop by the host has the Event `Stopping`
            self._note(JobEvent("RunFailed", f"the run failed with the code {code}", warning=True))
        with suppress(TimeoutError):
            async with asyncio.timeout(POST_LIMIT):
                await self.post()

    def _note(self, event: JobEvent) -> None:
        now = loop_time()
        if self._noted >= MAX_EVENTS or now - self._last.get(event.reason, float("-inf")) < REASON_PAUSE:
            return
        self._noted += 1
        self._last[event.reason] = now
        self._waiting.append(event)
