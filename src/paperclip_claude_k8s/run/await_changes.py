"""Reads and applies what the agent changed in an uploaded folder, while the Pod still exists."""

import asyncio

from paperclip_claude_k8s.cluster.labels import UPLOAD_ANNOTATION
from paperclip_claude_k8s.run.limited_wait import limited_wait
from paperclip_claude_k8s.run.live_run import LiveRun
from paperclip_claude_k8s.run.returned_changes import (
    apply_returned,
    has_changes,
    has_our_folder,
    mark_if_applied,
    timed_out_end,
)
from paperclip_claude_k8s.verdict.upload_end import UploadEnd


async def await_changes(run: LiveRun) -> UploadEnd | None:
    """The outcome of the agent's changes; None without an upload, or if the agent never started.

    If another process has taken the run over, nothing is applied here, because that process applies the
    changes.
    """
    job, known = run.launched.job, run.job_watch.known
    if UPLOAD_ANNOTATION not in job.annotations or known.pod is None or not known.agent_began:
        return None
    if not has_changes(job):
        return UploadEnd(by_other=True)
    if not has_our_folder(job, run.plan):
        end = UploadEnd(pending="the Job was started for another folder of the host")
    else:
        end = await _read_and_apply(run)
    await (run.narrator.status if end.is_fine else run.narrator.warn)(end.line)
    return end


async def _read_and_apply(run: LiveRun) -> UploadEnd:
    run.read_changes()
    changes, reading, timings = run.changes, run.changes_task, run.ports.settings.timings
    assert changes is not None and reading is not None  # noqa: S101, PT018  # `read_changes` has set both
    try:
        async with limited_wait(run, timings.workspace_return):
            await asyncio.wait([reading])
        reading.cancel()
        await asyncio.wait([reading])
        changes.gone = changes.gone or run.job_watch.known.pod_gone or run.stop_reason is not None
        slot_locks = run.ports.slot_locks(run.plan.namespace)
        if not await slot_locks.still_ours(run.slot_lock):
            return UploadEnd(pending="another host process has taken the run over")
        end = timed_out_end(changes)  # the outcome if the time is over before the changes are applied
        async with limited_wait(run, timings.workspace_packing):
            end = await apply_returned(changes, run.plan, run.ports)
        await mark_if_applied(end, run.launched.job, run.ports)
        return end
    finally:
        await changes.close()
