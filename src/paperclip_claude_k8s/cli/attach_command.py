"""`claude-k8s attach`: watch any run of the adapter live, without taking part in it.

The transcript goes to stdout, with a footer below it on a terminal. A run that was started here is shown from
the state folder if another process of this machine works on it or it has ended. Every other run is shown from
its Pod.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from paperclip_claude_k8s.base.aio import exception_as_value
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_failure, stdout_unwritable
from paperclip_claude_k8s.cli.find_run import find_record, job_of_record, job_on_cluster, run_id_of
from paperclip_claude_k8s.cli.follow_job import OutputJournal, follow_job
from paperclip_claude_k8s.cli.job_end import Verdict, annotated_verdict, verdict_of
from paperclip_claude_k8s.cli.job_rows import PENDING, age, state_of
from paperclip_claude_k8s.cli.live import LiveView, open_live_view
from paperclip_claude_k8s.cli.log_printers import LogPart, SinceFilter
from paperclip_claude_k8s.cli.logs import FILE_CHECK_INTERVAL, log_part
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.run_holder import holder_of_job
from paperclip_claude_k8s.cli.run_lookup_options import AttachOptions
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.runs.watched_files import WatchedFiles
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, reraise_signal
from paperclip_claude_k8s.cli.stdout_reader import while_stdout_is_read
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot, Known
from paperclip_claude_k8s.ports import Ports, utc_now

PROGRESS_INTERVAL = 15.0
"""Seconds between two progress lines where no footer shows the progress."""


def attach(options: AttachOptions) -> int:
    """Show the run until it ends or a signal arrives. Exit code 0: the run succeeded. 1: it did not."""
    verdicts = list[Verdict]()

    async def work() -> Reply:
        part = log_part(options.since, options.tail, times=options.times)
        async with open_live_view(quiet=False, times=options.times, stdout=True) as live:
            verdict = await while_stdout_is_read(_with_progress(live, _attach(options, part, live)))
            live.writer.release()
            live.show_note(verdict.text)
            verdicts.append(verdict)
        return {}

    error_reply = run_to_reply(work, CallProgress())
    if SIGNAL_HANDLER.received is not None:
        _print_detached(options.run)
        reraise_signal(SIGNAL_HANDLER.received)
    if error_reply:
        return print_failure(error_reply)
    return DONE if verdicts[0].succeeded else FAILED


def _print_detached(run: str) -> None:
    with suppress(OSError):
        print(  # noqa: T201
            neutral(
                f"Detached; the run goes on. `claude-k8s attach {run}` shows it again, `cancel` ends it."
            ),
            file=sys.stderr,
        )


async def _attach(options: AttachOptions, part: LogPart, live: LiveView) -> Verdict:
    """Show the run that the options name. Raises `Stop`."""
    record = find_record(options.run, namespace=options.namespace)
    if record is not None:
        return await _show_recorded(record, part, live)
    view = JobView(live, part)
    async with job_on_cluster(options, view.journal) as (ports, job):
        holder = await holder_of_job(job, ports)
        agent = job.labels.get(labels.AGENT_LABEL) or "?"
        since = f", {age(job.created, utc_now())} old" if job.created is not None else ""
        live.show_note(f"Run {run_id_of(job)} of agent {agent}: Job {job.ref}{since}")
        live.show_status(f"Who works on it: {holder.description}")
        return await view.show(job, ports)


async def _show_recorded(record: Record, part: LogPart, live: LiveView) -> Verdict:
    """Show a run that was started here. Raises `Stop`."""
    state = State(state_folder(os.environ))
    files = state.files(record.run_id)
    live.show_note(f"Run {record.run_id}, which was started here {record.created}")
    watched = WatchedFiles(files, live, SinceFilter(part.since))
    if part.tail is not None:
        live.writer.hold_back(part.tail)
    while record.outcome is None:
        with files.try_lock() as locked:
            pass
        if locked:  # no process of this machine works on the run
            return await _show_run_without_process(record, part, live, watched)
        watched.show_new()
        live.writer.release()
        check_writable(live)
        await asyncio.sleep(FILE_CHECK_INTERVAL)
        record = state.read(record.run_id)
    watched.show_new()  # after the record was read: the files of an ended run are complete
    live.end_agent_output(resumed=record.resumes_session)
    return Verdict.of_reply(record.outcome)


async def _show_run_without_process(
    record: Record, part: LogPart, live: LiveView, watched: WatchedFiles
) -> Verdict:
    """Show a run that was started here and that no process works on now. Raises `Stop`."""
    resume = f"`claude-k8s run --run-id {record.run_id}`"
    if record.phase != "polling":
        live.writer.release()
        return Verdict(f"Run {record.run_id} has no Job yet; {resume} submits it", succeeded=False)
    job_start = record.jobs[-1].stdout if record.jobs else 0
    view = JobView(live, part, skip=watched.stdout_bytes - job_start)
    async with job_of_record(record, view.journal) as (ports, job):
        if job is None:
            return Verdict(f"Run {record.run_id}: its Job is gone; {resume} prints why", succeeded=False)
        live.show_status(f"No process works on the run now; {resume} goes on with it and takes its result")
        return await view.show(job, ports)


class JobView:
    """Shows a Job and its output on a live view."""

    def __init__(self, live: LiveView, part: LogPart, skip: int = 0) -> None:
        """`skip`: bytes of the output that were shown already."""
        self.journal = OutputJournal(self._receive, skip)
        self._live = live
        self._part = part
        self._since = SinceFilter(part.since)
        self._state = ""

    async def show(self, job: JobSnapshot, ports: Ports) -> Verdict:
        """Show the output until the run ends. Raises `ClusterError`."""
        if self._part.tail is not None and not self.journal.skip:
            self._live.writer.hold_back(self._part.tail)
            await follow_job(job, ports, self.journal, follow=False)
            self.journal.read_again()
        self._live.writer.release()
        followed = await follow_job(job, ports, self.journal, follow=True, on_change=self._show_state)
        self._live.end_agent_output(resumed=None)
        verdict = annotated_verdict(job) or verdict_of(job, followed)
        return verdict or Verdict(f"Run {run_id_of(job)} goes on", succeeded=False)

    def _receive(self, stream: Literal["stdout", "stderr"], block: bytes, written: datetime | None) -> None:
        new = self._since.shown_part(block, written) if stream == "stdout" else block
        self._live.show_agent_output(stream, block, new)
        check_writable(self._live)

    def _show_state(self, known: Known) -> None:
        if known.job is None or known.job_gone:
            return
        state = state_of(known.job, known.pod)
        is_first_look = not self._state and known.pod is None  # before the Pods are listed
        if state != self._state and not (is_first_look and state == PENDING):
            self._state = state
            pod = f" (Pod {known.pod.name})" if known.pod is not None else ""
            self._live.show_status(f"{state}{pod}")


def check_writable(live: LiveView) -> None:
    """Raises `StdoutUnwritable` if the view could not be written.

    The reason is written to stderr, unless the reader of stdout has closed the pipe.
    """
    if live.writer.error is not None:
        closed = isinstance(live.writer.error, BrokenPipeError)
        reason = live.writer.error.strerror or live.writer.error
        raise stdout_unwritable(b"" if closed else f"Cannot write to stdout ({reason})\n".encode())


async def _show_progress(live: LiveView) -> None:
    """Print a progress line every `PROGRESS_INTERVAL` seconds, unless a footer shows the progress."""
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL)
        live.show_progress(f"  [{int(live.elapsed())}s]  {live.counts()}")


async def _with_progress(live: LiveView, work: Coroutine[Any, Any, Verdict]) -> Verdict:
    """The verdict of `work`; progress lines are printed meanwhile. Raises what `work` raises, in no group."""
    async with asyncio.TaskGroup() as group:
        showing = group.create_task(_show_progress(live))
        outcome = await exception_as_value(work)
        showing.cancel()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
