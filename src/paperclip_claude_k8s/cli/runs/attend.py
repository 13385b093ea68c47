"""A call about one run, from its record to its answer, beside other calls about the same run."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.runs.answers import polling
from paperclip_claude_k8s.cli.runs.looks import Looks
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.schedule import Schedule, Tuning
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.runs.turn import Terms, Turn
from paperclip_claude_k8s.cli.runs.words import Answer, Stop, resumable
from paperclip_claude_k8s.ports import House

GLANCE = 0.5
"""Seconds between two tries to become the shell that works on the run."""

ELSEWHERE = 5.0
"""Seconds between two tries to adopt a Job whose holder lives on another machine."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the options ask for."""

    schedule: Schedule
    tuning: Tuning
    house: House
    once: bool = False
    submit: bool = False
    kubeconfig: str | None = None
    output: Path | None = None


async def attend(state: State, run_id: str, call: Call, live: Live) -> Answer:
    """The run's answer, or `"status": "polling"` where only a look was asked for.

    Raises:
        Stop: the wait is over, or cannot go on; the run may.
    """
    state.read(run_id)
    output = Output(call.output, state.files(run_id)) if call.output is not None else None
    try:
        async with asyncio.timeout(call.schedule.timeout):
            answer = await _Visit(state, run_id, call, live, output).make()
    except TimeoutError:
        why = f"no end within {call.schedule.timeout:g}s; the run goes on"
        raise Stop("poll_timeout", why, **resumable({"run_id": run_id})) from None
    finally:
        if output is not None:
            output.grow()
    if output is not None and answer["status"] != "polling":
        output.finish(answer)
    return answer


@dataclass(frozen=True, slots=True)
class _Visit:
    state: State
    run_id: str
    call: Call
    live: Live
    output: Output | None

    async def make(self) -> Answer:
        call = self.call
        looks = Looks(self.run_id, call.schedule, call.tuning, self.live)
        manner = "submit" if call.submit else "once" if call.once else "wait"
        terms = Terms(call.house, looks, manner, call.kubeconfig, self.output)  # type: ignore[arg-type]
        files = self.state.files(self.run_id)
        while True:
            with files.held() as ours:
                record = self.state.read(self.run_id)
                if ours:
                    answer = await Turn(self.state, record, terms, self.live).take()
                    if answer is not None:
                        return self._told(answer, looks)
                    await asyncio.sleep(ELSEWHERE)
            if call.once or call.submit:
                return record.outcome or polling(record)
            answer = await self._observe(looks)
            if answer is not None:
                return self._told(answer, looks)

    async def _observe(self, looks: Looks) -> Answer | None:
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

    def _told(self, answer: Answer, looks: Looks) -> Answer:
        if answer["status"] != "polling":
            looks.tell(str(answer["status"]).upper(), last=True, final=True)
        return answer
