"""Follow the output of a Job without taking part in its run: nothing is written and nothing is deleted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from paperclip_claude_k8s.base.aio import FirstResult
from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.cli.entry import StdoutUnwritable
from paperclip_claude_k8s.cli.runs.call import ignore_log
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import JobSnapshot, Known, PodSnapshot, Running, Terminated
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.ports import NullJournal, Ports
from paperclip_claude_k8s.run.agent_log import AgentLog
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.ending import agent_end, judge_ending
from paperclip_claude_k8s.verdict.observation import recover_result

START_TIMEOUT = 0.5
"""Seconds without a change of the Job after which, without `follow`, the wait for the agent's start ends."""
Receive = Callable[[Literal["stdout", "stderr"], bytes, datetime | None], None]
"""Function that gets the stream, whole lines of the agent's output, and the time at which they were written.

The time is None if unknown. The function may raise `StdoutUnwritable`.
"""


class OutputJournal(NullJournal):
    """Passes the agent's output to `receive`, except the first `skip` bytes of its stdout."""

    def __init__(self, receive: Receive, skip: int = 0) -> None:
        self.receive = receive
        self.skip = skip
        self.bytes_read = 0
        """Bytes of stdout that were read, including skipped bytes."""
        self.clock: Callable[[], datetime | None] = lambda: None
        """Returns the time at which the lines that arrive now were written; None if unknown."""
        self.unwritable: FirstResult[StdoutUnwritable] = FirstResult()

    def read_again(self) -> None:
        """Skip what was passed on, because the output is going to be read from its beginning once more."""
        self.skip, self.bytes_read = max(self.bytes_read, self.skip), 0

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        if self.unwritable.is_set():
            return
        if stream == "stdout":
            skipped_bytes = min(max(self.skip - self.bytes_read, 0), len(block))
            self.bytes_read += len(block)
            block = block[skipped_bytes:]
        elif self.bytes_read < self.skip:
            return
        try:
            if block:
                self.receive(stream, block, self.clock())
        except StdoutUnwritable as error:
            self.unwritable.offer(error)


@dataclass(frozen=True, slots=True)
class FollowedJob:
    """The last state of a Job that was followed, and the facts from its output."""

    known: Known
    transcript: Transcript | None = None
    """None if the agent has not started."""


async def follow_job(
    job: JobSnapshot,
    ports: Ports,
    journal: OutputJournal,
    *,
    follow: bool,
    on_change: Callable[[Known], None] | None = None,
) -> FollowedJob:
    """Read the agent's output: all until the run ends or, without `follow`, what is written so far.

    `ports` must pass the output to `journal`. `on_change` is called with each change of Job and Pod.
    Raises `StdoutUnwritable` as soon as stdout is closed or full.
    """
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_follow(job, ports, journal, follow=follow, on_change=on_change))
        unwritable = group.create_task(journal.unwritable.wait())
        await asyncio.wait([working, unwritable], return_when=asyncio.FIRST_COMPLETED)
        for task in (working, unwritable):
            task.cancel()
    if journal.unwritable.is_set():
        raise await journal.unwritable.wait()
    return working.result()


async def _follow(
    job: JobSnapshot,
    ports: Ports,
    journal: OutputJournal,
    *,
    follow: bool,
    on_change: Callable[[Known], None] | None,
) -> FollowedJob:
    async with ports.informer(job.ref.namespace).job_watch(job) as job_watch:
        job_watch.on_change = on_change
        if on_change is not None:
            on_change(job_watch.known)
        agent_log = AgentLog(ports, Narrator(_silent_context()), job_watch, volume=None)
        journal.clock = lambda: agent_log.line_time
        pod = await _wait_for_start(job_watch, follow=follow)
        if pod is None:
            return FollowedJob(job_watch.known)
        async with asyncio.TaskGroup() as group:
            goes_on = not follow and not isinstance(pod.agent and pod.agent.state, Terminated)
            group.create_task(agent_log.follow(pod, goes_on=goes_on))
            known = job_watch.known
            while follow and judge_ending(known) is None:
                known = await job_watch.changed()
            # without `follow` the container may still run: then the log is read to its present end
            agent_log.container_ended(agent_end(known.pod))
        transcript = recover_result(agent_log.transcript(), agent_log.summary, agent_log.report)
        return FollowedJob(job_watch.known, transcript)


async def _wait_for_start(job_watch: JobWatch, *, follow: bool) -> PodSnapshot | None:
    """The Pod, as soon as its agent has started.

    None if the run has ended before a start or, without `follow`, if the agent has not started yet.
    """
    known = await job_watch.changed()
    while not _has_started(known.pod):
        if known.job_gone or judge_ending(known) is not None:
            return None
        try:
            async with asyncio.timeout(None if follow else START_TIMEOUT):
                known = await job_watch.changed()
        except TimeoutError:
            return None
    return known.pod


def _has_started(pod: PodSnapshot | None) -> bool:
    agent = pod.agent if pod is not None else None
    return agent is not None and isinstance(agent.state, (Running, Terminated))


def _silent_context() -> ExecutionContext:
    """A context whose callback drops everything: the agent's output is taken from the journal."""
    return ExecutionContext.model_validate({"runId": "-", "agent": {"id": "-"}, "onLog": ignore_log})
