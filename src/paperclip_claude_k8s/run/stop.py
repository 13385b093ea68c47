"""Orders to stop the agent, and the proof that it stopped (HOST.md 4.5)."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar, assert_never

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.context import StopSignal
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Ending,
    Stopped,
    StoppedAfterResult,
    StopReason,
    agent_end,
)

T = TypeVar("T")
LAST_WORD = 2.0
"""Seconds the watch gets to tell the last state of a Pod that a direct look did not find any more."""
LOOK_AGAIN = 0.5
"""Seconds between two direct looks at a Pod whose end the watch has not told yet."""


async def stop_agent(
    order: StopReason, job_watch: JobWatch, ports: Ports, say: Narrator, result_grace: float
) -> Ending:
    """End the agent, kindly, and say how sure we are that it is gone.

    The Job goes in the foreground: its Pod gets SIGTERM and its grace period, and the Job stays visible until
    the Pod is gone. `result_grace`: how many seconds an agent with a final result was given to exit.
    """
    within = f" within {result_grace:g}s" if order is StopReason.NO_EXIT else ""
    await say.status(f"{order.value}{within}: deleting Job {job_watch.ref.name}; the agent gets SIGTERM")
    proven = await end_job(job_watch, ports, say)
    how = agent_end(job_watch.known.pod)
    match order:
        case StopReason.CANCEL:
            return Stopped(order, proven, how)
        case StopReason.DEADLINE:
            return DeadlinePassed(how)
        case StopReason.NO_EXIT:
            return StoppedAfterResult(result_grace, how)
        case _:
            assert_never(order)


async def end_job(job_watch: JobWatch, ports: Ports, say: Narrator) -> bool:
    """Delete the Job and its Pod, and wait until the Pod is proven gone; False: it could not be proven."""
    try:
        call = Retrier(ports.settings.timings, say)
        await call("delete job", lambda: ports.cluster.delete_job(job_watch.ref, "Foreground"))
        await delete_released(job_watch, ports)
        async with asyncio.timeout(ports.settings.timings.stop_proof):
            await _gone(job_watch, ports)
    except (ClusterError, TimeoutError) as error:
        why = str(error) or f"its Pod was not seen to go within {ports.settings.timings.stop_proof:g}s"
        await say.warn(f"The end of Job {job_watch.ref.name} could not be proven: {why}")
        return False
    return True


async def delete_released(job_watch: JobWatch, ports: Ports) -> None:
    """Delete a Pod that its Job does not take along, since the Job controller let go of it.

    Raises:
        ClusterError: it could not be deleted.
    """
    known = job_watch.known
    if known.pod is not None and known.pod_released and not known.pod_gone:
        await ports.cluster.delete_pod(known.pod)


async def _gone(job_watch: JobWatch, ports: Ports) -> None:
    """Until the Pod is positively gone: a deletion event, or a quorum read that does not find it."""
    while not job_watch.known.pod_gone:
        pod = job_watch.known.pod
        if pod is None:
            if job_watch.known.job_gone:
                return
        elif await _not_found(pod.name, pod.uid, job_watch, ports):
            await _last_word(job_watch)
            return
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                await job_watch.changed()
        except TimeoutError:
            continue


async def _last_word(job_watch: JobWatch) -> None:
    """The watch may still bring how the Pod was last, and with it whether its agent had started."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORD):
            while not job_watch.known.pod_gone:
                await job_watch.changed()


async def _not_found(name: str, uid: str, job_watch: JobWatch, ports: Ports) -> bool:
    try:
        there = await ports.cluster.read_pod(job_watch.ref.namespace, name)
    except ClusterError:
        return False  # not observed is not gone
    return there is None or there.uid != uid


async def cancel_on(signal: StopSignal | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the host stops the run meanwhile.

    A result that comes all the same is given: what it stands for exists, and somebody has to care for it.

    Raises:
        RunFailure: what `work` raises; `cancelled`, once `work` has tidied up after itself.
    """
    if signal is None:
        return await work
    async with asyncio.TaskGroup() as group:
        hearing = group.create_task(_hear(signal))
        working = group.create_task(_kept(work))
        await asyncio.wait([hearing, working], return_when=asyncio.FIRST_COMPLETED)
        hearing.cancel()
        working.cancel()
    if working.cancelled():
        raise RunFailure(failures.cancelled(proven=True))
    result = working.result()
    if isinstance(result, RunFailure):
        raise result
    return result


async def _hear(signal: StopSignal) -> None:
    await signal.wait()


async def _kept(work: Coroutine[Any, Any, T]) -> T | RunFailure:
    """A failure as a value: a group would wrap it."""
    try:
        return await work
    except RunFailure as failure:
        return failure
