"""Wait until the agent's container can be listened to, and say why it takes so long (SPEC 4)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import Known, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.read_now import read_now
from paperclip_claude_k8s.verdict.ending import DeadlinePassed, NotStarted, PodLost, end_without_pod
from paperclip_claude_k8s.verdict.start import (
    AgentStarted,
    FinishedWithoutPod,
    LostBeforeStart,
    NeverStarts,
    StartBudget,
    StartVerdict,
    StillWaiting,
    describe_pod,
    judge_start,
    never_began,
    queue_took_back,
    start_budget_spent,
)
from paperclip_claude_k8s.verdict.wording import describe_event, notable_events

Settled: TypeAlias = PodSnapshot | NotStarted | PodLost | DeadlinePassed
"""The Pod whose agent container can be listened to, or why there will be none."""
EVENTS_CAP = 30.0
"""Longest pause between two looks at the Events of a Pod that waits, in seconds; pauses double up to it."""
LOOK_AGAIN = 1.0
"""Least seconds between two looks once a budget is spent and nothing can be seen."""


@dataclass(slots=True)
class _Clock:
    """Three budgets, each running only while its own kind of waiting goes on."""

    limits: dict[StartBudget, float]
    spent: dict[StartBudget, float] = field(default_factory=dict)
    running: StartBudget = StartBudget.NONE
    since: float = 0.0

    @classmethod
    def of(cls, config: AdapterConfig) -> "_Clock":
        return cls(
            {
                StartBudget.SCHEDULE: config.schedule_timeout_sec,
                StartBudget.PULL: config.image_pull_timeout_sec,
                StartBudget.START: config.start_timeout_sec,
            }
        )

    def turn_to(self, budget: StartBudget, now: float) -> None:
        if budget is not self.running:
            self.spent[self.running] = self.spent.get(self.running, 0.0) + now - self.since
            self.running, self.since = budget, now

    def left(self, now: float) -> float | None:
        limit = self.limits.get(self.running)
        return None if limit is None else limit - self.spent.get(self.running, 0.0) - (now - self.since)


Reopen: TypeAlias = Callable[[], Awaitable[bool]]
"""Lets another Pod start the agent where the first one went before it could; False: it may not."""


async def _never() -> bool:
    return False


async def wait_for_pod(  # noqa: PLR0913  # what a wait needs to know
    job_watch: JobWatch,
    config: AdapterConfig,
    ports: Ports,
    say: Narrator,
    *,
    reattached: bool = False,
    reopen: Reopen = _never,
) -> Settled:
    """The Pod once its agent container runs or has run, or why that will not happen."""
    waiting = _Waiting(job_watch, config, ports, say, reattached=reattached, reopen=reopen)
    seen = await waiting.until_listening()
    if reattached and isinstance(seen, NotStarted):
        return NotStarted(failures.as_adopted(seen.failure))
    return seen


class _Waiting:
    def __init__(  # noqa: PLR0913  # what a wait needs to know
        self,
        job_watch: JobWatch,
        config: AdapterConfig,
        ports: Ports,
        say: Narrator,
        *,
        reattached: bool,
        reopen: Reopen,
    ) -> None:
        self._vigil = job_watch
        self._ports = ports
        self._say = say
        self._reattached = reattached
        self._reopen = reopen
        self._clock = _Clock.of(config)
        self._limits = self._clock.limits
        self._said = ""
        self._told: set[tuple[str, str]] = set()
        self._loop = asyncio.get_running_loop()
        self._events_pause = ports.settings.timings.events_after
        self._events_due = self._loop.time() + self._events_pause

    async def until_listening(self) -> Settled:
        while True:
            verdict = await self._judged()
            if not isinstance(verdict, StillWaiting):
                return verdict
            known = self._vigil.known
            await self._narrate(known, verdict)
            # what nobody can see costs no budget: the agent may be at work already
            unseen = self._vigil.unreachable_since is not None
            self._clock.turn_to(StartBudget.NONE if unseen else verdict.budget, self._loop.time())
            left = self._clock.left(self._loop.time())
            if left is not None and left <= 0 and (spent := await self._spent()) is not None:
                return spent
            await self._next(None if left is None else max(left, LOOK_AGAIN))

    async def _judged(self) -> Settled | StillWaiting:
        """What is known by now, which a Job that ended without a known Pod makes worth a direct look."""
        await self._let_another_start()
        settled = self._judge()
        if isinstance(settled, FinishedWithoutPod):
            if not await read_now(self._vigil, self._ports.cluster):
                return StillWaiting(
                    StartBudget.NONE, "the Job has finished; its Pod cannot be looked for yet"
                )
            settled = self._judge()
        if not isinstance(settled, FinishedWithoutPod):
            return settled
        known = self._vigil.known
        if known.pod is not None and not known.pod_gone:
            return StillWaiting(
                StartBudget.START, f"the Job has finished, but its Pod {known.pod.name} has not ended"
            )
        only = self._vigil.pod_name or ""
        return end_without_pod(settled.job, settled.condition, adopted=self._reattached, only_pod=only)

    async def _let_another_start(self) -> None:
        """A queue took the Job back before the agent began: once admitted again, it gets another Pod."""
        known = self._vigil.known
        if known.pod_gone and queue_took_back(known) and never_began(known) and await self._reopen():
            self._vigil.await_another_pod()

    def _judge(self) -> Settled | StillWaiting | FinishedWithoutPod:
        job_watch, known = self._vigil, self._vigil.known
        if job_watch.refused is not None:
            return NotStarted(failures.job_state_mismatch(job_watch.ref.name, str(job_watch.refused)))
        if known.job_gone:
            facts = f"job={job_watch.ref}, detected_via={known.seen_by}"
            return NotStarted(failures.job_deleted_externally(facts))
        return _settled(judge_start(known), known)

    async def _next(self, left: float | None) -> None:
        """News, or the moment to look at the Events, or the end of the budget."""
        until_events = max(self._events_due - self._loop.time(), 0.0)
        budget_first = left is not None and left < until_events
        try:
            async with asyncio.timeout(left if budget_first else until_events):
                await self._vigil.changed()
        except TimeoutError:
            if not budget_first:
                await self._tell_events()

    async def _narrate(self, known: Known, verdict: StillWaiting) -> None:
        text = describe_pod(known.pod) if known.pod is not None else verdict.why
        if text != self._said:
            self._said = text
            await self._say.status(text)

    async def _tell_events(self) -> str:
        """Say each Event about our Job and Pod once; the newest complaint, for the message."""
        self._events_pause = min(self._events_pause * 2, EVENTS_CAP)
        self._events_due = self._loop.time() + self._events_pause
        known, newest = self._vigil.known, ""
        # Once the Job has a Pod, only the Events of the Pod explain the delay.
        about = known.pod.uid if known.pod is not None and not known.pod_gone else self._vigil.ref.uid
        try:
            events = await self._ports.cluster.list_events(self._vigil.ref.namespace, about)
        except ClusterError:
            return ""  # events only explain; not being allowed to read them must not cost the run
        for event in notable_events(events):
            line = describe_event(event)
            newest = line if event.kind == "Warning" else newest
            if (event.reason, event.message) not in self._told:
                self._told.add((event.reason, event.message))
                await self._say.status(line)
        return newest

    async def _spent(self) -> Settled | None:
        """The end of a budget, after one direct look; None when that look failed, which proves nothing."""
        if not await read_now(self._vigil, self._ports.cluster):
            return None
        verdict = await self._judged()
        if not isinstance(verdict, StillWaiting):
            return verdict
        if verdict.budget is not self._clock.running:
            return None  # the look showed that another kind of waiting goes on, with time of its own
        newest = await self._tell_events()
        limit = self._limits.get(verdict.budget)
        if limit is None:
            return None
        disrupted = start_budget_spent(self._vigil.known)
        if disrupted is not None:
            return _not_started(disrupted, self._vigil.known)
        why = f"{verdict.why}{f'; {newest}' if newest else ''}"
        text = f"{why} (waited {limit:g}s, {verdict.budget} is {limit:g})"
        return NotStarted(failures.pod_schedule_failed(text, retryable=True))


def _settled(verdict: StartVerdict, known: Known) -> Settled | StillWaiting | FinishedWithoutPod:
    match verdict:
        case AgentStarted(pod):
            return pod
        case NeverStarts(why, retryable):
            return NotStarted(failures.pod_schedule_failed(why, retryable=retryable))
        case LostBeforeStart():
            return _not_started(verdict, known)
        case StillWaiting() | FinishedWithoutPod():
            return verdict


def _not_started(why: LostBeforeStart, known: Known) -> NotStarted:
    started = False if why.never_starts or never_began(known) else None
    return NotStarted(failures.pod_disrupted(why.pod, why.reason, why.details, started=started))
