"""One run's chronicle: record, transcript and log on the disk, each step before the next one is taken."""

import asyncio
import os
from dataclasses import replace
from typing import Literal

from paperclip_claude_k8s.base.aio import FirstResult
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.runs.decide import may_create
from paperclip_claude_k8s.cli.runs.disk import still_there
from paperclip_claude_k8s.cli.runs.mirrored_file import MirroredFile
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.record import JobPart, Record, run_status_of
from paperclip_claude_k8s.cli.runs.replies import Answer, RunStatus, Stop, outcome_of
from paperclip_claude_k8s.cli.runs.state import State, unwritable
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import utc_now

STEP = 1.0
"""Seconds between two notes of the position while output comes."""
STATUS = "[paperclip] "


class FileJournal:
    """A `RunJournal`. Only the shell that holds the run's lock has one."""

    detached = True

    def __init__(self, state: State, record: Record, live: Live, output: Output | None) -> None:
        """Raises `Stop` where the run's files cannot be opened."""
        self.record = record
        self.outcome: Answer | None = record.outcome
        """The run's own answer, as soon as it is known; whether it could be written down or not."""
        self.refused = False
        """A Job was missing that must not be made again."""
        self.job: FirstResult[JobRef] = FirstResult()
        self.broken: FirstResult[Stop] = FirstResult()
        """The disk does not take what is to be written."""
        self._state = state
        self._live = live
        self._output = output
        self._saved, self._log = _opened(state, record.run_id)
        self._noted = 0.0
        self._output_told = False

    def close(self) -> None:
        for saved in self._saved.values():
            saved.close()
        os.close(self._log)

    @property
    def run_status(self) -> RunStatus:
        """What is known of the run while it has no outcome."""
        return "polling" if self.job.is_set() else run_status_of(self.record)

    def write(self, record: Record) -> None:
        """Raises `Stop`."""
        self.record = self._state.write(record)

    def end(self, outcome: Answer, *, tidied: bool = True) -> Answer:
        """The run is over. Raises `Stop`."""
        self.outcome = outcome
        self.write(self._positioned().ended(outcome, tidied=tidied))
        return outcome

    async def on_log(self, _stream: str, text: str) -> None:
        """The host's callback: of interest is what the adapter itself says."""
        if text.startswith(STATUS):
            self._live.status(text)
            stamped = f"{format_time(utc_now())} {text.removeprefix(STATUS)}"
            self._keep(stamped.encode("utf-8", "backslashreplace"))

    async def may_create(self) -> bool:
        self.refused = not may_create(self.record, utc_now())
        return not self.refused

    async def launched(self, job: JobRef) -> None:
        known = self.record.part(job.uid)
        part = known or JobPart(job.uid, job.name, self._saved["stdout"].size, self._saved["stderr"].size)
        self._saved["stdout"].begin(part.stdout)
        self._saved["stderr"].begin(part.stderr)
        try:
            self.write(self.record.with_part(part).submitted())
        except Stop as stop:
            self._break(stop)
        self.job.offer(job)

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        if self.broken.is_set():  # what comes after a block that was not written must not stand in its place
            return
        try:
            new = self._saved[stream].feed(block)
            self._live.agent(stream, block, new)
            if stream == "stderr":
                self._keep(new)
            self._note_position()
        except (OSError, Stop) as error:
            self._break(error)

    async def ended(self, result: ExecutionResult | None) -> bool:
        self.outcome = None if result is None else outcome_of(self.record.run_id, result.to_wire())
        if self.broken.is_set():
            return False
        try:
            if self.outcome is None:
                self.write(self.record.again())
                return True
            self._finish_files(self.outcome)
            self.end(self.outcome, tidied=False)
        except (OSError, Stop) as error:
            self._break(error)
        return not self.broken.is_set()

    def _finish_files(self, outcome: Answer) -> None:
        log = (outcome["result"].get("resultJson") or {}).get("log") or {}
        if log.get("complete") is True:
            self._saved["stdout"].end()
        for saved in self._saved.values():
            saved.secure()
        still_there(self._log)

    def _note_position(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._noted >= STEP:
            self._noted = now
            self.write(self._positioned())
            self._saved["stdout"].check()
            self._grow_output()

    def _grow_output(self) -> None:
        if self._output is None:
            return
        self._output.grow()
        if self._output.trouble is not None and not self._output_told:
            self._output_told = True
            self._live.note(
                f"{self._output.trouble.detail}; the run goes on, and it is tried again at its end"
            )

    def _positioned(self) -> Record:
        return replace(self.record, position=self._saved["stdout"].size)

    def _keep(self, text: bytes) -> None:
        try:
            self._state.disk.append(self._log, text)
        except OSError as error:
            self._break(error)

    def _break(self, error: OSError | Stop) -> None:
        self.broken.offer(error if isinstance(error, Stop) else unwritable(self._state.folder, error))


def _opened(state: State, run_id: str) -> tuple[dict[str, MirroredFile], int]:
    """The agent's stdout and stderr, and a handle of the log."""
    files, disk, saved = state.files(run_id), state.disk, dict[str, MirroredFile]()
    try:
        saved["stdout"] = MirroredFile(files.transcript, disk)
        saved["stderr"] = MirroredFile(files.stderr, disk)
        return saved, disk.open(files.log)
    except OSError as error:
        for one in saved.values():
            one.close()
        raise unwritable(state.folder, error) from None
