"""Reads from a Pod's log what an agent changed in an uploaded folder, and applies it to the host's folder."""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.base.work_limit import TakesTooLong, WorkLimit
from paperclip_claude_k8s.cluster.labels import (
    CHANGES_TAKEN_ANNOTATION,
    JOB_NAME_LABEL,
    UPLOAD_ANNOTATION,
    json_pointer,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.upload_parts import folder_mark
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.relay.upload_scripts import RETURN_CONTAINER, PrintedChanges
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.packed_upload import upload_ignore_rules, upload_rule
from paperclip_claude_k8s.verdict.upload_end import UploadEnd, upload_end
from paperclip_claude_k8s.volume.change_applying import Applied, apply_changes
from paperclip_claude_k8s.volume.change_list import ChangesInvalid
from paperclip_claude_k8s.volume.upload_packing import UploadRefused

_REOPEN_PAUSE = 1.0
"""Seconds until a log that ended or was refused is opened again."""
_MAX_REFUSALS = 10
"""Refused requests, without a successful one between them, after which the log of a container that has ended
counts as gone."""
_BLOCK = 1024 * 1024
_POD_GONE = "the Pod ended before the host had read them"


def has_changes(job: JobSnapshot) -> bool:
    """Whether the Job got an uploaded folder whose changes no process has applied yet."""
    return UPLOAD_ANNOTATION in job.annotations and CHANGES_TAKEN_ANNOTATION not in job.annotations


def has_our_folder(job: JobSnapshot, plan: RunPlan) -> bool:
    """Whether the folder that the Job got is the folder of this run's context."""
    mark = folder_mark(plan.workspace.folder)
    return bool(mark) and job.annotations.get(UPLOAD_ANNOTATION) == mark


@dataclass(slots=True)
class ReturnedChanges:
    """Reads the changes of one Pod. The caller closes the reader."""

    namespace: str
    pod: str
    ports: Ports
    printed: PrintedChanges = field(
        default_factory=lambda: PrintedChanges(tempfile.TemporaryFile(), UPLOAD_LIMITS.packed_bytes)  # noqa: SIM115
    )
    gone: bool = False
    """Whether the container or its Pod has ended, so that nothing more can be read."""

    async def close(self) -> None:
        """Remove the file with what was read, after the end of a thread that still writes the file."""
        seconds = self.ports.settings.timings.volume_files
        with suppress(TimeoutError):
            await call_in_thread(self._close, seconds, tempfile.gettempdir())

    def _close(self) -> None:
        self.printed.finish()
        self.printed.file.close()

    async def read(self) -> None:
        """Read until all changes are read, or nothing more can be read. Never ends while the agent works."""
        refused = 0
        while not (self.printed.is_complete or self.gone):
            try:
                await self._read_log()
                refused = 0
                self.gone = not self.printed.is_complete and await self._has_ended()
            except ClusterError as error:
                refused += not error.retryable
                # a log that is refused again and again gets no more lines if its container has ended
                is_refused = refused >= _MAX_REFUSALS
                self.gone = error.not_found or (is_refused and await self._is_known_to_have_ended())
            if not (self.printed.is_complete or self.gone):
                await asyncio.sleep(_REOPEN_PAUSE)

    async def _read_log(self) -> None:
        """Follow the log from the first byte that the kubelet still has."""
        self.printed.restart()
        request = LogRequest(self.namespace, self.pod, RETURN_CONTAINER)
        async with self.ports.cluster.log(request) as log:
            held = bytearray()
            while block := await log.read():
                held += block
                # this may be the last line; after it the container waits, and no more blocks come
                if len(held) >= _BLOCK or b"paperclip-changes" in block[-4096:]:
                    await self._feed(bytes(held))
                    held.clear()
                if self.printed.is_complete:
                    return
            await self._feed(bytes(held))

    async def _feed(self, data: bytes) -> None:
        """Pass bytes of the log to `printed`, in a thread because a disk can be slow."""
        seconds = self.ports.settings.timings.volume_files
        await call_in_thread(partial(self.printed.feed, data), seconds, tempfile.gettempdir())

    async def _is_known_to_have_ended(self) -> bool:
        """Whether the container has ended; False also if the cluster cannot be read."""
        try:
            return await self._has_ended()
        except ClusterError:
            return False

    async def _has_ended(self) -> bool:
        """Whether the container has ended, so that its log gets no more lines."""
        pod = await self.ports.cluster.read_pod(self.namespace, self.pod)
        container = pod.container(RETURN_CONTAINER) if pod is not None else None
        ended = container is not None and isinstance(container.state, Terminated)
        return pod is None or pod.is_over or ended


async def apply_returned(changes: ReturnedChanges, plan: RunPlan, ports: Ports) -> UploadEnd:
    """Apply the changes that were read to the folder of the run's context, and report the outcome.

    After a cancellation the thread ends soon, and the changes can be applied again.
    """
    printed = changes.printed
    if printed.failure:
        return UploadEnd(lost=printed.failure)
    if not printed.is_complete:
        return UploadEnd(lost=_POD_GONE) if changes.gone else UploadEnd(pending="they were not read in time")
    limit = WorkLimit(ports.settings.timings.workspace_packing)
    work = partial(_apply, printed, plan, upload_rule(plan, ports.settings), limit)
    try:
        applied = await call_in_thread(work, limit.seconds, place_of(plan.workspace.folder))
    except (TimeoutError, TakesTooLong):
        return timed_out_end(changes)
    except ChangesInvalid as error:
        return UploadEnd(lost=f"they cannot be read: {error}")
    except (OSError, UploadRefused) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return _failed_end(changes, f"they cannot be written to the host's folder: {why}")
    finally:
        limit.shorten(0)  # ends the thread if it still works
    return upload_end(
        written=applied.written,
        deleted=applied.deleted,
        kept_beside=applied.kept_beside,
        not_deleted=applied.not_deleted,
        refused=applied.refused,
        left=applied.left,
    )


def timed_out_end(changes: ReturnedChanges) -> UploadEnd:
    """The end of changes for whose writing there was not enough time."""
    return _failed_end(changes, "writing them to the host's folder takes too long, and not all were written")


def _failed_end(changes: ReturnedChanges, why: str) -> UploadEnd:
    return UploadEnd(lost=why) if changes.gone else UploadEnd(pending=why)


def _apply(printed: PrintedChanges, plan: RunPlan, allowed: FolderRule, limit: WorkLimit) -> Applied:
    """Verify and apply the printed changes. Blocks. Raises what `apply_changes` raises."""
    printed.finish()
    printed.file.seek(0)
    if _sha256(printed.file) != printed.sha256:
        raise ChangesInvalid("their sha256 is not the one that was announced")
    printed.file.seek(0)
    max_bytes, ignore = plan.config.upload_limit_bytes, upload_ignore_rules(plan.config)
    return apply_changes(plan.workspace.folder, allowed, printed.file, max_bytes, ignore, limit)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


async def mark_if_applied(end: UploadEnd, job: JobSnapshot, ports: Ports) -> None:
    """Annotate the Job, so that no other process applies the changes again.

    Errors are ignored, because applying the changes again changes nothing.
    """
    if end.lost or end.pending:
        return
    path = json_pointer("metadata", "annotations", CHANGES_TAKEN_ANNOTATION)
    value = format_time(ports.settings.now())
    with suppress(ClusterError):
        await ports.cluster.patch_job(job.ref, [{"op": "add", "path": path, "value": value}])


async def apply_earlier_changes(
    jobs: Iterable[JobSnapshot], plan: RunPlan, ports: Ports, narrator: Narrator
) -> set[str]:
    """Apply the changes of the agent's earlier Jobs that got the same folder, oldest Job first.

    The host of such a Job died, or could not write the changes. A Job whose agent may still work is skipped.
    Returns the uids of the Jobs whose changes are applied or lost.
    """
    done: set[str] = set()
    with_changes = [job for job in jobs if has_our_folder(job, plan) and has_changes(job)]
    for job in sorted(with_changes, key=lambda job: job.created_or_earliest):
        try:
            pods = await ports.cluster.list_pods(job.ref.namespace, {JOB_NAME_LABEL: job.ref.name})
        except ClusterError:
            continue
        for pod in pods.items:
            if pod.job_uid == job.ref.uid and not pod.agent_may_work:
                changes = ReturnedChanges(job.ref.namespace, pod.name, ports)
                end = await _read_and_apply(changes, job, plan, narrator)
                if not end.pending:
                    done.add(job.ref.uid)
        if job.finished is not None and not any(pod.job_uid == job.ref.uid for pod in pods.items):
            done.add(job.ref.uid)  # a Job that has not finished may get a Pod yet, such as one in a queue
    return done


async def _read_and_apply(
    changes: ReturnedChanges, job: JobSnapshot, plan: RunPlan, narrator: Narrator
) -> UploadEnd:
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(changes.ports.settings.timings.workspace_return):
                await changes.read()
        end = await apply_returned(changes, plan, changes.ports)
        await mark_if_applied(end, job, changes.ports)
    finally:
        await changes.close()
    write_line = narrator.status if end.is_fine else narrator.warn
    await write_line(f"{end.line} (Job {job.ref.name} of an earlier run)")
    return end
