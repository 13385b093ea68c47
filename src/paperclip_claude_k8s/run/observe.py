"""From a launched Job to a sighting: listen and watch, all at once, until the first ending."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import PodSnapshot, Running
from paperclip_claude_k8s.ground.aio import FirstWord
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import Ports, Tenure
from paperclip_claude_k8s.run.holder import keep_noting
from paperclip_claude_k8s.run.keepalive import keep_alive, tell_progress, tell_spawn
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.listen import Ears
from paperclip_claude_k8s.run.look import look
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.schedule import wait_for_pod
from paperclip_claude_k8s.run.stop import hear_host, mind_deadline, obey
from paperclip_claude_k8s.verdict.ending import Ending, Order, PodLost, Untrackable, judge_ending
from paperclip_claude_k8s.verdict.salvage import salvage
from paperclip_claude_k8s.verdict.sighting import Facts, Sighting


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
    endings: FirstWord[Ending] = field(default_factory=FirstWord)
    orders: FirstWord[Order] = field(default_factory=FirstWord)
    pod: FirstWord[PodSnapshot] = field(default_factory=FirstWord)
    running_since: float | None = None
    began: float = 0.0
    ended: float = 0.0


async def observe(
    ctx: ExecutionContext, launched: LaunchedJob, held: Tenure, ports: Ports, say: Narrator
) -> Sighting:
    """Watch the Job to its end. Every ending is a value; nothing is raised but cancellation and bugs."""
    plan = launched.plan
    async with ports.informer(plan.namespace).vigil(launched.job, launched.seen_at) as vigil:
        ears = Ears(ports, say, vigil, plan.volume_here)
        crew = _Crew(ctx, plan, launched, held, ports, say, vigil, ears)
        crew.began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            log = group.create_task(_listen(crew), name="log")
            others = [group.create_task(work, name=name) for name, work in _watchers(crew)]
            ending = await crew.endings.heard()
            crew.ended = asyncio.get_running_loop().time()
            for watcher in others:
                watcher.cancel()
            await _drain(crew, ending, log)
        return _sighting(crew, ending)


def _watchers(crew: _Crew):  # type: ignore[no-untyped-def]  # noqa: ANN202
    yield "life", _live(crew)
    yield "stop", _stop(crew)
    yield "keepalive", _keep_alive(crew)
    if not crew.held.fenced:
        yield "holder", keep_noting(crew.vigil.ref, crew.held, crew.ports)
    if crew.ctx.signal is not None:
        yield "signal", hear_host(crew.ctx.signal, crew.orders)
    yield "log's end", _look_when_log_ends(crew)
    if crew.plan.config.timeout_sec:
        yield "deadline", _mind_deadline(crew)
    yield "spawn", _tell_spawn(crew)


async def _live(crew: _Crew) -> None:
    """Wait for the container, then for its end."""
    started = await wait_for_pod(
        crew.vigil, crew.plan.config, crew.ports, crew.say, reattached=crew.launched.adopted
    )
    if not isinstance(started, PodSnapshot):
        _offer(crew, started)
        return
    crew.running_since = asyncio.get_running_loop().time()
    crew.pod.offer(started)
    await crew.say.status(f"Pod running: {started.name}")
    known = crew.vigil.known
    while (ending := judge_ending(known)) is None:
        if crew.vigil.refused is not None:
            ending = Untrackable(str(crew.vigil.refused))
            break
        known = await crew.vigil.news()
    _offer(crew, ending)


def _offer(crew: _Crew, ending: Ending) -> None:
    """Once we are ending the agent ourselves, its end is told with that reason, by `_stop`."""
    if not crew.orders.is_set():
        crew.endings.offer(ending)


async def _stop(crew: _Crew) -> None:
    crew.endings.offer(await obey(crew.vigil, crew.orders, crew.ports, crew.say))


async def _listen(crew: _Crew) -> None:
    await crew.ears.follow(await crew.pod.heard())


async def _look_when_log_ends(crew: _Crew) -> None:
    """A watch that hangs hides an end; the log's own end proves none, but is worth a look (SPEC 9)."""
    quiet = crew.ports.house.timings.log_over
    await crew.pod.heard()
    while True:
        await crew.ears.stream_over(quiet)
        await look(crew.vigil, crew.ports.cluster)
        await asyncio.sleep(quiet)


async def _keep_alive(crew: _Crew) -> None:
    """A host that takes progress and keeps no pid gets that instead of lines (SPEC 9)."""
    if crew.ctx.on_runtime_progress is not None and crew.ctx.on_spawn is None:
        await tell_progress(crew.ctx, crew.vigil, crew.ports, crew.say)
        return
    await crew.pod.heard()
    await keep_alive(crew.vigil, crew.ports, crew.say)


async def _mind_deadline(crew: _Crew) -> None:
    await crew.pod.heard()
    await mind_deadline(crew.plan.config.timeout_sec - _already_running(crew), crew.orders)


def _already_running(crew: _Crew) -> float:
    """Seconds an adopted container has run before we looked, by the node's clock and ours."""
    pod = crew.vigil.known.pod if crew.launched.adopted else None
    agent = pod.container(AGENT_CONTAINER) if pod is not None else None
    if agent is None or not isinstance(agent.now, Running) or agent.now.started is None:
        return 0.0
    return max((crew.ports.house.now() - agent.now.started).total_seconds(), 0.0)


async def _tell_spawn(crew: _Crew) -> None:
    await crew.pod.heard()
    await tell_spawn(crew.ctx, crew.ports, os.getpid(), again=crew.plan.config.refresh_on_spawn)


async def _drain(crew: _Crew, ending: Ending, log: asyncio.Task[None]) -> None:
    """The log is completed by a last read from where it stopped; without a container there is none."""
    if not crew.pod.is_set() or isinstance(ending, Untrackable):
        log.cancel()
        if isinstance(ending, PodLost):
            await crew.ears.recover()
        return
    crew.ears.container_ended(ending.how)
    await asyncio.wait([log])


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
    return Sighting(ending, told, crew.ears.report, crew.ears.summary, facts, tuple(_phases(crew, now)))


def _phases(crew: _Crew, now: float) -> Iterator[tuple[str, int]]:
    """Milliseconds: until the container ran, until the end was seen, until the log was complete."""
    started = crew.running_since if crew.running_since is not None else crew.ended
    times = (("start", crew.began, started), ("run", started, crew.ended), ("complete", crew.ended, now))
    return ((name, round((end - begin) * 1000)) for name, begin, end in times)
