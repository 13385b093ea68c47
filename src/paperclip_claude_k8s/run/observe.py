"""From a launched Job to a sighting: listen and watch, all at once, until the first ending."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.aio import PeriodicTask
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import Known, PodSnapshot
from paperclip_claude_k8s.failures import as_possibly_started
from paperclip_claude_k8s.host.context import ExecutionContext, OnMap, StopSignal
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock, StartSignals
from paperclip_claude_k8s.run.agent_log import AgentLog, StreamEvents
from paperclip_claude_k8s.run.exit_wait import Agent, ExitWait
from paperclip_claude_k8s.run.holder_annotations import refresh_holder
from paperclip_claude_k8s.run.keepalive import KeepAlive, Progress, Spawned
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.only_pod import find_only_pod
from paperclip_claude_k8s.run.read_now import explain, read_now
from paperclip_claude_k8s.run.start_gate import Gate
from paperclip_claude_k8s.run.stop import end_job, stop_agent
from paperclip_claude_k8s.run.wait_for_pod import wait_for_pod
from paperclip_claude_k8s.verdict.ending import (
    Disrupted,
    Ending,
    JobGone,
    NotStarted,
    PodLost,
    StopReason,
    Untrackable,
    agent_end,
    agent_seconds,
    judge_ending,
)
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts, recover_result
from paperclip_claude_k8s.verdict.start import never_began

SOON = 0.1
"""Seconds that are not worth a timer of their own: clocks have a grain."""
_Watcher: TypeAlias = asyncio.Task[None] | asyncio.TimerHandle | PeriodicTask


@dataclass(slots=True)
class _LiveRun:
    """What the tasks of one observation share."""

    ctx: ExecutionContext
    plan: RunPlan
    launched: LaunchedJob
    held: SlotLock
    ports: Ports
    say: Narrator
    job_watch: JobWatch
    ears: AgentLog
    gate: Gate
    keeping: PeriodicTask
    """Holds back a second agent; outlives the ending by a moment."""
    group: asyncio.TaskGroup
    began: float
    ending: asyncio.Future[Ending]
    others: list[_Watcher] = field(default_factory=list)
    """Whatever has no purpose any more once the ending is known."""
    order: StopReason | None = None
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
    def marks(self) -> tuple[StartSignals, str] | None:
        """Who tells of starts, and of which volume; None where it is not mounted on both sides."""
        starts, volume = self.ports.starts, self.plan.volume_here
        return (starts, volume) if starts is not None and volume and self.plan.shares_volume else None

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.others.append(self.group.create_task(work, name=name))

    def duty(self, name: str, work: Callable[[], Awaitable[float | None]]) -> PeriodicTask:
        duty = PeriodicTask(self.group, name, work)
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
    ctx: ExecutionContext, launched: LaunchedJob, held: SlotLock, ports: Ports, say: Narrator
) -> Observation:
    """Watch the Job to its end. Every ending is a value; nothing is raised but cancellation and bugs."""
    plan, loop = launched.plan, asyncio.get_running_loop()
    async with ports.informer(plan.namespace).job_watch(launched.job, launched.seen_at) as job_watch:
        ears = AgentLog(ports, say, job_watch, plan.volume_here)
        gate = Gate(launched.job, plan, launched.secret, launched.adopted, job_watch, ports, say)
        async with asyncio.TaskGroup() as group:
            began, ending = loop.time(), loop.create_future()
            keeping = PeriodicTask(group, "gate", gate.keep)
            run = _LiveRun(
                ctx, plan, launched, held, ports, say, job_watch, ears, gate, keeping, group, began, ending
            )
            try:
                _start_watchers(run)
                how = await ending
                run.dismiss()
                run.ended = loop.time()
                if run.order is None:
                    await gate.settle()
                keeping.cancel()
                how = await _prove_end(run, how)
                await _complete_log(run, how)
                await _remove_start_mark(run)
            finally:
                run.dismiss()
                keeping.cancel()
                job_watch.on_change = None
        return _observed(run, how)


def _start_watchers(run: _LiveRun) -> None:
    run.job_watch.on_change = partial(_on_change, run)
    _on_change(run, run.job_watch.known)
    run.start("life", _live(run))
    if grace := run.plan.config.result_grace_sec:
        _await_exit(run, grace)
    if not run.held.fenced:
        run.start("holder", refresh_holder(run.job_watch.ref, run.held, run.ports))
    if run.ctx.signal is not None:
        run.start("signal", _on_host_stop(run, run.ctx.signal))
    on_progress = _on_progress(run.ctx)
    if on_progress is not None:
        progress = Progress(on_progress, run.ctx.run_id, run.job_watch, run.ports, run.say)
        run.duty("progress", progress.beat).call()


def _await_exit(run: _LiveRun, grace: float) -> None:
    """From its final result on: an agent that does not exit is stopped, and its result stands."""
    stop = partial(_order_stop, run, StopReason.NO_EXIT)
    agent = Agent(run.ears.allowed_silence, partial(_still_runs, run), stop)
    wait = run.exit_wait = ExitWait(agent, grace)
    overdue = run.duty("exit", wait.check)

    def heed(reader: StreamReader) -> None:
        left = wait.heard(reader)
        if left is not None:
            overdue.call_in(left)

    run.ears.heed_output(heed)


async def _still_runs(run: _LiveRun) -> bool | None:
    """By a direct look; None: it could not be seen."""
    seen = await read_now(run.job_watch, run.ports.cluster)
    return judge_ending(run.job_watch.known) is None if seen else None


async def _live(run: _LiveRun) -> None:
    """Once we are ending the agent ourselves, its end is told with that reason, by `_stop`."""
    ending = await _wait_for_end(run)
    if run.order is None:
        run.end(ending)


async def _wait_for_end(run: _LiveRun) -> Ending:
    """Wait for the container, then for its end."""
    job_watch = run.job_watch
    lost = await find_only_pod(job_watch, run.ports)  # the watch may not show it
    if lost is not None:
        return lost
    reopen, adopted = run.gate.reopen, run.launched.adopted
    started = await wait_for_pod(
        job_watch, run.plan.config, run.ports, run.say, reattached=adopted, reopen=reopen
    )
    if not isinstance(started, PodSnapshot):
        return started
    run.ears.container_started()
    _attend(run)
    await run.say.status(f"Pod running: {started.name}")
    known = job_watch.known
    while (ending := judge_ending(known)) is None:
        if job_watch.refused is not None:
            return Untrackable(str(job_watch.refused))
        known = await job_watch.changed()
    return await _explained(run, ending)


async def _explained(run: _LiveRun, ending: Ending) -> Ending:
    """The same ending once all is known that can be, where a Pod or Job was taken away."""
    if not isinstance(ending, (Disrupted, JobGone)):
        return ending
    if ending.terminated is None:
        await _container_ended(run)
    if isinstance(ending, Disrupted) and not ending.named:
        # who deletes a Job deletes its Pod with it, and the two watches may tell the Pod's end first
        await read_now(run.job_watch, run.ports.cluster)
        ending = judge_ending(run.job_watch.known) or ending
    if isinstance(ending, Disrupted) and not ending.named:
        ending = replace(ending, details=await explain(ending, run.job_watch, run.ports.cluster))
    return ending


async def _container_ended(run: _LiveRun) -> None:
    """Wait until the container of a Pod that is gone has surely ended.

    A Pod deleted by force is gone at once, and its containers end after that: the log ends with them, and the
    kubelet gives them no longer than the Pod's grace period.
    """
    pod, config = run.job_watch.known.pod, run.plan.config
    if agent_end(pod) is not None:
        return
    grace = pod.grace if pod is not None and pod.grace is not None else config.stop_grace_sec
    with suppress(TimeoutError):
        async with asyncio.timeout(grace + run.ports.settings.timings.container_end):
            await run.log_ended.wait()


def _on_change(run: _LiveRun, known: Known) -> None:
    """What may not wait until somebody judges what is known."""
    pod = known.pod
    if run.order is None and not run.ending.done() and run.gate.due(known):
        run.keeping.call()
    if pod is not None and pod.node and not known.pod_gone and run.log_of != pod.uid:
        _listen(run, pod)


def _listen(run: _LiveRun, pod: PodSnapshot) -> None:
    """Try the Pod's log from now on: the API may say much later that its container runs."""
    if run.log is not None:
        run.log.cancel()  # of a Pod that went before its agent began
    look_at_it = run.duty("log's end", partial(_look, run))
    heed = StreamEvents(
        opened=partial(_log_opened, run),
        closed=partial(_log_closed, run),
        ended=partial(_log_over, run, look_at_it, by_itself=True),
        refused=partial(_log_over, run, look_at_it),
    )
    run.log_of = pod.uid
    follow = run.ears.follow(pod, heed, start_told=run.marks is not None)
    run.log = run.group.create_task(follow, name="log")
    if run.marks is not None and not run.job_watch.known.agent_began:
        run.start("start mark", _await_start_mark(run, *run.marks))


async def _await_start_mark(run: _LiveRun, starts: StartSignals, volume: str) -> None:
    await starts.wait_for_start(volume, run.log_of)
    run.start_seen = True
    run.ears.container_started()


def _log_opened(run: _LiveRun) -> None:
    run.log_is_over = False
    run.log_ended.clear()
    run.job_watch.set_log_opened()
    if run.exit_wait is not None:
        run.exit_wait.stream_opened()


def _log_closed(run: _LiveRun) -> None:
    if run.exit_wait is not None:
        run.exit_wait.stream_closed()


def _attend(run: _LiveRun) -> None:
    """The container runs or has run: let the host know that it lives, and count its time."""
    loop, timings, config = asyncio.get_running_loop(), run.ports.settings.timings, run.plan.config
    run.running_since = run.silent_from = loop.time()
    if run.ctx.on_spawn is not None:
        refresh = timings.spawn_refresh if config.refresh_on_spawn else None
        spawned = Spawned(run.ctx.on_spawn, run.ctx.run_id, run.ports, os.getpid(), refresh)
        run.duty("spawn", spawned.beat).call()
    if _on_progress(run.ctx) is None:
        keepalive = KeepAlive(run.job_watch, run.ports, run.say)
        run.duty("keepalive", keepalive.beat).call_in(keepalive.next_pause())
    if config.timeout_sec:
        adopted = run.job_watch.known.pod if run.launched.adopted else None
        left = config.timeout_sec - agent_seconds(adopted, run.ports.settings.now())
        run.others.append(loop.call_later(left, _order_stop, run, StopReason.DEADLINE))


def _on_progress(ctx: ExecutionContext) -> OnMap | None:
    """A host that takes progress and keeps no pid gets that instead of lines (SPEC 9)."""
    return ctx.on_runtime_progress if ctx.on_spawn is None else None


async def _on_host_stop(run: _LiveRun, signal: StopSignal) -> None:
    """The host's Stop button, where it hands us a signal."""
    await signal.wait()
    _order_stop(run, StopReason.CANCEL)


def _order_stop(run: _LiveRun, order: StopReason) -> None:
    """The first one counts, and none once the agent has ended or nobody waits for its end."""
    if run.order is None and not run.ending.done():
        run.order = order
        run.start("stop", _stop(run, order))


async def _stop(run: _LiveRun, order: StopReason) -> None:
    grace = run.plan.config.result_grace_sec
    run.end(await stop_agent(order, run.job_watch, run.ports, run.say, grace))


def _log_over(run: _LiveRun, look_at_it: PeriodicTask, *, by_itself: bool = False) -> None:
    """A watch that hangs hides an end; the log's own end proves none, but is worth a look (SPEC 9)."""
    run.log_is_over = True
    if by_itself:
        run.log_ended.set()
    if run.running_since is not None:
        look_at_it.call_in(_until_look(run))


async def _look(run: _LiveRun) -> float | None:
    """Nothing to look for where the log could be opened again since; its next end asks anew."""
    left = _until_look(run)
    if not run.log_is_over:
        return None
    if left > SOON:
        return left
    await read_now(run.job_watch, run.ports.cluster)
    run.silent_from = asyncio.get_running_loop().time() + run.ports.settings.timings.log_over
    return None


def _until_look(run: _LiveRun) -> float:
    """Seconds until the agent has been silent for so long that a log which ended is worth a look."""
    silent_from = max(run.say.last_output or 0.0, run.silent_from)
    return max(silent_from + run.ports.settings.timings.log_over - asyncio.get_running_loop().time(), 0.0)


async def _prove_end(run: _LiveRun, ending: Ending) -> Ending:
    """A run that is given up while its Pod is there: nobody answers before that Pod has ended.

    Else the agent's next run would begin beside it; and whether its agent did anything is only known then.
    """
    job_watch = run.job_watch
    if not isinstance(ending, NotStarted) or ending.failure.keeps_job:
        return ending
    if job_watch.known.pod is None and job_watch.known.job_gone:
        await read_now(job_watch, run.ports.cluster)  # a Job can be deleted before its Pod was seen
    if job_watch.known.pod is None:
        return ending
    if not (job_watch.known.pod.is_over or job_watch.known.pod_gone):
        await end_job(job_watch, run.ports, run.say)
    if never_began(job_watch.known):
        return ending
    await _container_ended(run)
    return PodLost(as_possibly_started(ending.failure))


async def _complete_log(run: _LiveRun, ending: Ending) -> None:
    """The log is completed by a last read from where it stopped; without a container there is none."""
    known = run.job_watch.known
    if run.log is not None and known.agent_began and not isinstance(ending, Untrackable):
        run.ears.container_ended(ending.terminated or agent_end(known.pod))
        await asyncio.wait([run.log])
        return
    if run.log is not None:
        run.log.cancel()
    if isinstance(ending, PodLost) or (known.pod_gone and not never_began(known)):
        await run.ears.recover()


async def _remove_start_mark(run: _LiveRun) -> None:
    """The API may have told of the start before the volume was looked at."""
    if run.marks is not None and run.log_of and not run.start_seen:
        starts, volume = run.marks
        await starts.remove(volume, run.log_of)


def _observed(run: _LiveRun, ending: Ending) -> Observation:
    known = run.job_watch.known
    now = asyncio.get_running_loop().time()
    facts = RunFacts(
        job=run.job_watch.ref.name,
        namespace=run.job_watch.ref.namespace,
        conditions=known.job.conditions if known.job is not None else (),
        seconds_running=None if run.running_since is None else now - run.running_since,
        pod_phase=known.pod.phase if known.pod is not None else "",
        pod_gone=known.pod_gone,
    )
    told = recover_result(run.ears.transcript(), run.ears.summary)
    phases = tuple(_phases(run, now))
    return Observation(ending, told, run.ears.report, run.ears.summary, facts, known, phases)


def _phases(run: _LiveRun, now: float) -> Iterator[tuple[str, int]]:
    """Milliseconds: until the container ran, until the end was seen, until the log was complete."""
    started = run.running_since if run.running_since is not None else run.ended
    times = (("start", run.began, started), ("run", started, run.ended), ("complete", run.ended, now))
    return ((name, round((end - begin) * 1000)) for name, begin, end in times)
