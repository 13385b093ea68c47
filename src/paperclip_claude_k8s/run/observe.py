"""From a launched Job to an observation: follow Job, Pod and log concurrently until the first ending.

Possible endings are: the container ends, the Pod or the Job is taken away, the container never starts, a
limit passes, the host stops the run, or the Job cannot be observed any more. Each is a value
(`verdict.ending`). What follows an ending is a fixed sequence; see `observe`.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.model import Known, PodSnapshot
from paperclip_claude_k8s.failures import as_possibly_started
from paperclip_claude_k8s.host.context import ExecutionContext, ObjectCallback, StoppableContext, StopSignal
from paperclip_claude_k8s.instrumentation.event_types import AgentStarted
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.await_changes import await_changes
from paperclip_claude_k8s.run.await_push import await_push, report_clone
from paperclip_claude_k8s.run.cost_limit import CostLimit
from paperclip_claude_k8s.run.exit_wait import Agent, ExitWait
from paperclip_claude_k8s.run.follow_log import follow_log, remove_start_mark
from paperclip_claude_k8s.run.holder_annotations import refresh_holder
from paperclip_claude_k8s.run.host_callbacks import wait_for_stop
from paperclip_claude_k8s.run.keepalive import KeepAlive, Progress, SpawnNotice
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.live_run import LiveRun
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.read_now import explain, explain_kill, read_now
from paperclip_claude_k8s.run.stop import end_job
from paperclip_claude_k8s.run.wait_for_pod import check_only_pod, wait_for_pod
from paperclip_claude_k8s.verdict.disruption import is_killed
from paperclip_claude_k8s.verdict.ending import (
    Disrupted,
    Ending,
    Exited,
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


async def observe(
    ctx: StoppableContext, launched: LaunchedJob, slot_lock: SlotLock, ports: Ports, narrator: Narrator
) -> Observation:
    """Observe the Job to its end. Every ending is a value; only cancellation and bugs are raised."""
    async with ports.informer(launched.plan.namespace).job_watch(launched.job, launched.seen_at) as job_watch:
        async with asyncio.TaskGroup() as group:
            run = LiveRun(
                ctx=ctx,
                launched=launched,
                slot_lock=slot_lock,
                ports=ports,
                narrator=narrator,
                job_watch=job_watch,
                group=group,
            )
            try:
                _start_watchers(run)
                ending = await run.ending
                # The ending is known: from now on no watcher may stop the agent or call the host.
                run.cancel_watchers()
                run.ended_at = loop_time()
                # Close the gate first: no second Pod may start until the first has ended for certain. If we
                # stopped the agent, its Job is deleted and gets no more Pods, unless that was refused.
                if run.stop_reason is None or not (job_watch.known.pod_gone or job_watch.known.job_gone):
                    await run.gate.close()
                run.gate_task.cancel()
                # This precedes `_complete_log`: the log is complete only after the Pod has ended.
                ending = await _end_unstarted_pod(run, ending)
                await _complete_log(run, ending)
                await remove_start_mark(run)
                workspace = await await_push(run) or await await_changes(run)
            finally:
                run.cancel_watchers()
                run.stop_reading_changes()
                run.gate_task.cancel()
                job_watch.on_change = None
        return replace(_observation(run, ending), workspace=workspace)


def _start_watchers(run: LiveRun) -> None:
    run.job_watch.on_change = partial(_on_change, run)
    _on_change(run, run.job_watch.known)
    if (job_events := run.narrator.job_events) is not None:
        post = run.add_periodic("job events", job_events.post)
        job_events.on_waiting = post.call
        post.call()
    run.start_task("agent", _watch_agent(run))
    if grace := run.plan.config.result_grace_sec:
        _stop_if_exit_overdue(run, grace)
    if limit := run.plan.config.max_cost_usd_per_run:
        _stop_if_over_budget(run, limit)
    if not run.slot_lock.fenced:
        run.start_task("holder", refresh_holder(run.job_watch.ref, run.slot_lock, run.ports))
    if run.ctx.signal is not None:
        run.start_task("signal", _stop_on_signal(run, run.ctx.signal))
    on_progress = _progress_callback(run.ctx)
    if on_progress is not None:
        progress = Progress(on_progress, run.ctx.run_id, run.job_watch, run.ports, run.narrator)
        beat = run.add_periodic("progress", progress.beat)
        run.narrator.on_activity = partial(progress.activity_changed, beat)
        beat.call()


def _on_change(run: LiveRun, known: Known) -> None:
    """Called for every change of Job and Pod: start at once what must not wait for `_watch_agent`."""
    pod = known.pod
    if run.stop_reason is None and not run.ending.done() and run.gate.needs_action(known):
        run.gate_task.call()
    if pod is not None and pod.deleting and known.agent_began:
        run.read_changes()  # the Pod is gone soon
    if pod is not None and pod.node and not known.pod_gone and run.log_pod_uid != pod.uid:
        follow_log(run, pod)


def _stop_if_exit_overdue(run: LiveRun, grace: float) -> None:
    """Stop an agent that does not exit within `grace` seconds after its final result."""
    stop = partial(run.request_stop, StopReason.NO_EXIT)
    wait = run.exit_wait = ExitWait(
        Agent(run.agent_log.allowed_silence, partial(_is_running, run), stop), grace
    )
    check = run.add_periodic("exit", wait.check)

    def on_output(reader: StreamReader) -> None:
        left = wait.output_received(reader)
        if left is not None:
            check.call_in(left)

    run.agent_log.on_output(on_output)


def _stop_if_over_budget(run: LiveRun, limit: float) -> None:
    """Stop an agent that works on after a result whose cost is above the limit."""

    def stop(cost: float) -> None:
        run.known_cost = cost
        run.request_stop(StopReason.BUDGET)

    resumed = run.plan.resume is not None
    run.agent_log.on_output(CostLimit(limit, resumed=resumed, on_cost=stop).check)


async def _is_running(run: LiveRun) -> bool | None:
    """Whether the agent runs, by a direct read; None: the read failed."""
    succeeded = await read_now(run.job_watch, run.ports.cluster)
    return judge_ending(run.job_watch.known) is None if succeeded else None


async def _stop_on_signal(run: LiveRun, signal: StopSignal) -> None:
    await wait_for_stop(signal)
    run.request_stop(StopReason.CANCEL)


async def _watch_agent(run: LiveRun) -> None:
    """Wait for the ending and report it, unless the agent is being stopped: then the stop reports it."""
    ending = await _wait_for_end(run)
    if run.stop_reason is None:
        run.end(ending)


async def _wait_for_end(run: LiveRun) -> Ending:
    """Wait until the container runs, then until it has ended."""
    job_watch = run.job_watch
    lost = await check_only_pod(job_watch, run.ports)
    if lost is not None:
        return lost
    started = await wait_for_pod(
        job_watch,
        run.plan.config,
        run.ports,
        run.narrator,
        reattached=run.launched.adopted,
        reopen=run.gate.reopen,
    )
    if not isinstance(started, PodSnapshot):
        return started
    run.agent_log.container_started()
    _on_started(run)
    await run.narrator.status(f"Pod running: {started.name}")
    await report_clone(run, started)
    known = job_watch.known
    while (ending := judge_ending(known)) is None:
        if job_watch.refused is not None:
            return Untrackable(str(job_watch.refused))
        known = await job_watch.changed()
    return await _explain(run, ending)


def _on_started(run: LiveRun) -> None:
    """The container runs or has run: start the calls that report this to the host, and the time limit."""
    timings, config = run.ports.settings.timings, run.plan.config
    run.running_since = run.silent_since = loop_time()
    if (pod := run.job_watch.known.pod) is not None:
        seconds = run.running_since - run.began_at
        run.narrator.events.emit(AgentStarted, pod.name, pod.uid, pod.node, seconds)
    if run.ctx.on_spawn is not None:
        refresh = timings.spawn_refresh if config.refresh_on_spawn else None
        notice = SpawnNotice(run.ctx.on_spawn, run.ctx.run_id, run.ports, os.getpid(), refresh)
        run.add_periodic("spawn", notice.beat).call()
    if _progress_callback(run.ctx) is None:
        keepalive = KeepAlive(run.job_watch, run.ports, run.narrator)
        run.add_periodic("keepalive", keepalive.beat).call_in(keepalive.next_pause())
    if config.timeout_sec:
        adopted_pod = run.job_watch.known.pod if run.launched.adopted else None
        left = config.timeout_sec - agent_seconds(adopted_pod, run.ports.settings.now())
        run.add_timer(left, partial(run.request_stop, StopReason.DEADLINE))


def _progress_callback(ctx: ExecutionContext) -> ObjectCallback | None:
    """The host's progress callback, used in place of keepalive lines by hosts that keep no process id."""
    return ctx.on_runtime_progress if ctx.on_spawn is None else None


async def _explain(run: LiveRun, ending: Ending) -> Ending:
    """Add the cause to the ending of a Pod or Job that was taken away, as far as the cause can be read."""
    job_watch, cluster = run.job_watch, run.ports.cluster
    killed = isinstance(ending, Exited) and is_killed(ending.terminated)
    if isinstance(ending, (Disrupted, JobGone)) and ending.terminated is None:
        await _wait_for_container_end(run)
    if killed or (isinstance(ending, Disrupted) and not ending.named):
        # Deleting a Job also deletes its Pod, and the Pod's watch may report that before the Job's does.
        await read_now(job_watch, cluster)
        ending = judge_ending(job_watch.known) or ending
    if isinstance(ending, Exited) and killed:
        return await explain_kill(ending, job_watch, cluster)
    if isinstance(ending, Disrupted) and not ending.named:
        return replace(ending, details=await explain(ending, job_watch, cluster))
    return ending


async def _wait_for_container_end(run: LiveRun) -> None:
    """Wait until the container of a Pod that is gone has ended for certain.

    A Pod deleted by force is gone at once, and its containers end later. The log ends with them, and the
    kubelet lets them run no longer than the Pod's grace period.
    """
    pod, config = run.job_watch.known.pod, run.plan.config
    if agent_end(pod) is not None:
        return
    grace = pod.grace if pod is not None and pod.grace is not None else config.stop_grace_sec
    with suppress(TimeoutError):
        async with asyncio.timeout(grace + run.ports.settings.timings.container_end):
            await run.log_ended.wait()


async def _end_unstarted_pod(run: LiveRun, ending: Ending) -> Ending:
    """For a run that is given up before its start: delete its Pod, and wait until the Pod has ended.

    Otherwise the agent's next run could begin while that Pod starts an agent. Whether the Pod did start one
    is known only at its end.
    """
    job_watch = run.job_watch
    if not isinstance(ending, NotStarted) or ending.failure.keeps_job:
        return ending
    if job_watch.known.pod is None and job_watch.known.job_gone:
        await read_now(job_watch, run.ports.cluster)  # the Job was deleted before its Pod was observed
    if job_watch.known.pod is None:
        return ending
    if not (job_watch.known.pod.is_over or job_watch.known.pod_gone):
        await end_job(job_watch, run.ports, run.narrator)
    if never_began(job_watch.known):
        return ending
    await _wait_for_container_end(run)
    return PodLost(as_possibly_started(ending.failure))


async def _complete_log(run: LiveRun, ending: Ending) -> None:
    """Read the rest of the log. If the Pod is gone, recover its output from the shared volume."""
    known = run.job_watch.known
    if run.stop_reason is not None:
        run.agent_log.agent_stopped(run.ports.settings.timings.stop_log)
    if run.log_task is not None and known.agent_began and not isinstance(ending, Untrackable):
        run.agent_log.container_ended(ending.terminated or agent_end(known.pod))
        await asyncio.wait([run.log_task])
        return
    if run.log_task is not None:
        run.log_task.cancel()
    if isinstance(ending, PodLost) or (known.pod_gone and not never_began(known)):
        await run.agent_log.recover()


def _observation(run: LiveRun, ending: Ending) -> Observation:
    known, agent_log = run.job_watch.known, run.agent_log
    now = loop_time()
    facts = RunFacts(
        job=run.job_watch.ref.name,
        namespace=run.job_watch.ref.namespace,
        conditions=known.job.conditions if known.job is not None else (),
        seconds_running=None if run.running_since is None else now - run.running_since,
        pod_phase=known.pod.phase if known.pod is not None else "",
        pod_gone=known.pod_gone,
    )
    transcript = recover_result(agent_log.transcript(), agent_log.summary, agent_log.report)
    phases = tuple(_phases(run, now))
    return Observation(ending, transcript, agent_log.report, agent_log.summary, facts, known, phases=phases)


def _phases(run: LiveRun, now: float) -> Iterator[tuple[str, int]]:
    """Milliseconds until the container ran, then until its end was known, then until the log was complete.

    If the container never ran, the first phase lasts until the ending, and the second has no length.
    """
    started = run.running_since if run.running_since is not None else run.ended_at
    times = (
        ("start", run.began_at, started),
        ("run", started, run.ended_at),
        ("complete", run.ended_at, now),
    )
    return ((name, round((end - begin) * 1000)) for name, begin, end in times)
