"""Deletes or keeps a launched Job when its run has ended.

The block within `async with JobCleanup` ends in one of three ways: with a `RunEnd`, without a `RunEnd`
(another host process took the run over), or with an exception (the host shuts down, or a bug). From that,
`verdict.retention` decides whether the Job is kept.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from itertools import count
from typing import Self

from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.host.context import ResultCallback
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.upload_parts import part_name, skill_part_name
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.adopt import annotate_as_taken
from paperclip_claude_k8s.run.host_callbacks import catch_host_errors
from paperclip_claude_k8s.run.job_events import JobEvents
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.stop import delete_released
from paperclip_claude_k8s.verdict.observation import Observation
from paperclip_claude_k8s.verdict.retention import LeaveReason, never_finishes, pod_stays, reason_to_keep
from paperclip_claude_k8s.verdict.upload_end import UploadEnd
from paperclip_claude_k8s.volume.staging import unstage_after

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What was observed of the Job until the run ended.

    `recorded`: the result is in the journal, and a host with `onResult` has stored it.
    """

    observation: Observation
    recorded: bool
    result: ExecutionResult | None = None
    """None: a second attempt follows."""

    @property
    def error_code(self) -> str | None:
        """None after a success, and if a second attempt follows."""
        return self.result.error_code if self.result is not None else None


@dataclass(slots=True)
class JobCleanup:
    """Owns a Job for the length of a block, then cleans it up. The block sets `end`."""

    launched: LaunchedJob
    slot_lock: SlotLock
    ports: Ports
    narrator: Narrator
    end: RunEnd | None = None
    _stay_reported: bool = False
    """The run's log says already that the Job stays."""

    async def deliver(self, result: ExecutionResult, on_result: ResultCallback) -> None:
        """Give the host the result while the Job exists; the Job stays unless the host has stored it."""
        assert self.end is not None  # noqa: S101  # for the type checker: the caller has set it
        if (why_kept := self._reason_to_keep("done")) is not None:
            await self._report_that_job_stays(why_kept)  # the host may end the run's log with the result
        self.slot_lock.ending = True
        errors: list[Exception] = []
        with catch_host_errors(errors.append):
            async with asyncio.timeout(self.ports.settings.timings.result_storing):
                await on_result(result)
        if errors:
            log.warning("Job %s stays: onResult raised %r", self.launched.job.ref.name, errors[0])
            self.end = replace(self.end, recorded=False)

    async def still_ours(self) -> bool:
        """False if another host process took the run over."""
        slot_locks = self.ports.slot_locks(self.launched.job.ref.namespace)
        return await slot_locks.still_ours(self.slot_lock)

    async def __aenter__(self) -> Self:
        self.ports.owned_jobs.add(self.launched.job.ref.uid)
        if self.launched.plan.config.job_events:
            self.narrator.job_events = JobEvents(self.launched.job.ref, self.ports)
            self.narrator.events.listener = self.narrator.job_events.listen
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.ports.owned_jobs.discard(self.launched.job.ref.uid)
        self.narrator.events.listener = None
        if self.narrator.job_events is not None and self.end is not None:
            await self.narrator.job_events.finish(self.end.error_code)
        with self.launched.room:
            await self._clean_up(self._leave_reason(error))

    def _leave_reason(self, error: BaseException | None) -> LeaveReason:
        match error:
            case None if (end := self.end) is not None:
                if end.observation.end_unknown:
                    return "end_unknown"
                return "done" if end.recorded else "not_recorded"
            case None:
                return "taken_over"
            case asyncio.CancelledError():
                return "detached" if self.ports.journal.detached else "shutdown"
        return "bug"

    async def _clean_up(self, reason: LeaveReason) -> None:
        """Delete the Job, or annotate a Job that is kept after its run ended.

        This takes at most `Timings.cleanup` seconds. A failure is a warning and does not affect the result.
        """
        job, plan, ports = self.launched.job, self.launched.plan, self.ports
        why_kept = self._reason_to_keep(reason)
        try:
            async with asyncio.timeout(ports.settings.timings.cleanup):
                if why_kept is None:
                    call = Retrier(ports.settings.timings, self.narrator, foreign_too=True)
                    existed = await call(
                        "delete job", lambda: ports.cluster.delete_job(job.ref, "Background")
                    )
                    if not existed and self.end is not None and self.end.observation.known.pod_released:
                        await self._delete_orphaned_secrets()
                    await self._delete_released_pod()
                elif reason == "done":
                    await self._annotate()
                if why_kept is None or reason == "done":
                    await unstage_after(job, plan.volume_here)
        except (ClusterError, TimeoutError) as error:
            cause = str(error) or f"no response within {ports.settings.timings.cleanup:g}s"
            await self.narrator.warn(
                f"Warning: failed to clean up Job {job.ref.name}: {cause}; its TTL will remove it"
            )
            return
        if why_kept is not None and not self._stay_reported:
            await self._report_that_job_stays(why_kept)

    def _reason_to_keep(self, reason: LeaveReason) -> str | None:
        ended = self.end is not None and self.end.observation.agent_ended
        retain = self.launched.plan.config.retain_jobs and ended
        return reason_to_keep(
            reason,
            retain=retain,
            log_unread=self._log_is_unread(),
            changes_pending=self._has_pending_changes(),
        )

    async def _report_that_job_stays(self, reason: str) -> None:
        self._stay_reported = True
        await self.narrator.status(f"Retaining Job {self.launched.job.ref.name}: {reason}")

    async def _annotate(self) -> None:
        """Annotate a kept Job as taken, with a short form of the result that was taken."""
        unfinished = self.end is not None and never_finishes(self.end.observation.known)
        result = self.end.result if self.end is not None else None
        await annotate_as_taken(self.launched.job, self.ports, finish=unfinished, result=result)

    def _has_pending_changes(self) -> bool:
        workspace = self.end.observation.workspace if self.end is not None else None
        return isinstance(workspace, UploadEnd) and bool(workspace.pending)

    def _log_is_unread(self) -> bool:
        """Whether the Pod stays, and may have output that the API server refused to return."""
        if self.end is None or not self.end.observation.agent_ended:
            return False
        log = self.end.observation.log
        return log is not None and bool(log.unread) and pod_stays(self.end.observation.known)

    async def _delete_orphaned_secrets(self) -> None:
        """Delete the run Secret and parts that stay after `kubectl delete job --cascade=orphan`."""
        await self._delete_orphaned_secret(self.launched.plan.secret_name)
        for name_of in (part_name, skill_part_name):
            for number in count():
                if not await self._delete_orphaned_secret(name_of(self.launched.job.ref.name, number)):
                    break

    async def _delete_orphaned_secret(self, name: str) -> bool:
        """False if there is no such Secret, or it belongs to another object."""
        job = self.launched.job.ref
        secret = await self.ports.cluster.read_secret(job.namespace, name)
        if secret is None or (secret.owners and job.uid not in secret.owners):
            return False
        return await self.ports.cluster.delete_secret(secret)

    async def _delete_released_pod(self) -> None:
        """Delete a released Pod, or name it for the administrator if that is refused."""
        known = self.end.observation.known if self.end is not None else None
        if known is None or known.pod is None:
            return
        try:
            await delete_released(known, self.ports)
        except ClusterError as error:
            name = known.pod.name
            await self.narrator.warn(
                f"Pod {name} is left over: its labels were changed, so the Job controller released it, "
                f"and it could not be deleted ({error}); `kubectl delete pod {name}` removes it"
            )
