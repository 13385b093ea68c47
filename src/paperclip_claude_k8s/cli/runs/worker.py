"""The work of the call that holds a run's lock: the only one on this machine that acts for the run.

    Worker      prepares (which cluster, is there a Job, may the run start), decides, and cleans up
    Execution   calls `execute` or `submit`, and ends the wait early if there is a reason to
    LockedRun   what Worker and Execution share: the run's record, its journal, and its cluster

Everything here may raise `Stop`: the call ends, and the run may continue.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.runs import decide, quota_gate
from paperclip_claude_k8s.cli.runs.call import RunCall, ignore_log
from paperclip_claude_k8s.cli.runs.journal import FileJournal
from paperclip_claude_k8s.cli.runs.reachability import find_outage
from paperclip_claude_k8s.cli.runs.record import Record, lost_reply, polling_reply
from paperclip_claude_k8s.cli.runs.replies import (
    Reply,
    Stop,
    cluster_unreachable,
    failure,
    outcome_of,
    resumable,
)
from paperclip_claude_k8s.cli.runs.run_target import check_target, read_job_status, resolve_target
from paperclip_claude_k8s.cluster.kubeconfig import ClusterSource
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.execute import execute, submit
from paperclip_claude_k8s.failures import RunFailure, config_invalid
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import Ports, utc_now
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.prepare import job_namespace
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, early_failure

BLOCKED_CODE = "k8s_concurrent_run_blocked"
"""Error code of `execute` if another process works for the agent, such as one on another machine."""
CANCEL_CHECK_INTERVAL = 0.5
"""Seconds between two checks for a request to cancel from another process."""


@dataclass(frozen=True, slots=True)
class LockedRun:
    """The run whose lock this process holds."""

    call: RunCall
    journal: FileJournal
    process: Process
    is_new: bool
    """True if nothing was submitted before this call."""

    @property
    def record(self) -> Record:
        return self.journal.record

    @property
    def ports(self) -> Ports:
        return self.process.ports(self.record.kubeconfig, self.record.context)

    @property
    def is_cancel_requested(self) -> bool:
        return self.call.state.files(self.call.run_id).cancel_request.exists()

    @property
    def is_devcluster_gone(self) -> bool:
        """Whether the run's embedded development cluster has ended.

        False after an end by SIGKILL, because the kubeconfig of the cluster still exists then.
        """
        path = self.record.kubeconfig
        return self.record.embedded and not (path and Path(path).exists())

    def end(self, result: ExecutionResult) -> Reply:
        """Write the result as the run's outcome, and return the outcome."""
        return self.journal.end(outcome_of(self.call.run_id, result.to_wire()))

    def query_failure(self, reason: str, **fields: Any) -> Stop:  # noqa: ANN401  # any JSON
        """The `Stop` of a call that cannot determine the run's state."""
        hint = resumable({"run_id": self.call.run_id})
        return Stop("poll_aborted", f"cannot query the run: {reason}", **{**hint, **fields})


class Worker:
    """One call's work on the run."""

    def __init__(self, call: RunCall, record: Record) -> None:
        """Raises `Stop` if the run's files cannot be opened."""
        journal = FileJournal(call, record)
        override, context = call.options.kubeconfig_override, call.options.context
        granted = {**record.grants, **(grants(override, None, context) if override or context else {})}
        settings = with_grants(call.dependencies.settings, granted)
        process = Process(settings, call.dependencies.connect, journal=journal)
        self._run = LockedRun(call, journal, process, is_new=record.phase == "reserved")

    async def work(self) -> Reply | None:
        """The reply of this call; None if another process works for the agent (`BLOCKED_CODE`)."""
        try:
            return await self._work()
        except ClusterError as error:
            raise self._run.query_failure(str(error)) from None
        except Stop as stop:
            raise stop.with_run_status(self._run.journal.run_status, self._run.journal.outcome) from None
        finally:
            await self._run.process.shut_down()
            self._run.journal.close()

    async def _work(self) -> Reply | None:
        run = self._run
        if (outcome := run.record.outcome) is not None:
            await self._delete_leftover_jobs()
            return outcome
        if run.is_devcluster_gone:
            return run.journal.end(lost_reply(run.record))
        if run.is_new and run.is_cancel_requested:
            reason = "the run was cancelled before it was submitted"
            return run.journal.end(failure("cancelled", reason, run.record.run_id))
        if (unusable := await self._resolve_target()) is not None:
            return run.end(unusable)
        jobs, no_wait = await self._job_status(), run.call.options.mode != "wait"
        return await self._take_step(decide.next_step(run.record, jobs, utc_now(), no_wait=no_wait))

    async def _take_step(self, step: decide.Step) -> Reply | None:
        run = self._run
        match step:
            case decide.ReturnOutcome(reply):
                return reply
            case decide.ReportLost():
                return run.journal.end(lost_reply(run.record))
            case decide.ReportPolling():
                return polling_reply(run.record)
            case decide.Submit():
                return await self._outcome_without_job() or await Execution(run).submit()
            case decide.Wait():
                return await self._outcome_without_job() or await Execution(run).wait()

    async def _resolve_target(self) -> ExecutionResult | None:
        """Put the target into the record of a new run, or compare it with the record of a known run.

        Returns the result of a new run whose cluster cannot be used; None otherwise.
        """
        run = self._run
        options = run.call.options
        run.journal.record = run.record.with_cluster(options.kubeconfig_override, options.context)
        try:
            current, context = await resolve_target(
                ClusterSource(run.record.kubeconfig, run.record.context), await self._namespace()
            )
        except (ClusterError, RunFailure) as error:
            if not run.is_new:
                raise run.query_failure(str(error)) from None
            cause = error.failure if isinstance(error, RunFailure) else config_invalid(error.message)
            return early_failure(cause, ResultInputs(utc_now()))
        check_target(run.record, current)
        # later commands use this context even if the kubeconfig has another current context by then
        run.journal.record = replace(run.record.with_cluster(None, context), target=current)
        return None

    async def _outcome_without_job(self) -> Reply | None:
        """The outcome of a run that may not or cannot be submitted; None otherwise, or if a Job exists."""
        if self._run.record.phase == "polling":
            return None
        return await self._refusal_of_quota_gate() or await self._outcome_of_outage()

    async def _outcome_of_outage(self) -> Reply | None:
        """The outcome of a new run whose API server does not answer; None if the server answers.

        `execute` would repeat its calls for longer, because an agent may be working by then. Raises `Stop` if
        an earlier call may have submitted the run, or the quota gate, asked only once, has approved the run.
        """
        run = self._run
        target, timings = run.record.target, run.call.dependencies.settings.timings
        cause = await find_outage(run.ports.cluster, target.namespace, timings, run.call.live)
        if cause is None:
            return None
        reason = f"{target.server} cannot be reached: {cause}"
        if run.is_new and run.record.quota != "granted":
            detail = f"{reason}; nothing was submitted. `claude-k8s check` examines the connection"
            return run.journal.end(cluster_unreachable(detail).reply(run.record.run_id))
        raise cluster_unreachable(f"{reason}; the run may have a Job there")

    async def _namespace(self) -> str:
        run = self._run
        configured = run.record.target.namespace or run.record.request["config"].get("namespace")
        return await job_namespace(configured, run.record.kubeconfig, run.ports)

    async def _job_status(self) -> decide.JobStatus:
        """The status of the run's Jobs, from the cluster only if the next step depends on the status."""
        run = self._run
        undecided = run.record.phase == "submitting" and run.is_cancel_requested
        if run.is_new or not (run.call.options.mode == "once" or undecided):
            return decide.JobStatus(present=run.record.phase == "polling")
        target = run.record.target
        status = await read_job_status(run.ports.cluster, target.namespace, run.record.run_id)
        run.call.poller.report(status.word, last=True)
        return status

    async def _refusal_of_quota_gate(self) -> Reply | None:
        """None if the run may be submitted; otherwise the outcome of the refused run.

        "asking" is written before the request: even after a killed process, a run sends no second request.
        """
        run = self._run
        if run.record.quota == "asking":
            return self._refuse(quota_gate.refusal_without_response())
        url = quota_gate.gate_url(run.record.request["config"])
        if run.record.phase == "reserved":
            run.journal.write(replace(run.record, phase="submitting", quota="asking" if url else ""))
            if url:
                fields = {"agent_id": run.record.request["agent"]["id"]}
                response = await quota_gate.request_approval(url, run.record.run_id, fields)
                refusal = quota_gate.find_refusal(response)
                if refusal is not None:
                    return self._refuse(refusal)
                run.journal.write(replace(run.record, quota="granted"))
        return None

    def _refuse(self, stop: Stop) -> Reply:
        return self._run.journal.end(stop.reply(self._run.record.run_id))

    async def _delete_leftover_jobs(self) -> None:
        """Delete the Jobs of an ended run, if the process that wrote the outcome could not delete them."""
        run = self._run
        if run.record.cleaned_up or run.is_devcluster_gone:
            return
        namespace = run.record.target.namespace
        jobs = [JobRef(namespace, part.name, part.uid) for part in run.record.jobs]
        with suppress(ClusterError, TimeoutError, Stop):  # the next call tries again
            async with asyncio.timeout(run.call.dependencies.settings.timings.cleanup):
                for job in jobs:
                    await run.ports.cluster.delete_job(job, "Background")
                run.journal.write(replace(run.record, cleaned_up=True))


class Execution:
    """One call of `execute` or `submit` for the run."""

    def __init__(self, run: LockedRun) -> None:
        self._run = run

    async def submit(self) -> Reply | None:
        """Ensure that the run's Job exists, and do not wait for its end."""
        run = self._run
        with run.process.running():
            result = await submit(self._context(asyncio.Event()), run.process)
        await self._raise_write_error()
        return polling_reply(run.record) if result is None else self._conclude(result)

    async def wait(self) -> Reply | None:
        """Wait until the run ends, the poller gives up, or the run's files cannot be written."""
        run, cancelled = self._run, asyncio.Event()
        poller, write_error = run.call.poller, run.journal.write_error
        had_job = run.record.phase == "polling"
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._execute(cancelled), name="run")
            reasons = [
                group.create_task(poller.gave_up.wait(), name="polls gave up"),
                group.create_task(write_error.wait(), name="write error"),
            ]
            watchers = [
                group.create_task(poller.poll(self._query_status), name="polls"),
                group.create_task(self._watch_cancel_request(cancelled, had_job=had_job), name="cancel"),
            ]
            await asyncio.wait([running, *reasons], return_when=asyncio.FIRST_COMPLETED)
            if write_error.is_set() and run.journal.outcome is not None:
                await asyncio.wait([running])  # the agent has ended: let `execute` finish its clean-up
            for task in (*watchers, *reasons, running):
                task.cancel()
        await self._raise_write_error()
        if not running.cancelled():
            return self._conclude(running.result())
        if run.record.outcome is not None:
            return run.record.outcome
        stop = await poller.gave_up.wait()
        raise Stop(stop.error, stop.detail, **{**resumable({"run_id": run.record.run_id}), **stop.fields})

    async def _raise_write_error(self) -> None:
        """Raises `Stop` if any file of the run could not be written, whatever the run's result is."""
        if self._run.journal.write_error.is_set():
            raise await self._run.journal.write_error.wait()

    async def _execute(self, cancelled: asyncio.Event) -> ExecutionResult:
        with self._run.process.running():
            return await execute(self._context(cancelled), self._run.process)

    def _context(self, cancelled: asyncio.Event) -> dict[str, Any]:
        run = self._run
        request = dict(run.record.request)
        config = {
            key: value for key, value in request.pop("config").items() if key not in quota_gate.URL_KEYS
        }
        namespace = run.record.target.namespace
        return {
            **request,
            "runId": run.record.run_id,
            "config": {**config, "namespace": namespace} if namespace else config,
            "onLog": ignore_log,
            "signal": cancelled,
        }

    async def _query_status(self) -> str:
        """The status of the run's Job, from the cluster; PENDING until there is a Job."""
        run = self._run
        if not run.journal.job.is_set():
            return "PENDING"
        job = await run.journal.job.wait()
        return (await read_job_status(run.ports.cluster, job.namespace, run.record.run_id)).word

    async def _watch_cancel_request(self, cancelled: asyncio.Event, *, had_job: bool) -> None:
        """Cancel the run when another process requests it; with `had_job`, only after the Job was adopted.

        Before the adoption, `execute` would return without deleting the Job.
        """
        while not self._run.is_cancel_requested:  # noqa: ASYNC110  # another process creates the file
            await asyncio.sleep(CANCEL_CHECK_INTERVAL)
        if had_job:
            await self._run.journal.job.wait()
        cancelled.set()

    def _conclude(self, result: ExecutionResult) -> Reply | None:
        """The reply, given the result of `execute` or `submit`. None if another process works for the agent.

        Raises `Stop` if the result is not the end of the run.
        """
        run = self._run
        if run.record.outcome is not None:  # the journal has written the result, and the Job is deleted
            run.journal.write(replace(run.record, cleaned_up=True))
            return run.record.outcome
        if run.journal.is_job_lost:
            return run.journal.end(lost_reply(run.record))
        if run.is_new and not run.journal.job.is_set():  # the run failed before it had a Job
            return run.end(result)
        if result.error_code == BLOCKED_CODE:
            return None
        if result.error_code == "cancelled":
            return run.end(result)
        raise run.query_failure(result.error_message or "", error_code=result.error_code)
