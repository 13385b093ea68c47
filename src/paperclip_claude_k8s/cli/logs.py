"""`claude-k8s logs`: print the agent's output without taking part in the run.

While another process works on the run, or after the run's end, the output comes from the state folder.
Otherwise the part that the folder does not have yet is read from the Pod; nothing is written.

A file or pipe gets the output byte for byte. A terminal gets it as a transcript, with control characters made
visible, unless `--raw` is given.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from paperclip_claude_k8s.base.aio import FirstResult
from paperclip_claude_k8s.claude.partial_line import PartialLine
from paperclip_claude_k8s.cli.agent_output import AgentOutput, screen_of
from paperclip_claude_k8s.cli.entry import DONE, StdoutUnwritable, print_failure, stdout_unwritable
from paperclip_claude_k8s.cli.grants import with_grants
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.runs.call import CallProgress, ignore_log
from paperclip_claude_k8s.cli.runs.output import CHUNK
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.runs.run_target import run_labels
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, reraise_signal
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot, Running, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.agent_log import AgentLog
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.ending import agent_end, judge_ending

FILE_CHECK_INTERVAL = 0.5
"""Seconds between two reads of a file that another process writes."""
START_TIMEOUT = 0.5
"""Without --follow, the wait for the agent's start ends after this many seconds without news of the Job."""


class RawPrinter:
    """Writes the agent's output to stdout as it is."""

    def print(self, content: bytes) -> None:
        """Raises `StdoutUnwritable`, and explains it on stderr unless a reader such as `head` ended."""
        write_stdout(content)

    def finish(self, *, resumed: bool | None) -> None:
        """Called at the end of the run."""


class TranscriptPrinter(RawPrinter):
    """Writes the agent's output to stdout as a transcript."""

    def __init__(self, *, times: bool) -> None:
        self._screen = screen_of(Console(highlight=False), times=times)
        self._agent = AgentOutput()
        self._partial = PartialLine()

    def print(self, content: bytes) -> None:
        *ends, rest = content.split(b"\n")
        lines = []
        for end in ends:
            self._partial.add(end)
            lines.append(self._partial.take())
            self._agent.count(lines[-1])
        self._partial.add(rest)
        write_stdout(self._agent.shown(lines, self._screen).encode())

    def finish(self, *, resumed: bool | None) -> None:
        if self._partial:
            self.print(b"\n")
        write_stdout(self._agent.shown_end(self._screen, resumed=resumed).encode())


class StdoutJournal(NullJournal):
    """Prints the agent's stdout, except the first `already_printed` bytes."""

    def __init__(self, printer: RawPrinter, already_printed: int) -> None:
        self._printer = printer
        self._skip = already_printed
        self.unwritable: FirstResult[StdoutUnwritable] = FirstResult()

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        if stream != "stdout" or self.unwritable.is_set():
            return
        skipped = min(self._skip, len(block))
        self._skip -= skipped
        try:
            self._printer.print(block[skipped:])
        except StdoutUnwritable as error:
            self.unwritable.offer(error)


def logs(run_id: str, *, follow: bool, raw: bool = False, times: bool = False) -> int:
    """Print the output. If that fails, print one JSON object and return exit code 1."""
    as_is = raw or sys.stdout is None or not sys.stdout.isatty()
    printer = RawPrinter() if as_is else TranscriptPrinter(times=times)
    reply = run_to_reply(lambda: _logs(run_id, printer, follow=follow), CallProgress())
    if SIGNAL_HANDLER.received is not None:
        reraise_signal(SIGNAL_HANDLER.received)
    return print_failure(reply) if reply else DONE


async def _logs(run_id: str, printer: RawPrinter, *, follow: bool) -> Reply:
    """Always returns {}. Raises `Stop` and `StdoutUnwritable`."""
    state = State(state_folder(os.environ))
    transcript = state.files(run_id).transcript
    record, offset = state.read(run_id), _print_file(transcript, 0, printer)
    while record.outcome is None:
        with state.files(run_id).try_lock() as locked:
            pass
        if locked:  # no other process works on the run
            journal = StdoutJournal(printer, offset - _job_start(record))
            await _print_from_cluster(record, journal, follow=follow)
            return {}
        if not follow:
            return {}
        await asyncio.sleep(FILE_CHECK_INTERVAL)
        record = state.read(run_id)  # before the file is read: the file of an ended run is complete
        offset = _print_file(transcript, offset, printer)
    printer.finish(resumed=record.resumes_session)
    return {}


def _print_file(path: Path, offset: int, printer: RawPrinter) -> int:
    """Print the file from the offset on, and return the offset of its end."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK):
            printer.print(chunk)
        return file.tell()
    return offset


def _job_start(record: Record) -> int:
    """Where the output of the run's newest Job begins in the file."""
    return record.jobs[-1].stdout if record.jobs else 0


async def _print_from_cluster(record: Record, journal: StdoutJournal, *, follow: bool) -> None:
    """Print the Pod's output from where the file ended."""
    if record.phase != "polling":  # there is no Job yet
        return
    settings = with_grants(ProcessSettings.read(os.environ), record.grants)
    process = Process(settings, journal=journal)
    try:
        ports = process.ports(record.kubeconfig, record.context)
        jobs = (await ports.cluster.list_jobs(record.target.namespace, run_labels(record.run_id))).items
        if jobs:
            await _while_writable(_follow_job(jobs[-1], ports, follow=follow), journal)
    except ClusterError as error:
        raise Stop("task_failed", f"cannot read the log: {error}", run_id=record.run_id) from None
    finally:
        await process.shut_down()


async def _while_writable(work: Coroutine[Any, Any, None], journal: StdoutJournal) -> None:
    """Cancel the work and raise `StdoutUnwritable` as soon as stdout is closed or full."""
    async with asyncio.TaskGroup() as group:
        working, unwritable = group.create_task(work), group.create_task(journal.unwritable.wait())
        await asyncio.wait([working, unwritable], return_when=asyncio.FIRST_COMPLETED)
        for task in (working, unwritable):
            task.cancel()
    if journal.unwritable.is_set():
        raise await journal.unwritable.wait()


async def _follow_job(job: JobSnapshot, ports: Ports, *, follow: bool) -> None:
    """Read the agent's log into the journal, to its end or, without `follow`, as far as it is written."""
    async with ports.informer(job.ref.namespace).job_watch(job) as job_watch:
        agent_log = AgentLog(ports, Narrator(_silent_context()), job_watch, None)
        pod = await _wait_for_start(job_watch, follow=follow)
        if pod is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(agent_log.follow(pod))
            known = job_watch.known
            while follow and judge_ending(known) is None:
                known = await job_watch.changed()
            # without `follow` the container may still run: then the log is read to its present end
            agent_log.container_ended(agent_end(known.pod))


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


def write_stdout(content: bytes) -> None:
    """Raises `StdoutUnwritable`, and explains it on stderr unless a reader such as `head` closed the pipe."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise stdout_unwritable(b"") from None
    except OSError as error:
        message = f"Cannot write the log to stdout ({error.strerror or error})\n"
        raise stdout_unwritable(message.encode()) from None


def _silent_context() -> ExecutionContext:
    """A context whose callback drops everything: the agent's output is taken from the journal."""
    return ExecutionContext.model_validate({"runId": "-", "agent": {"id": "-"}, "onLog": ignore_log})
