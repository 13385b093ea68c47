"""Stop an agent, and prove that it stopped.

Only a positive observation counts as proof: the watch reported that the Pod was removed, a consistent read
did not find it, or the Job is gone and no Pod of it was ever seen. A call that failed proves nothing.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, assert_never

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.aio import Backoff, exception_as_value
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import Known
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.context import StopSignal
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.host_callbacks import wait_for_stop
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Ending,
    OverBudget,
    Stopped,
    StoppedAfterResult,
    StopReason,
    agent_end,
)

T = TypeVar("T")
LAST_STATE_WAIT = 2.0
"""Seconds to wait for the watch to report the last state of a Pod that a read no longer found."""
FIRST_READ, READ_INTERVAL = 0.5, 5.0
"""The first and the longest pause in seconds between two reads of a Pod, until its removal is observed."""


@dataclass(frozen=True, slots=True)
class StopLimits:
    """What an ending says about the limits and the cost of a run."""

    result_grace: float
    """Seconds that an agent with a final result had to exit."""
    cost: float = 0.0
    """Known cost of the run, in US dollars."""
    max_cost: float = 0.0
    """The limit that the cost passed, in US dollars."""


async def stop_agent(
    reason: StopReason, job_watch: JobWatch, ports: Ports, narrator: Narrator, limits: StopLimits
) -> Ending:
    """Delete the Job, wait until its Pod is gone, and return the ending that results.

    The Job is deleted in the foreground: its Pod gets SIGTERM and its grace period, and the Job stays visible
    until the Pod is gone.
    """
    within = f" within {limits.result_grace:g}s" if reason is StopReason.NO_EXIT else ""
    await narrator.status(
        f"{reason.value}{within}: deleting Job {job_watch.ref.name}; the agent gets SIGTERM"
    )
    proven = await end_job(job_watch, ports, narrator)
    terminated = agent_end(job_watch.known.pod)
    match reason:
        case StopReason.CANCEL:
            return Stopped(proven, terminated)
        case StopReason.DEADLINE:
            return DeadlinePassed(terminated)
        case StopReason.NO_EXIT:
            return StoppedAfterResult(limits.result_grace, terminated)
        case StopReason.BUDGET:
            return OverBudget(limits.cost, limits.max_cost, terminated)
        case _:
            assert_never(reason)


async def end_job(job_watch: JobWatch, ports: Ports, narrator: Narrator) -> bool:
    """Delete the Job and its Pod, and wait until the Pod is proven gone. False: that could not be proven."""
    try:
        call = Retrier(ports.settings.timings, narrator, foreign_too=True)
        await call("delete job", lambda: ports.cluster.delete_job(job_watch.ref, "Foreground"))
        await delete_released(job_watch.known, ports)
        async with asyncio.timeout(ports.settings.timings.stop_proof):
            await _wait_until_gone(job_watch, ports)
    except (ClusterError, TimeoutError) as error:
        limit = ports.settings.timings.stop_proof
        reason = str(error) or f"its Pod was not proven gone within {limit:g}s"
        await narrator.warn(f"Could not confirm that Job {job_watch.ref.name} stopped: {reason}")
        return False
    return True


async def delete_released(known: Known, ports: Ports) -> None:
    """Delete a Pod that the deletion of its Job leaves behind, because the Job controller released it.

    Raises:
        ClusterError: it could not be deleted.
    """
    if known.pod is not None and known.pod_released and not known.pod_gone:
        await ports.cluster.delete_pod(known.pod)


async def _wait_until_gone(job_watch: JobWatch, ports: Ports) -> None:
    interval = Backoff(FIRST_READ, READ_INTERVAL)
    while not job_watch.known.pod_gone:
        pod = job_watch.known.pod
        if pod is None:
            if job_watch.known.job_gone:
                return
        elif await _not_found(pod.name, pod.uid, job_watch, ports):
            await _wait_for_last_state(job_watch)
            return
        try:
            async with asyncio.timeout(interval.pause()):
                await job_watch.changed()
        except TimeoutError:
            continue


async def _wait_for_last_state(job_watch: JobWatch) -> None:
    """Give the watch time to report the Pod's last state, and with it whether its agent had started."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_STATE_WAIT):
            while not job_watch.known.pod_gone:
                await job_watch.changed()


async def _not_found(name: str, uid: str, job_watch: JobWatch, ports: Ports) -> bool:
    try:
        pod = await ports.cluster.read_pod(job_watch.ref.namespace, name)
    except ClusterError:
        return False  # a failed read proves nothing
    return pod is None or pod.uid != uid


async def cancel_on(signal: StopSignal | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the host stops the run.

    If `work` returns a result in spite of its cancellation, that result is returned: it stands for an object
    that exists and that the caller has to clean up.

    Raises:
        RunFailure: what `work` raises; `cancelled`, after `work` has cleaned up.
    """
    if signal is None:
        return await work
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait_for_stop(signal))
        working = group.create_task(exception_as_value(work))
        await asyncio.wait([waiting, working], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        working.cancel()
    if working.cancelled():
        raise RunFailure(failures.cancelled(proven=True))
    result = working.result()
    if isinstance(result, Exception):
        raise result
    return result
