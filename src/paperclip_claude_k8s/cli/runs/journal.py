"""The journal of one run on disk: record, transcript, log. Each step is written before the next begins."""

import os
from dataclasses import replace
from typing import Literal

from paperclip_claude_k8s.base.aio import FirstResult, loop_time
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.agent_output import with_bars
from paperclip_claude_k8s.cli.runs.call import RunCall
from paperclip_claude_k8s.cli.runs.decide import may_create
from paperclip_claude_k8s.cli.runs.disk import check_not_deleted
from paperclip_claude_k8s.cli.runs.mirrored_file import MirroredFile
from paperclip_claude_k8s.cli.runs.record import JobPart, Record
from paperclip_claude_k8s.cli.runs.replies import RUN_CONTINUES, Reply, RunStatus, Stop, outcome_of
from paperclip_claude_k8s.cli.runs.state import State, state_error
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import utc_now

POSITION_INTERVAL = 1.0
"""Seconds between two updates of the position in the record while output arrives."""


class FileJournal:
    """A `RunJournal`. Only the process that holds the run's lock has one.

    After the first failed write, `write_error` is set, no more of the agent's output is written, and the
    run's Job is kept: a later call reads the output again from the beginning.
    """

    detached = True

    def __init__(self, call: RunCall, record: Record) -> None:
        """Raises `Stop` if the run's files cannot be opened."""
        self.record = record
        self.outcome: Reply | None = record.outcome
        """The run's outcome as soon as it is known, even if it could not be written."""
        self.is_job_lost = False
        """True if the run's Job is missing and must not be created again."""
        self.job: FirstResult[JobRef] = FirstResult()
        self.write_error: FirstResult[Stop] = FirstResult()
        self._state = call.state
        self._live = call.live
        self._output = call.output
        self._streams, self._log = _open_files(call.state, record.run_id)
        self._position_written_at = 0.0
        """In the event loop's time."""
        self._output_error_shown = False

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        os.close(self._log)

    @property
    def run_status(self) -> RunStatus:
        """What is known of the run while it has no outcome."""
        return "polling" if self.job.is_set() else self.record.run_status

    def write(self, record: Record) -> None:
        """Write the record to disk. Raises `Stop`."""
        self.record = self._state.write(record)

    def end(self, outcome: Reply, *, cleaned_up: bool = True) -> Reply:
        """Write the run's outcome, and return it. Raises `Stop`."""
        self.outcome = outcome
        self.write(self._with_position().ended(outcome, cleaned_up=cleaned_up))
        return outcome

    def status(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        shown = neutral(text)
        self._live.show_status(shown, warning=stream == "stderr")
        self._append_to_log(f"{format_time(utc_now())} {shown}\n")

    async def may_create(self) -> bool:
        self.is_job_lost = not may_create(self.record, utc_now())
        return not self.is_job_lost

    async def launched(self, job: JobRef) -> None:
        stdout, stderr = self._streams["stdout"], self._streams["stderr"]
        part = self.record.part(job.uid) or JobPart(job.uid, job.name, stdout.size, stderr.size)
        stdout.rewind(part.stdout)
        stderr.rewind(part.stderr)
        try:
            self.write(self.record.with_part(part).submitted())
        except Stop as stop:
            self._set_error(stop)
        self.job.offer(job)

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        if self.write_error.is_set():  # a later block must not be written in the place of one that failed
            return
        try:
            new = self._streams[stream].feed(block)
            self._live.show_agent_output(stream, block, new)
            if stream == "stderr" and new:
                self._append_to_log(with_bars(new.decode("utf-8", "replace")) + "\n")
            self._write_position()
        except (OSError, Stop) as error:
            self._set_error(error)

    async def ended(self, result: ExecutionResult | None) -> bool:
        self._live.end_agent_output(resumed=self.record.resumes_session)
        self.outcome = None if result is None else outcome_of(self.record.run_id, result.to_wire())
        if self.write_error.is_set():
            return False
        try:
            if self.outcome is None:
                self.write(self.record.with_fresh_session())
                return True
            # before the record is written, because the log of an ended run is never read again
            self._finish_files(self.outcome)
            self.end(self.outcome, cleaned_up=False)
        except (OSError, Stop) as error:
            self._set_error(error)
        return not self.write_error.is_set()

    def _finish_files(self, outcome: Reply) -> None:
        """Sync the run's files. If the whole log was read, remove what stdout's file has beyond it."""
        log = (outcome["result"].get("resultJson") or {}).get("log") or {}
        if log.get("complete") is True:
            self._streams["stdout"].cut_rest()
        for stream in self._streams.values():
            stream.sync()
        check_not_deleted(self._log)

    def _write_position(self) -> None:
        """Write the position, check the transcript, update --output; at most once per `POSITION_INTERVAL`."""
        now = loop_time()
        if now - self._position_written_at >= POSITION_INTERVAL:
            self._position_written_at = now
            self.write(self._with_position())
            self._streams["stdout"].check()
            self._update_output()

    def _update_output(self) -> None:
        if self._output is None:
            return
        self._output.update()
        if self._output.error is not None and not self._output_error_shown:
            self._output_error_shown = True
            self._live.show_note(
                f"{self._output.error.detail}; {RUN_CONTINUES}, and --output is retried at its end"
            )

    def _with_position(self) -> Record:
        return replace(self.record, position=self._streams["stdout"].size)

    def _append_to_log(self, lines: str) -> None:
        try:
            self._state.disk.append(self._log, lines.encode())
        except OSError as error:
            self._set_error(error)

    def _set_error(self, error: OSError | Stop) -> None:
        self.write_error.offer(error if isinstance(error, Stop) else state_error(self._state.folder, error))


def _open_files(state: State, run_id: str) -> tuple[dict[str, MirroredFile], int]:
    """The agent's stdout and stderr, and a file descriptor of the log. Raises `Stop`."""
    files, disk, streams = state.files(run_id), state.disk, dict[str, MirroredFile]()
    try:
        streams["stdout"] = MirroredFile(files.transcript, disk)
        streams["stderr"] = MirroredFile(files.stderr, disk)
        return streams, disk.open(files.log)
    except OSError as error:
        for stream in streams.values():
            stream.close()
        raise state_error(state.folder, error) from None
