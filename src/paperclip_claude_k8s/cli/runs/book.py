"""One run's chronicle: record, transcript and log on the disk, each step before the next one is taken."""

import asyncio
from dataclasses import replace
from typing import Literal

from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.record import JobPart, Record
from paperclip_claude_k8s.cli.runs.saved import Saved
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.runs.step import may_create
from paperclip_claude_k8s.cli.runs.words import Answer, Stop, outcome_of, resumable
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.ground.aio import FirstWord
from paperclip_claude_k8s.host.context import iso
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import utc_now

STEP = 1.0
"""Seconds between two notes of the position while output comes."""
STATUS = "[paperclip] "


class Book:
    """A `Chronicle`. Only the shell that holds the run's lock has one."""

    detached = True

    def __init__(self, state: State, record: Record, live: Live, output: Output | None) -> None:
        files = state.files(record.run_id)
        self.record = record
        self.refused = False
        """A Job was missing that must not be made again."""
        self.job: FirstWord[JobRef] = FirstWord()
        self.broken: FirstWord[Stop] = FirstWord()
        """The disk does not take what is to be written."""
        self._state = state
        self._live = live
        self._output = output
        self._saved = {"stdout": Saved(files.transcript), "stderr": Saved(files.stderr)}
        self._log = files.log.open("ab", buffering=0)
        self._noted = 0.0

    def close(self) -> None:
        for saved in self._saved.values():
            saved.close()
        self._log.close()

    def write(self, record: Record) -> None:
        """Raises `Stop`."""
        self.record = self._state.write(record)

    def end(self, outcome: Answer, *, tidied: bool = True) -> Answer:
        """The run is over. Raises `Stop`."""
        self.write(self._positioned().ended(outcome, tidied=tidied))
        return outcome

    async def on_log(self, _stream: str, text: str) -> None:
        """The host's callback: of interest is what the adapter itself says."""
        if text.startswith(STATUS):
            self._live.status(text)
            stamped = f"{iso(utc_now())} {text.removeprefix(STATUS)}"
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
            self.broken.offer(stop)
        self.job.offer(job)

    async def heard(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        try:
            new = self._saved[stream].feed(block)
            self._live.agent(stream, block, new)
            if stream == "stderr":
                self._keep(new)
            self._note_position()
        except (OSError, Stop) as error:
            self._break(error)

    async def ended(self, result: ExecutionResult | None) -> bool:
        if self.broken.is_set():
            return False
        try:
            if result is None:
                self.write(self.record.again())
                return True
            self._finish_files(result)
            self.end(outcome_of(self.record.run_id, result.to_wire()), tidied=False)
        except (OSError, Stop) as error:
            self._break(error)
        return not self.broken.is_set()

    def _finish_files(self, result: ExecutionResult) -> None:
        log = (result.result_json or {}).get("log") or {}
        if log.get("complete") is True:
            self._saved["stdout"].end()

    def _note_position(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._noted >= STEP:
            self._noted = now
            self.write(self._positioned())
            if self._output is not None:
                self._output.grow()

    def _positioned(self) -> Record:
        return replace(self.record, position=self._saved["stdout"].size)

    def _keep(self, text: bytes) -> None:
        try:
            self._log.write(text)
        except OSError as error:
            self._break(error)

    def _break(self, error: OSError | Stop) -> None:
        if isinstance(error, OSError):
            why = f"{self._state.folder} cannot be written: {error.strerror or error}"
            error = Stop("state_unwritable", f"{why}; the Job goes on, make room and resume")
        more = resumable({"run_id": self.record.run_id})
        self.broken.offer(Stop(error.error, error.detail, **{**more, **error.more}))
