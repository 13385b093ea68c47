"""A call about one run, from its record to its answer, beside other calls about the same run."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.runs.early_replies import polling
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.poll_schedule import Schedule, Tuning
from paperclip_claude_k8s.cli.runs.poller import Poller
from paperclip_claude_k8s.cli.runs.replies import CUT_SHORT, Answer, Stop, resumable, stop_within
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.runs.worker import Terms, Worker
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Connect, connect

GLANCE = 0.5
"""Seconds between two tries to become the shell that works on the run."""

ELSEWHERE = 5.0
"""Seconds between two tries to adopt a Job whose holder lives on another machine."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the options ask for."""

    schedule: Schedule
    tuning: Tuning
    settings: ProcessSettings
    once: bool = False
    submit: bool = False
    kubeconfig: str | None = None
    output: Path | None = None
    connect: Connect = connect


async def attend(state: State, run_id: str, call: Call, live: Live) -> Answer:
    """The run's answer, or `"status": "polling"` where only a look was asked for.

    Raises:
        Stop: the wait is over, or cannot go on; the run may. Where `--output` is wanted and cannot be
            written, it is that, whatever the run's own answer is.
    """
    state.read(run_id)
    output = Output(call.output, state.files(run_id)) if call.output is not None else None
    visit = _Visit(state, run_id, call, live, output)
    try:
        answer = await visit.in_time()
    except (Stop, asyncio.CancelledError) as error:
        known = visit.outcome() if _is_cut_short(error) else None
        if known is None:
            raise visit.with_trouble(error) from None
        if isinstance(error, asyncio.CancelledError):  # a signal: whoever caught it knows the outcome too
            visit.leave(known)
            raise
        answer = known
    visit.leave(answer)
    return answer


def _is_cut_short(error: BaseException) -> bool:
    return not isinstance(error, Stop) or error.error in CUT_SHORT


@dataclass(frozen=True, slots=True)
class _Visit:
    state: State
    run_id: str
    call: Call
    live: Live
    output: Output | None

    async def in_time(self) -> Answer:
        """What `make` gives. Raises `Stop`."""
        limit = self.call.schedule.timeout
        try:
            async with asyncio.timeout(limit) as scope:
                return await self.make()
        except TimeoutError:
            if not scope.expired():
                raise
            phase = self.state.read(self.run_id).phase
            goes_on = "the run goes on" if phase == "polling" else "no Job of the run was seen yet"
            more = resumable({"run_id": self.run_id})
            raise Stop("poll_timeout", f"no end within {limit:g}s; {goes_on}", **more) from None
        except ExceptionGroup as errors:
            stop = stop_within(errors)
            if stop is None:
                raise
            raise stop from None

    def outcome(self) -> Answer | None:
        """The run's own answer, if it has ended by now."""
        with suppress(Stop):
            return self.state.read(self.run_id).outcome
        return None

    def leave(self, answer: Answer) -> None:
        """See to it that `--output` holds all there is. Raises `Stop`."""
        if self.output is None:
            return
        if answer["status"] != "polling":
            self.output.finish(answer)
            return
        self.output.grow()
        if self.output.trouble is not None:
            raise self.output.trouble.about("polling")

    def with_trouble(self, error: BaseException) -> BaseException:
        """The error, which also tells of `--output` where that is behind."""
        if self.output is not None:
            self.output.grow()
            if self.output.trouble is not None and isinstance(error, Stop):
                error.more.setdefault("output_error", self.output.trouble.detail)
        return error

    async def make(self) -> Answer:
        call = self.call
        looks = Poller(self.run_id, call.schedule, call.tuning, self.live)
        manner = "submit" if call.submit else "once" if call.once else "wait"
        terms = Terms(call.settings, looks, manner, call.kubeconfig, self.output, call.connect)  # type: ignore[arg-type]
        files = self.state.files(self.run_id)
        record = self.state.read(self.run_id)
        if record.outcome is not None and record.tidied:  # nothing is left to do, or to write down
            return self._told(record.outcome, looks)
        while True:
            with files.held() as ours:
                record = self.state.read(self.run_id)
                if ours:
                    answer = await Worker(self.state, record, terms, self.live).take()
                    if answer is not None:
                        return self._told(answer, looks)
                    await asyncio.sleep(ELSEWHERE)
            if call.once or call.submit:
                return record.outcome or polling(record)
            answer = await self._observe(looks)
            if answer is not None:
                return self._told(answer, looks)

    async def _observe(self, looks: Poller) -> Answer | None:
        """Another shell has the run: wait for its answer, or for the chance to take over."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(looks.go_on(self._seen_from_here))
            while not looks.over.is_set():
                await asyncio.sleep(GLANCE)
                record = self.state.read(self.run_id)
                if record.outcome is not None or self._free():
                    break
            telling.cancel()
        if looks.over.is_set():
            stop = await looks.over.heard()
            raise Stop(stop.error, stop.detail, **resumable({"run_id": self.run_id}))
        return record.outcome

    def _free(self) -> bool:
        with self.state.files(self.run_id).held() as ours:
            return ours

    async def _seen_from_here(self) -> str:
        return "RUNNING" if self.state.read(self.run_id).phase == "polling" else "PENDING"

    def _told(self, answer: Answer, looks: Poller) -> Answer:
        if answer["status"] != "polling":
            looks.tell(str(answer["status"]).upper(), last=True, final=True)
        return answer
