"""Wait for the agent's container to start, and report why it takes long.

Four budgets limit the wait: until the Pod has a node, for pulling images, for images that the registry does
not have, and for the rest of the start. Each budget is spent only during its kind of waiting. None is spent
while the watch is out of date, because the agent may already work.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.aio import Backoff, loop_time
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import EventSnapshot, Known, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.instrumentation.event_types import StartPhase, StartPhaseBegan
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.read_now import read_now
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    NotStarted,
    PodLost,
    canceller,
    end_without_pod,
    only_pod_lost,
)
from paperclip_claude_k8s.verdict.obstacles import NO_OBSTACLES, Obstacles
from paperclip_claude_k8s.verdict.start import (
    AgentStarted,
    FinishedWithoutPod,
    LostBeforeStart,
    NeverStarts,
    StartBudget,
    StartVerdict,
    StillWaiting,
    judge_start,
    never_began,
    queue_took_back,
)
from paperclip_claude_k8s.verdict.upload_end import unpack_failure
from paperclip_claude_k8s.verdict.wording import describe_event, describe_pod, notable_events
from paperclip_claude_k8s.verdict.workspace_end import clone_failure

StartResult: TypeAlias = PodSnapshot | NotStarted | PodLost | DeadlinePassed
"""The Pod whose agent container runs or has run, or why there will be none."""
MAX_EVENTS_PAUSE = 30.0
"""Longest pause in seconds between two lists of Events. A pause is as long as the wait so far, up to this."""
READ_INTERVAL = 1.0
"""Seconds between two reads when a budget is used up and the reads fail."""
DISRUPTED_EARLIER = "an earlier host process observed that it was being taken away"


@dataclass(slots=True)
class _Budgets:
    """Limit and spent time of each budget in seconds, and which budget is being spent now."""

    limits: dict[StartBudget, float]
    spent: dict[StartBudget, float] = field(default_factory=dict)
    running: StartBudget = StartBudget.NONE
    since: float = 0.0
    """Loop time from which on `running` is spent."""

    @classmethod
    def of(cls, config: AdapterConfig) -> "_Budgets":
        return cls(
            {
                StartBudget.SCHEDULE: config.schedule_timeout_sec,
                StartBudget.PULL: config.image_pull_timeout_sec,
                StartBudget.MISSING_IMAGE: config.missing_image_timeout_sec,
                StartBudget.START: config.start_timeout_sec,
            }
        )

    def switch_to(self, budget: StartBudget, now: float) -> None:
        """Spend this budget from now on."""
        if budget is not self.running:
            self.spent[self.running] = self.spent.get(self.running, 0.0) + now - self.since
            self.running, self.since = budget, now

    def left(self, now: float) -> float | None:
        """Seconds left of the budget that is being spent; None if it has no limit."""
        limit = self.limits.get(self.running)
        return None if limit is None else limit - self.spent.get(self.running, 0.0) - (now - self.since)


_PHASES: dict[StartBudget, StartPhase] = {
    StartBudget.NONE: "schedule",
    StartBudget.SCHEDULE: "schedule",
    StartBudget.PULL: "pull",
    StartBudget.MISSING_IMAGE: "pull",
    StartBudget.START: "start",
}
"""The phase of `StartPhaseBegan` for each budget. A Job that its queue holds back waits for a node, too."""
_CONTAINER_ID = re.compile(r"\b[0-9a-f]{12,64}\b")
"""The id of a container in a message of the kubelet. A message that differs only by it is not repeated."""

Reopen: TypeAlias = Callable[[], Awaitable[bool]]
"""Lets another Pod start the agent if the first one was deleted before it could; False: not possible."""


async def _cannot_reopen() -> bool:
    return False


async def wait_for_pod(  # noqa: PLR0913  # what a wait depends on
    job_watch: JobWatch,
    config: AdapterConfig,
    ports: Ports,
    narrator: Narrator,
    *,
    reattached: bool = False,
    reopen: Reopen = _cannot_reopen,
) -> StartResult:
    """Wait until the agent's container runs or has run, or will never run.

    `reattached`: an earlier host process created the Job.
    """
    waiting = _Waiting(job_watch, config, ports, narrator, reattached, reopen)
    result = await waiting.until_started()
    if reattached and isinstance(result, NotStarted):
        return NotStarted(failures.as_adopted(result.failure))
    return result


async def check_only_pod(job_watch: JobWatch, ports: Ports) -> PodLost | None:
    """Read the Pod that an adopted Job names as its only one: the watch does not report it without labels.

    Returns the ending if the Pod is gone and the Job still exists and has not finished; else None.
    """
    only = job_watch.pod_name
    if only is None or job_watch.known.pod is not None or not await _read_until_success(job_watch, ports):
        return None
    known = job_watch.known
    if known.pod is not None or known.job_gone or known.job is None or known.job.finished is not None:
        return None
    return only_pod_lost(only, DISRUPTED_EARLIER)


async def _read_until_success(job_watch: JobWatch, ports: Ports) -> bool:
    """Read Job and Pod until a read succeeds. False: the watch reported them first, or was refused."""
    timings = ports.settings.timings
    backoff = Backoff(timings.retry, timings.retry_cap)
    while job_watch.known.pod is None and not job_watch.known.job_gone and job_watch.refused is None:
        if await read_now(job_watch, ports.cluster):
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(backoff.pause()):
                await job_watch.changed()
    return False


@dataclass(slots=True)
class _Waiting:
    """The wait for the start of one container. Times are those of the event loop's clock."""

    job_watch: JobWatch
    config: AdapterConfig
    ports: Ports
    narrator: Narrator
    reattached: bool
    reopen: Reopen
    _budgets: _Budgets = field(init=False)
    _last_status: str = ""
    _phase: StartPhase | None = None
    _reported_events: set[tuple[str, str]] = field(default_factory=set)
    _obstacles: Obstacles = NO_OBSTACLES
    _began: float = field(init=False)
    _events_next: float | None = None
    """When to list Events again; None: they have not been listed yet."""

    def __post_init__(self) -> None:
        self._budgets = _Budgets.of(self.config)
        self._began = loop_time()

    async def until_started(self) -> StartResult:
        while True:
            verdict = await self._judge_after_reads()
            if not isinstance(verdict, StillWaiting):
                return verdict
            known = self.job_watch.known
            await self._narrate(known, verdict)
            outdated = self.job_watch.unreachable_since is not None
            self._emit_phase(verdict.budget)
            self._budgets.switch_to(StartBudget.NONE if outdated else verdict.budget, loop_time())
            left = self._budgets.left(loop_time())
            if left is not None and left <= 0 and (result := await self._on_budget_spent()) is not None:
                return result
            await self._wait(None if left is None else max(left, READ_INTERVAL))

    async def _judge_after_reads(self) -> StartResult | StillWaiting:
        """Judge what is known, after reopening the gate if that is due.

        If the Job has finished and no Pod explains how, Job and Pod are read and judged once more.
        """
        await self._reopen_gate()
        judged = self._judge()
        if isinstance(judged, FinishedWithoutPod):
            if not await read_now(self.job_watch, self.ports.cluster):
                return StillWaiting(
                    StartBudget.NONE, "the Job has finished, but its Pod could not be read yet"
                )
            judged = self._judge()
        if not isinstance(judged, FinishedWithoutPod):
            return judged
        known = self.job_watch.known
        if known.pod is not None and not known.pod_gone:
            return StillWaiting(
                StartBudget.START, f"the Job has finished, but its Pod {known.pod.name} has not ended"
            )
        only = self.job_watch.pod_name or ""
        return end_without_pod(judged.job, judged.condition, adopted=self.reattached, only_pod=only)

    async def _reopen_gate(self) -> None:
        """Let the next Pod start the agent if a queue suspended the Job before the first one could."""
        known = self.job_watch.known
        if known.pod_gone and queue_took_back(known) and never_began(known) and await self.reopen():
            self.job_watch.expect_another_pod()

    def _judge(self) -> StartResult | StillWaiting | FinishedWithoutPod:
        job_watch, known = self.job_watch, self.job_watch.known
        if job_watch.refused is not None:
            return NotStarted(failures.job_state_mismatch(job_watch.ref.name, str(job_watch.refused)))
        if known.job_gone:
            return _deleted_before_start(job_watch)
        self._obstacles = self._obstacles.with_pod(known.pod)
        return _start_result(judge_start(known, self._obstacles), known)

    def _events_due(self) -> float:
        """When to list Events: early while there is no Pod, since only an Event says that it was refused."""
        if self._events_next is not None:
            return self._events_next
        timings = self.ports.settings.timings
        job = self.job_watch.known.job
        lacks_pod = self.job_watch.known.pod is None and not (job is not None and job.suspended)
        return self._began + (timings.refusal_after if lacks_pod else timings.events_after)

    async def _wait(self, left: float | None) -> None:
        """Wait for a change, for the time to list Events, or for the end of the budget."""
        until_events = max(self._events_due() - loop_time(), 0.0)
        budget_first = left is not None and left < until_events
        try:
            async with asyncio.timeout(left if budget_first else until_events):
                await self.job_watch.changed()
        except TimeoutError:
            if not budget_first:
                await self._report_events()

    def _emit_phase(self, budget: StartBudget) -> None:
        phase = _PHASES[budget]
        if phase != self._phase:
            self._phase = phase
            self.narrator.events.emit(StartPhaseBegan, phase)

    async def _narrate(self, known: Known, verdict: StillWaiting) -> None:
        text = describe_pod(known.pod) if known.pod is not None else verdict.why
        content = _CONTAINER_ID.sub("", text)
        if content != self._last_status:
            self._last_status = content
            await self.narrator.status(text)

    async def _report_events(self) -> EventSnapshot | None:
        """Report each Event of Job or Pod once. Returns the newest warning, for the failure's message."""
        self._events_next = loop_time() + min(loop_time() - self._began, MAX_EVENTS_PAUSE)
        known, newest = self.job_watch.known, None
        # If the Job has a Pod, only the Events of the Pod explain the delay.
        about = known.pod.uid if known.pod is not None and not known.pod_gone else self.job_watch.ref.uid
        try:
            events = await self.ports.cluster.list_events(self.job_watch.ref.namespace, about)
        except ClusterError:
            return None  # Events only explain the wait: without the right to read them the run goes on
        self._obstacles = self._obstacles.with_events(events)
        for event in notable_events(events):
            newest = event if event.type == "Warning" else newest
            in_status = event.message and self._last_status.endswith(event.message)
            if (event.reason, event.message) not in self._reported_events and not in_status:
                self._reported_events.add((event.reason, event.message))
                await self.narrator.status(describe_event(event))
        return newest

    async def _on_budget_spent(self) -> StartResult | None:
        """Read Job and Pod once more and judge them. None: the wait goes on, also if a read failed."""
        if not await read_now(self.job_watch, self.ports.cluster):
            return None
        newest = await self._report_events()  # before the judgement, which they may explain
        verdict = await self._judge_after_reads()
        if not isinstance(verdict, StillWaiting):
            return verdict
        if verdict.budget is not self._budgets.running:
            return None  # another kind of waiting has begun, with its own budget
        limit = self._budgets.limits.get(verdict.budget)
        if limit is None:
            return None
        if verdict.lost_if_spent is not None:
            return _not_started(verdict.lost_if_spent, self.job_watch.known)
        why = verdict.why
        if newest is not None and newest.message not in why:
            why = f"{why}; {describe_event(newest)}"
        text = f"{why} (waited {limit:g}s, {verdict.budget} is {limit:g})"
        retryable = verdict.budget is not StartBudget.MISSING_IMAGE
        return NotStarted(failures.pod_schedule_failed(text, retryable=retryable))


def _deleted_before_start(job_watch: JobWatch) -> NotStarted:
    """The result if the Job was deleted before its agent started, perhaps by a person who cancelled it."""
    known = job_watch.known
    if person := canceller(known):
        return NotStarted(failures.cancelled(proven=known.pod is None or known.pod_gone, by=person))
    facts = f"job={job_watch.ref}, detected_via={known.seen_by}"
    return NotStarted(failures.job_deleted_externally(facts))


def _start_result(verdict: StartVerdict, known: Known) -> StartResult | StillWaiting | FinishedWithoutPod:
    match verdict:
        case AgentStarted(pod):
            return pod
        case NeverStarts(why, retryable):
            failure = clone_failure(known.pod) or unpack_failure(known.pod)
            if failure is not None:
                return NotStarted(failure)
            return NotStarted(failures.pod_schedule_failed(why, retryable=retryable))
        case LostBeforeStart():
            return _not_started(verdict, known)
        case StillWaiting() | FinishedWithoutPod():
            return verdict


def _not_started(why: LostBeforeStart, known: Known) -> NotStarted:
    started = False if why.never_starts or never_began(known) else None
    return NotStarted(failures.pod_disrupted(why.pod, why.reason, why.details, started=started))
