"""One shell's turn at a run: it holds the run's lock, and is the only one here that acts for it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.decide import Leave, Lose, Sight, Step, Submit, Tell, Wait, next_step
from paperclip_claude_k8s.cli.runs.early_replies import lost, polling
from paperclip_claude_k8s.cli.runs.find_target import check_place, find_place, look
from paperclip_claude_k8s.cli.runs.journal import FileJournal
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.poller import Poller
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import (
    Answer,
    Stop,
    failure,
    outcome_of,
    resumable,
)
from paperclip_claude_k8s.cli.runs.state import RunFiles, State
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.execute import execute, submit
from paperclip_claude_k8s.failures import RunFailure, config_invalid
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import Ports, ProcessSettings, utc_now
from paperclip_claude_k8s.process import Connect, Process, connect
from paperclip_claude_k8s.run.prepare import own_namespace
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, early_failure

UNSEEN = Sight(present=False)
BLOCKED = "k8s_concurrent_run_blocked"
STOP_LOOK = 0.5
"""Seconds between two looks for a wish to cancel from another shell."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How this call goes about its run. `kubeconfig`: the one given now, in place of the record's."""

    settings: ProcessSettings
    looks: Poller
    manner: Literal["wait", "once", "submit"] = "wait"
    kubeconfig: str | None = None
    output: Output | None = None
    connect: Connect = connect


class Worker:
    """Everything here may raise `Stop`: the call ends, the run may go on."""

    def __init__(self, state: State, record: Record, terms: Terms, live: Live) -> None:
        self._state = state
        self._terms = terms
        self._live = live
        self._fresh = record.phase == "reserved"
        self._book = FileJournal(state, record, live, terms.output)
        self._process = Process(terms.settings, terms.connect, journal=self._book)

    async def take(self) -> Answer | None:
        """The answer of this call; None when another holder, elsewhere, has the run."""
        try:
            return await self._take()
        except ClusterError as error:
            raise self._stopped(str(error)) from None
        except Stop as stop:
            raise stop.about(self._book.run_status, self._book.outcome) from None
        finally:
            await self._process.shut_down()
            self._book.close()

    @property
    def record(self) -> Record:
        return self._book.record

    async def _take(self) -> Answer | None:
        if self.record.outcome is not None:
            await self._see_off()
            return self.record.outcome
        if self._vanished():
            return self._book.end(lost(self.record))
        if self._fresh and self._files.stop.exists():
            why = "somebody cancelled the run before it was submitted"
            return self._book.end(failure("cancelled", why, self.record.run_id))
        unusable = await self._find_place()
        if unusable is not None:
            return self._book.end(outcome_of(self.record.run_id, unusable.to_wire()))
        step = next_step(self.record, await self._look(), utc_now(), once=self._terms.manner != "wait")
        return await self._go(step)

    async def _go(self, step: Step) -> Answer | None:
        match step:
            case Tell(answer):
                return answer
            case Lose():
                return self._book.end(lost(self.record))
            case Leave():
                return polling(self.record)
            case Submit():
                return await self._admitted() or await self._submit()
            case Wait():
                return await self._admitted() or await self._wait()

    # Before -----------------------------------------------------------------------------------------

    def _vanished(self) -> bool:
        """Its cluster lived inside of a shell that is gone."""
        there = self.record.request["config"].get("kubeconfig")
        return self.record.embedded and not (there and Path(there).exists())

    async def _find_place(self) -> ExecutionResult | None:
        """Where a new run goes is written down; a known one must be looked for where it is.

        For a new run that has no usable way to a cluster: its result.
        """
        if self._terms.kubeconfig is not None:
            config = {**self.record.request["config"], "kubeconfig": self._terms.kubeconfig}
            self._book.record = replace(self.record, request={**self.record.request, "config": config})
        try:
            here = await find_place(self._kubeconfig, await self._namespace())
        except (ClusterError, RunFailure) as error:
            if not self._fresh:
                raise self._stopped(str(error)) from None
            failed = error.failure if isinstance(error, RunFailure) else config_invalid(error.message)
            return early_failure(failed, ResultInputs(utc_now()))
        check_place(self.record, here)
        self._book.record = replace(self.record, place=here)
        return None

    async def _namespace(self) -> str:
        pinned = self.record.place.namespace or self.record.request["config"].get("namespace")
        return str(pinned) if pinned else await own_namespace(self._ports)

    async def _look(self) -> Sight:
        """Only where the answer changes what is done next."""
        undecided = self.record.phase == "submitting" and self._files.stop.exists()
        if self._fresh or not (self._terms.manner == "once" or undecided):
            return Sight(present=self.record.phase == "polling")
        seen = await look(self._ports.cluster, self.record.place.namespace, self.record.run_id)
        self._terms.looks.tell(seen.word, last=True)
        return seen

    async def _admitted(self) -> Answer | None:
        """None: the run may be submitted. The gate is asked for new runs, once, whatever happens."""
        if self.record.gate == "asking":
            return self._refused(quota_gate.unanswered())
        url = quota_gate.url_of(self.record.request["config"])
        if self.record.phase == "reserved":
            self._book.write(replace(self.record, phase="submitting", gate="asking" if url else ""))
            if url:
                about = {"agent_id": self.record.request["agent"]["id"]}
                refusal = quota_gate.refusal(await quota_gate.ask(url, self.record.run_id, about))
                if refusal is not None:
                    return self._refused(refusal)
                self._book.write(replace(self.record, gate="granted"))
        return None

    def _refused(self, stop: Stop) -> Answer:
        return self._book.end(failure(stop.error, stop.detail, self.record.run_id, **stop.more))

    # The run ----------------------------------------------------------------------------------------

    async def _submit(self) -> Answer | None:
        with self._process.running():
            result = await submit(self._context(asyncio.Event()), self._process)
        await self._unless_broken()
        return polling(self.record) if result is None else self._concluded(result)

    async def _wait(self) -> Answer | None:
        """Stay with the run until it ends or there is a reason not to."""
        stop, over = asyncio.Event(), self._terms.looks.over
        had_job = self.record.phase == "polling"
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._execute(stop), name="run")
            reasons = [
                group.create_task(over.heard(), name="over"),
                group.create_task(self._book.broken.heard(), name="disk"),
            ]
            others = [
                group.create_task(self._terms.looks.go_on(self._query), name="looks"),
                group.create_task(self._mind_stop(stop, had_job=had_job), name="stop"),
            ]
            await asyncio.wait([work, *reasons], return_when=asyncio.FIRST_COMPLETED)
            if self._book.broken.is_set() and self._book.outcome is not None:
                await asyncio.wait([work])  # the agent has ended: what is left to do is to tidy
            for task in (*others, *reasons, work):
                task.cancel()
        await self._unless_broken()
        if not work.cancelled():
            return self._concluded(work.result())
        if self.record.outcome is not None:
            return self.record.outcome
        reason = await over.heard()
        raise Stop(
            reason.error, reason.detail, **{**resumable({"run_id": self.record.run_id}), **reason.more}
        )

    async def _unless_broken(self) -> None:
        """Raises `Stop` where something of the run could not be written down, whatever became of it."""
        if self._book.broken.is_set():
            raise await self._book.broken.heard()

    async def _execute(self, stop: asyncio.Event) -> ExecutionResult:
        with self._process.running():
            return await execute(self._context(stop), self._process)

    def _context(self, stop: asyncio.Event) -> dict[str, Any]:
        request = dict(self.record.request)
        config = {key: value for key, value in request.pop("config").items() if key not in quota_gate.KEYS}
        pinned = self.record.place.namespace
        return {
            **request,
            "runId": self.record.run_id,
            "config": {**config, "namespace": pinned} if pinned else config,
            "onLog": self._book.on_log,
            "signal": stop,
        }

    async def _query(self) -> str:
        """Status by one question to the cluster; none while there is nothing to ask about."""
        if not self._book.job.is_set():
            return "PENDING"
        job = await self._book.job.heard()
        return (await look(self._ports.cluster, job.namespace, self.record.run_id)).word

    async def _mind_stop(self, stop: asyncio.Event, *, had_job: bool) -> None:
        """A Job that exists has to be ours before it can be ended: a wish to cancel waits for that."""
        while not self._files.stop.exists():  # noqa: ASYNC110  # another process leaves a file
            await asyncio.sleep(STOP_LOOK)
        if had_job:
            await self._book.job.heard()
        stop.set()

    def _concluded(self, result: ExecutionResult) -> Answer | None:
        """What the end of `execute` means; its own result is the run's only where nothing is left open."""
        if self.record.outcome is not None:
            self._book.write(replace(self.record, tidied=True))
            return self.record.outcome
        if self._book.refused:
            return self._book.end(lost(self.record))
        if self._fresh and not self._book.job.is_set():
            return self._book.end(outcome_of(self.record.run_id, result.to_wire()))
        if result.error_code == BLOCKED:
            return None
        if result.error_code == "cancelled":
            return self._book.end(outcome_of(self.record.run_id, result.to_wire()))
        raise self._stopped(result.error_message or "", error_code=result.error_code)

    def _stopped(self, why: str, **more: Any) -> Stop:  # noqa: ANN401  # any JSON
        hint = resumable({"run_id": self.record.run_id})
        return Stop("poll_aborted", f"the run cannot be looked at now: {why}", **{**hint, **more})

    # After ------------------------------------------------------------------------------------------

    async def _see_off(self) -> None:
        """Delete the Job of a run whose shell was killed between writing the result down and doing so."""
        if self.record.tidied or self._vanished():
            return
        jobs = [JobRef(self.record.place.namespace, part.name, part.uid) for part in self.record.jobs]
        with suppress(ClusterError, TimeoutError, Stop):  # a next call tries again
            async with asyncio.timeout(self._terms.settings.timings.tidy):
                for job in jobs:
                    await self._ports.cluster.delete_job(job, "Background")
                self._book.write(replace(self.record, tidied=True))

    @property
    def _ports(self) -> Ports:
        return self._process.ports(self._kubeconfig)

    @property
    def _kubeconfig(self) -> str | None:
        told = self.record.request["config"].get("kubeconfig")
        return str(told) if told else None

    @property
    def _files(self) -> RunFiles:
        return self._state.files(self.record.run_id)
