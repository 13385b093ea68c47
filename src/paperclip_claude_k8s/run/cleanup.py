"""The scope that owns a launched Job and tidies it away."""

import asyncio
from dataclasses import dataclass
from typing import Self

from paperclip_claude_k8s.cluster.model import Known
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.adopt import mark_taken
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.retention import LeaveReason, reason_to_keep
from paperclip_claude_k8s.volume.staging import unstage_after


@dataclass(slots=True)
class JobCleanup:
    """Owns a Job for the length of a block; then deletes it, unless `verdict.retention` says to keep it."""

    launched: LaunchedJob
    held: SlotLock
    ports: Ports
    say: Narrator
    end_unknown: bool = False
    written: bool = True
    """Whether the result is where it survives this process, if anywhere is asked for."""
    agent_ended: bool = False
    """Only what ended by itself may be retained: nobody would listen to what goes on."""
    last: Known | None = None
    """What was known of Job and Pod at the end; None where nothing was observed."""
    _ours: bool | None = None

    async def still_ours(self) -> bool:
        """False where another host process took the run over; asked once."""
        if self._ours is None:
            slots = self.ports.slots(self.launched.job.ref.namespace)
            self._ours = await slots.still_ours(self.held)
        return self._ours

    async def __aenter__(self) -> Self:
        self.ports.owned_jobs.add(self.launched.job.ref.uid)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.ports.owned_jobs.discard(self.launched.job.ref.uid)
        await self._tidy(self._leaving(error))

    def _leaving(self, error: BaseException | None) -> LeaveReason:
        match error:
            case None:
                return "unclear" if self.end_unknown else "done" if self.written else "unwritten"
            case RunFailure():
                return "done"
            case asyncio.CancelledError():
                return "shutdown"
        return "bug"

    async def _tidy(self, how: LeaveReason) -> None:
        """Bounded, and never a reason for another result."""
        job, plan, ports = self.launched.job, self.launched.plan, self.ports
        try:
            async with asyncio.timeout(ports.settings.timings.tidy):
                if how == "done" and not await self.still_ours():
                    how = "lost"
                kept = reason_to_keep(how, retain=plan.config.retain_jobs and self.agent_ended)
                if kept is None:
                    call = Retrier(ports.settings.timings, self.say)
                    await call("delete job", lambda: ports.cluster.delete_job(job.ref, "Background"))
                    await self._remove_released()
                elif how == "done":
                    await mark_taken(job, ports)
                if kept is None or how == "done":
                    await unstage_after(job, plan.volume_here)
        except (ClusterError, TimeoutError) as error:
            words = str(error) or f"no answer within {ports.settings.timings.tidy:g}s"
            await self.say.warn(
                f"Warning: failed to cleanup job {job.ref.name}: {words}; its TTL will remove it"
            )
            return
        if kept is not None:
            await self.say.status(f"Retaining job {job.ref.name}: {kept}")

    async def _remove_released(self) -> None:
        """A Pod that its Job does not take along, since the Job controller let go of it."""
        known = self.last
        if known is not None and known.pod is not None and known.pod_released and not known.pod_gone:
            try:
                await self.ports.cluster.delete_pod(known.pod)
            except ClusterError as error:
                name = known.pod.name
                await self.say.warn(
                    f"Pod {name} stays: it lost its labels, so its Job let go of it, and it cannot be "
                    f"deleted ({error}); `kubectl delete pod {name}` removes it"
                )
