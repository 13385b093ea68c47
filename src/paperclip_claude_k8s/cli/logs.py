"""`claude-k8s logs`: print the agent's output without taking part in the run.

The output of a run that was started here is read from the state folder while another process works on the
run, and after the run's end. Otherwise the part that the folder does not have is read from the Pod, and
nothing is written to the folder. Every other run of the adapter is found by its Job, and its output is read
from the Pod.

A file or pipe gets the output byte for byte. A terminal gets a transcript, with control characters made
visible, unless `--raw` is given.
"""

import asyncio
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from paperclip_claude_k8s.cli.entry import DONE, print_failure
from paperclip_claude_k8s.cli.find_run import find_record, job_of_record, job_on_cluster
from paperclip_claude_k8s.cli.follow_job import OutputJournal, Receive, follow_job
from paperclip_claude_k8s.cli.formats import is_terminal
from paperclip_claude_k8s.cli.log_printers import LogPart, RawPrinter, TranscriptPrinter
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.run_costs import parse_moment
from paperclip_claude_k8s.cli.run_lookup_options import LogsOptions
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.output import CHUNK
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, reraise_signal
from paperclip_claude_k8s.cli.stdout_reader import while_stdout_is_read
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.ports import Ports, utc_now
from paperclip_claude_k8s.verdict.ending import judge_ending

FILE_CHECK_INTERVAL = 0.5
"""Seconds between two reads of a file that another process writes."""


def logs(options: LogsOptions) -> int:
    """Print the output. If that fails, print the reason and return exit code 1."""

    async def work() -> Reply:
        part = log_part(options.since, options.tail, times=options.times)
        rendered = is_terminal() if options.rendered is None else options.rendered
        printer = TranscriptPrinter(part) if rendered else RawPrinter(part)
        output = _print_output(options, printer)
        await (while_stdout_is_read(output) if options.follow else output)
        return {}

    error_reply = run_to_reply(work, CallProgress())
    if SIGNAL_HANDLER.received is not None:
        reraise_signal(SIGNAL_HANDLER.received)
    return print_failure(error_reply) if error_reply else DONE


def log_part(since: str | None, tail: int | None, *, times: bool) -> LogPart:
    """The part of the output that the options name. Raises `Stop` for a time that cannot be read."""
    try:
        return LogPart(since=parse_moment(since, utc_now()) if since else None, tail=tail, times=times)
    except ValueError as error:
        raise Stop("usage", f"--since: {error}") from None


async def _print_output(options: LogsOptions, printer: RawPrinter) -> None:
    """Print the output of the run that the options name. Raises `Stop` and `StdoutUnwritable`."""
    record = find_record(options.run, namespace=options.namespace)
    if record is not None:
        await _print_recorded(record, printer, follow=options.follow)
        return
    journal = OutputJournal(_stdout_to(printer))
    async with job_on_cluster(options, journal) as (ports, job):
        await _print_job(job, ports, journal, printer, follow=options.follow)


async def _print_recorded(record: Record, printer: RawPrinter, *, follow: bool) -> None:
    """Print the output of a run that was started here. Raises `Stop` and `StdoutUnwritable`."""
    state = State(state_folder(os.environ))
    transcript = state.files(record.run_id).transcript
    offset = _print_file(transcript, 0, printer)
    while record.outcome is None:
        with state.files(record.run_id).try_lock() as locked:
            pass
        if locked:  # no other process works on the run
            await _print_rest(record, offset, printer, follow=follow)
            return
        printer.print_held()
        if not follow:
            return
        await asyncio.sleep(FILE_CHECK_INTERVAL)
        record = state.read(record.run_id)  # before the file is read: the file of an ended run is complete
        offset = _print_file(transcript, offset, printer)
    printer.finish(resumed=record.resumes_session)


def _print_file(path: Path, offset: int, printer: RawPrinter) -> int:
    """Print the file from the offset on, and return the offset of its end."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK):
            printer.print(chunk)
        return file.tell()
    return offset


async def _print_rest(record: Record, offset: int, printer: RawPrinter, *, follow: bool) -> None:
    """Print the Pod's output from where the file ended."""
    if record.phase != "polling":  # the record has no Job yet
        printer.print_held()
        return
    job_start = record.jobs[-1].stdout if record.jobs else 0
    journal = OutputJournal(_stdout_to(printer), skip=offset - job_start)
    async with job_of_record(record, journal) as (ports, job):
        if job is None:
            printer.print_held()
        else:
            await _print_job(job, ports, journal, printer, follow=follow)


async def _print_job(
    job: JobSnapshot, ports: Ports, journal: OutputJournal, printer: RawPrinter, *, follow: bool
) -> None:
    """Print the Pod's log, and with `follow` also what is added until the run ends."""
    if follow and printer.holds_back:
        # first read the log to its present end, because nothing in it separates old from new lines
        await follow_job(job, ports, journal, follow=False)
        journal.read_again()
        printer.print_held()
    followed = await follow_job(job, ports, journal, follow=follow)
    if judge_ending(followed.known) is not None:
        printer.finish(resumed=None)
    printer.print_held()


def _stdout_to(printer: RawPrinter) -> Receive:
    def receive(stream: Literal["stdout", "stderr"], block: bytes, written: datetime | None) -> None:
        if stream == "stdout":
            printer.print(block, written)

    return receive
