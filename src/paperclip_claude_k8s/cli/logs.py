"""`claude-k8s logs`: the agent's output from outside, without any say in the run."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from paperclip_claude_k8s.base.aio import FirstResult
from paperclip_claude_k8s.cli.codes import DONE, FAILED
from paperclip_claude_k8s.cli.entry import Unprintable, say, unprintable
from paperclip_claude_k8s.cli.run_command import Ledger, answered
from paperclip_claude_k8s.cli.runs.find_target import labels_of
from paperclip_claude_k8s.cli.runs.folders import state_folder
from paperclip_claude_k8s.cli.runs.output import PIECE
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Answer, Stop
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.signals import SIGNALS, reraise_signal
from paperclip_claude_k8s.cluster.informer import JobWatch
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot, Running, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.agent_log import AgentLog
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.ending import agent_end, judge_ending

GLANCE = 0.5
"""Seconds between two looks at a file that another shell writes."""


class StdoutJournal(NullJournal):
    """Pours what a run says to stdout, less what was poured before."""

    def __init__(self, poured: int) -> None:
        self._before = poured
        self.stuck: FirstResult[Unprintable] = FirstResult()
        """Stdout takes no more."""

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        if stream != "stdout" or self.stuck.is_set():
            return
        known = min(self._before, len(block))
        self._before -= known
        try:
            pour(block[known:])
        except Unprintable as error:
            self.stuck.offer(error)


def logs(run_id: str, *, follow: bool) -> int:
    """Text on stdout; where there is none to be had, one JSON object and exit code 1."""
    answer = answered(lambda: _logs(run_id, follow=follow), Ledger())
    if SIGNALS.seen is not None:
        reraise_signal(SIGNALS.seen)
    if answer:
        say(answer)
        return FAILED
    return DONE


async def _logs(run_id: str, *, follow: bool) -> Answer:
    state = State(state_folder(os.environ))
    saved = state.files(run_id).transcript
    record, at = state.read(run_id), _pour_file(saved, 0)
    while record.outcome is None:
        with state.files(run_id).held() as free:
            pass
        if free:
            await _pour_from_cluster(record, at, follow=follow)
            return {}
        if not follow:
            return {}
        await asyncio.sleep(GLANCE)
        record = state.read(run_id)
        at = _pour_file(saved, at)
    return {}


def _pour_file(path: Path, at: int) -> int:
    """From there to its end; where that is."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(at)
        while piece := file.read(PIECE):
            pour(piece)
        return file.tell()
    return at


async def _pour_from_cluster(record: Record, at: int, *, follow: bool) -> None:
    """What the Pod has said beyond the file: nobody works on the run at this moment."""
    if record.phase != "polling":
        return
    began = record.jobs[-1].stdout if record.jobs else 0
    spout = StdoutJournal(at - began)
    process = Process(ProcessSettings(env=os.environ), journal=spout)
    try:
        config = record.request["config"]
        ports = process.ports(config.get("kubeconfig"))
        found = (await ports.cluster.list_jobs(record.place.namespace, labels_of(record.run_id))).items
        if found:
            await _unless_stuck(_listen(found[-1], ports, follow=follow), spout)
    except ClusterError as error:
        raise Stop("task_failed", f"the log cannot be read: {error}", run_id=record.run_id) from None
    finally:
        await process.shut_down()


async def _unless_stuck(work: Coroutine[Any, Any, None], spout: StdoutJournal) -> None:
    """Raises `Unprintable` as soon as stdout takes no more: nobody reads what is still to come."""
    async with asyncio.TaskGroup() as group:
        listening, stuck = group.create_task(work), group.create_task(spout.stuck.heard())
        await asyncio.wait([listening, stuck], return_when=asyncio.FIRST_COMPLETED)
        for task in (listening, stuck):
            task.cancel()
    if spout.stuck.is_set():
        raise await spout.stuck.heard()


async def _listen(job: JobSnapshot, ports: Ports, *, follow: bool) -> None:
    async with ports.informer(job.ref.namespace).job_watch(job) as job_watch:
        ears = AgentLog(ports, Narrator(_DEAF), job_watch, None)
        pod = await _started(job_watch, follow=follow)
        if pod is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(ears.follow(pod))
            known = job_watch.known
            while follow and judge_ending(known) is None:
                known = await job_watch.news()
            ears.container_ended(agent_end(known.pod))


async def _started(job_watch: JobWatch, *, follow: bool) -> PodSnapshot | None:
    """Its Pod once the agent began; without `follow` as it is after the first list."""
    known = await job_watch.news()
    while not _began(known.pod):
        if known.job_gone or judge_ending(known) is not None:
            return None
        try:
            async with asyncio.timeout(None if follow else GLANCE):
                known = await job_watch.news()
        except TimeoutError:
            return None
    return known.pod


def _began(pod: PodSnapshot | None) -> bool:
    agent = pod.agent if pod is not None else None
    return agent is not None and isinstance(agent.now, (Running, Terminated))


def pour(text: bytes) -> None:
    """Raises `Unprintable`; a reader that has left, such as `head`, is no reason to say why."""
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise unprintable(b"") from None
    except OSError as error:
        told = f"The log cannot be printed on stdout ({error.strerror or error})\n"
        raise unprintable(told.encode()) from None


async def _unheard(_stream: str, _text: str) -> None:
    """What the adapter says is nothing of the agent's."""


_DEAF = ExecutionContext.model_validate({"runId": "-", "agent": {"id": "-"}, "onLog": _unheard})
