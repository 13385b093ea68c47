"""From a launched Job to a sighting: listen and watch, all at once, until the first ending."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.cluster.model import Known, PodSnapshot
from paperclip_claude_k8s.failures import may_have_worked
from paperclip_claude_k8s.ground.aio import Duty
from paperclip_claude_k8s.host.context import ExecutionContext, OnMap, StopSignal
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import Ports, Starts, Tenure
from paperclip_claude_k8s.run.exit_wait import Agent, ExitWait
from paperclip_claude_k8s.run.gate import Gate
from paperclip_claude_k8s.run.holder import keep_noting
from paperclip_claude_k8s.run.keepalive import KeepAlive, Progress, Spawned
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.listen import Ears, StreamHeed
from paperclip_claude_k8s.run.look import explain, look
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.only_pod import find_only_pod
from paperclip_claude_k8s.run.schedule import wait_for_pod
from paperclip_claude_k8s.run.stop import end_job, obey
from paperclip_claude_k8s.verdict.ending import (
    Disrupted,
    Ending,
    JobGone,
    NotStarted,
    Order,
    PodLost,
    Untrackable,
    agent_end,
    judge_ending,
    seconds_of_agent,
)
from paperclip_claude_k8s.verdict.salvage import salvage
from paperclip_claude_k8s.verdict.sighting import Facts, Sighting
from paperclip_claude_k8s.verdict.start import never_began

SOON = 0.1
"""Seconds that are not worth a timer of their own: clocks have a grain."""
_Watcher: TypeAlias = asyncio.Task[None] | asyncio.TimerHandle | Duty


@dataclass(slots=True)
class _Crew:
    """What the tasks of one observation share."""

    ctx: ExecutionContext
    plan: RunPlan
    launched: LaunchedJob
    held: Tenure
    ports: Ports
    say: Narrator
    vigil: Vigil
    ears: Ears
    gate: Gate
    keeping: Duty
    """Holds back a second agent; outlives the ending by a moment."""
    group: asyncio.TaskGroup
    began: float
    ending: asyncio.Future[Ending]
    others: list[_Watcher] = field(default_factory=list)
    """Whatever has no purpose any more once the ending is known."""
    order: Order | None = None
    exit_wait: ExitWait | None = None
    """None where an agent that does not exit is never stopped."""
    log: asyncio.Task[None] | None = None
    """Reads the agent's log, tried from when its Pod has a node."""
    log_of: str = ""
    """Uid of the Pod whose log is read."""
    start_seen: bool = False
    """The mark of the Pod's start was seen on the shared volume, and removed."""
    log_is_over: bool = False
    """The last stream of the log has ended or was refused, and none was opened since."""
    log_ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the last stream of the log that was opened has come to an end of its own."""
    running_since: float | None = None
    silent_from: float = 0.0
    """When the silence begins that makes the log's end worth a look; later than now after such a look."""
    ended: float = 0.0

    @property
    def marks(self) -> tuple[Starts, str] | None:
        """Who tells of starts, and of which volume; None where it is not mounted on both sides."""
        starts, volume = self.ports.starts, self.plan.volume_here
        return (starts, volume) if starts is not None and volume and self.plan.shares_volume else None

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.others.append(self.group.create_task(work, name=name))

    def duty(self, name: str, work: Callable[[], Awaitable[float | None]]) -> Duty:
        duty = Duty(self.group, name, work)
        self.others.append(duty)
        return duty

    def dismiss(self) -> None:
        while self.others:
            self.others.pop().cancel()

    def end(self, ending: Ending) -> None:
        """The first one counts."""
        if not self.ending.done():
            self.ending.set_result(ending)


async def observe(
    ctx: ExecutionContext, launched: LaunchedJob, held: Tenure, ports: Ports, say: Narrator
) -> Sighting:
    """Watch the Job to its end. Every ending is a value; nothing is raised but cancellation and bugs."""
    plan, loop = launched.plan, asyncio.get_running_loop()
    async with ports.informer(plan.namespace).vigil(launched.job, launched.seen_at) as vigil:
        ears = Ears(ports, say, vigil, plan.volume_here)
        gate = Gate(launched.job, plan, launched.secret, launched.adopted, vigil, ports, say)
        async with asyncio.TaskGroup() as group:
            began, ending = loop.time(), loop.create_future()
            keeping = Duty(group, "gate", gate.keep)
            crew = _Crew(
                ctx, plan, launched, held, ports, say, vigil, ears, gate, keeping, group, began, ending
            )
            try:
                _set_out(crew)
                how = await ending
                crew.dismiss()
                crew.ended = loop.time()
                if crew.order is None:
                    await gate.settle()
                keeping.cancel()
                how = await _proven(crew, how)
                await _drain(crew, how)
                await _remove_start_mark(crew)
            finally:
                crew.dismiss()
                keeping.cancel()
                vigil.on_change = None
        return _sighting(crew, how)


def _set_out(crew: _Crew) -> None:
    crew.vigil.on_change = partial(_on_change, crew)
    _on_change(crew, crew.vigil.known)
    crew.start("life", _live(crew))
    if grace := crew.plan.config.result_grace_sec:
        _await_exit(crew, grace)
    if not crew.held.fenced:
        crew.start("holder", keep_noting(crew.vigil.ref, crew.held, crew.ports))
    if crew.ctx.signal is not None:
        crew.start("signal", _hear_host(crew, crew.ctx.signal))
    on_progress = _on_progress(crew.ctx)
    if on_progress is not None:
        progress = Progress(on_progress, crew.ctx.run_id, crew.vigil, crew.ports, crew.say)
        crew.duty("progress", progress.beat).call()


def _await_exit(crew: _Crew, grace: float) -> None:
    """From its final result on: an agent that does not exit is stopped, and its result stands."""
    stop = partial(_give_order, crew, Order.NO_EXIT)
    agent = Agent(crew.ears.allowed_silence, partial(_still_runs, crew), stop)
    wait = crew.exit_wait = ExitWait(agent, grace)
    overdue = crew.duty("exit", wait.check)

    def heed(reader: StreamReader) -> None:
        left = wait.heard(reader)
        if left is not None:
            overdue.call_in(left)

    crew.ears.heed_output(heed)


async def _still_runs(crew: _Crew) -> bool | None:
    """By a direct look; None: it could not be seen."""
    seen = await look(crew.vigil, crew.ports.cluster)
    return judge_ending(crew.vigil.known) is None if seen else None


async def _live(crew: _Crew) -> None:
    """Once we are ending the agent ourselves, its end is told with that reason, by `_stop`."""
    ending = await _lived(crew)
    if crew.order is None:
        crew.end(ending)


async def _lived(crew: _Crew) -> Ending:
    """Wait for the container, then for its end."""
    vigil = crew.vigil
    lost = await find_only_pod(vigil, crew.ports)  # the watch may not show it
    if lost is not None:
        return lost
    reopen, adopted = crew.gate.reopen, crew.launched.adopted
    started = await wait_for_pod(
        vigil, crew.plan.config, crew.ports, crew.say, reattached=adopted, reopen=reopen
    )
    if not isinstance(started, PodSnapshot):
        return started
    crew.ears.container_started()
    _attend(crew)
    await crew.say.status(f"Pod running: {started.name}")
    known = vigil.known
    while (ending := judge_ending(known)) is None:
        if vigil.refused is not None:
            return Untrackable(str(vigil.refused))
        known = await vigil.news()
    return await _explained(crew, ending)


async def _explained(crew: _Crew, ending: Ending) -> Ending:
    """The same ending once all is known that can be, where a Pod or Job was taken away."""
    if not isinstance(ending, (Disrupted, JobGone)):
        return ending
    if ending.how is None:
        await _container_ended(crew)
    if isinstance(ending, Disrupted) and not ending.named:
        # who deletes a Job deletes its Pod with it, and the two watches may tell the Pod's end first
        await look(crew.vigil, crew.ports.cluster)
        ending = judge_ending(crew.vigil.known) or ending
    if isinstance(ending, Disrupted) and not ending.named:
        ending = replace(ending, words=await explain(ending, crew.vigil, crew.ports.cluster))
    return ending


async def _container_ended(crew: _Crew) -> None:
    """Wait until the container of a Pod that is gone has surely ended.

    A Pod deleted by force is gone at once, and its containers end after that: the log ends with them, and the
    kubelet gives them no longer than the Pod's grace period.
    """
    pod, config = crew.vigil.known.pod, crew.plan.config
    if agent_end(pod) is not None:
        return
    grace = pod.grace if pod is not None and pod.grace is not None else config.stop_grace_sec
    with suppress(TimeoutError):
        async with asyncio.timeout(grace + crew.ports.house.timings.container_end):
            await crew.log_ended.wait()


def _on_change(crew: _Crew, known: Known) -> None:
    """What may not wait until somebody judges what is known."""
    pod = known.pod
    if crew.order is None and not crew.ending.done() and crew.gate.due(known):
        crew.keeping.call()
    if pod is not None and pod.node and not known.pod_gone and crew.log_of != pod.uid:
        _listen(crew, pod)


def _listen(crew: _Crew, pod: PodSnapshot) -> None:
    """Try the Pod's log from now on: the API may say much later that its container runs."""
    if crew.log is not None:
        crew.log.cancel()  # of a Pod that went before its agent began
    look_at_it = crew.duty("log's end", partial(_look, crew))
    heed = StreamHeed(
        opened=partial(_log_opened, crew),
        closed=partial(_log_closed, crew),
        ended=partial(_log_over, crew, look_at_it, by_itself=True),
        refused=partial(_log_over, crew, look_at_it),
    )
    crew.log_of = pod.uid
    follow = crew.ears.follow(pod, heed, start_told=crew.marks is not None)
    crew.log = crew.group.create_task(follow, name="log")
    if crew.marks is not None and not crew.vigil.known.agent_began:
        crew.start("start mark", _hear_of_start(crew, *crew.marks))


async def _hear_of_start(crew: _Crew, starts: Starts, volume: str) -> None:
    await starts.seen(volume, crew.log_of)
    crew.start_seen = True
    crew.ears.container_started()


def _log_opened(crew: _Crew) -> None:
    crew.log_is_over = False
    crew.log_ended.clear()
    crew.vigil.learn_log_opened()
    if crew.exit_wait is not None:
        crew.exit_wait.stream_opened()


def _log_closed(crew: _Crew) -> None:
    if crew.exit_wait is not None:
        crew.exit_wait.stream_closed()


def _attend(crew: _Crew) -> None:
    """The container runs or has run: let the host know that it lives, and count its time."""
    loop, timings, config = asyncio.get_running_loop(), crew.ports.house.timings, crew.plan.config
    crew.running_since = crew.silent_from = loop.time()
    if crew.ctx.on_spawn is not None:
        refresh = timings.spawn_refresh if config.refresh_on_spawn else None
        spawned = Spawned(crew.ctx.on_spawn, crew.ctx.run_id, crew.ports, os.getpid(), refresh)
        crew.duty("spawn", spawned.beat).call()
    if _on_progress(crew.ctx) is None:
        keepalive = KeepAlive(crew.vigil, crew.ports, crew.say)
        crew.duty("keepalive", keepalive.beat).call_in(keepalive.next_pause())
    if config.timeout_sec:
        adopted = crew.vigil.known.pod if crew.launched.adopted else None
        left = config.timeout_sec - seconds_of_agent(adopted, crew.ports.house.now())
        crew.others.append(loop.call_later(left, _give_order, crew, Order.DEADLINE))


def _on_progress(ctx: ExecutionContext) -> OnMap | None:
    """A host that takes progress and keeps no pid gets that instead of lines (SPEC 9)."""
    return ctx.on_runtime_progress if ctx.on_spawn is None else None


async def _hear_host(crew: _Crew, signal: StopSignal) -> None:
    """The host's Stop button, where it hands us a signal."""
    await signal.wait()
    _give_order(crew, Order.CANCEL)


def _give_order(crew: _Crew, order: Order) -> None:
    """The first one counts, and none once the agent has ended or nobody waits for its end."""
    if crew.order is None and not crew.ending.done():
        crew.order = order
        crew.start("stop", _stop(crew, order))


async def _stop(crew: _Crew, order: Order) -> None:
    grace = crew.plan.config.result_grace_sec
    crew.end(await obey(order, crew.vigil, crew.ports, crew.say, grace))


def _log_over(crew: _Crew, look_at_it: Duty, *, by_itself: bool = False) -> None:
    """A watch that hangs hides an end; the log's own end proves none, but is worth a look (SPEC 9)."""
    crew.log_is_over = True
    if by_itself:
        crew.log_ended.set()
    if crew.running_since is not None:
        look_at_it.call_in(_until_look(crew))


async def _look(crew: _Crew) -> float | None:
    """Nothing to look for where the log could be opened again since; its next end asks anew."""
    left = _until_look(crew)
    if not crew.log_is_over:
        return None
    if left > SOON:
        return left
    await look(crew.vigil, crew.ports.cluster)
    crew.silent_from = asyncio.get_running_loop().time() + crew.ports.house.timings.log_over
    return None


def _until_look(crew: _Crew) -> float:
    """Seconds until the agent has been silent for so long that a log which ended is worth a look."""
    silent_from = max(crew.say.last_output or 0.0, crew.silent_from)
    return max(silent_from + crew.ports.house.timings.log_over - asyncio.get_running_loop().time(), 0.0)


async def _proven(crew: _Crew, ending: Ending) -> Ending:
    """A run that is given up while its Pod is there: nobody answers before that Pod has ended.

    Else the agent's next run would begin beside it; and whether its agent did anything is only known then.
    """
    vigil = crew.vigil
    if not isinstance(ending, NotStarted) or ending.failure.keeps_job:
        return ending
    if vigil.known.pod is None and vigil.known.job_gone:
        await look(vigil, crew.ports.cluster)  # a Job can be deleted before its Pod was seen
    if vigil.known.pod is None:
        return ending
    if not (vigil.known.pod.is_over or vigil.known.pod_gone):
        await end_job(vigil, crew.ports, crew.say)
    if never_began(vigil.known):
        return ending
    await _container_ended(crew)
    return PodLost(may_have_worked(ending.failure))


async def _drain(crew: _Crew, ending: Ending) -> None:
    """The log is completed by a last read from where it stopped; without a container there is none."""
    known = crew.vigil.known
    if crew.log is not None and known.agent_began and not isinstance(ending, Untrackable):
        crew.ears.container_ended(ending.how or agent_end(known.pod))
        await asyncio.wait([crew.log])
        return
    if crew.log is not None:
        crew.log.cancel()
    if isinstance(ending, PodLost) or (known.pod_gone and not never_began(known)):
        await crew.ears.recover()


async def _remove_start_mark(crew: _Crew) -> None:
    """The API may have told of the start before the volume was looked at."""
    if crew.marks is not None and crew.log_of and not crew.start_seen:
        starts, volume = crew.marks
        await starts.remove(volume, crew.log_of)


def _sighting(crew: _Crew, ending: Ending) -> Sighting:
    known = crew.vigil.known
    now = asyncio.get_running_loop().time()
    facts = Facts(
        job=crew.vigil.ref.name,
        namespace=crew.vigil.ref.namespace,
        conditions=known.job.conditions if known.job is not None else (),
        seconds_running=None if crew.running_since is None else now - crew.running_since,
        pod_phase=known.pod.phase if known.pod is not None else "",
        pod_gone=known.pod_gone,
    )
    told = salvage(crew.ears.transcript(), crew.ears.summary)
    phases = tuple(_phases(crew, now))
    return Sighting(ending, told, crew.ears.report, crew.ears.summary, facts, known, phases)


def _phases(crew: _Crew, now: float) -> Iterator[tuple[str, int]]:
    """Milliseconds: until the container ran, until the end was seen, until the log was complete."""
    started = crew.running_since if crew.running_since is not None else crew.ended
    times = (("start", crew.began, started), ("run", started, crew.ended), ("complete", crew.ended, now))
    return ((name, round((end - begin) * 1000)) for name, begin, end in times)
