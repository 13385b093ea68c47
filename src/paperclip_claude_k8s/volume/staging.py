"""Writes files that are too large for a Secret to the shared volume before the Job exists; removes them."""

from contextlib import suppress
from functools import partial

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.cluster.labels import STAGED_ANNOTATION
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.bundle import BundleFile
from paperclip_claude_k8s.plan.delivery import STAGING_FOLDER, content_of
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.volume.removal import remove_older, remove_tree
from paperclip_claude_k8s.volume.safefs import KEPT_SECONDS, make_folders, open_volume, write_tree

REMOVAL_TIMEOUT = 8.0
"""Seconds that removing staged files may take: a stopped run must not wait for a volume that hangs."""


async def stage(plan: RunPlan, settings: ProcessSettings) -> None:
    """Write the plan's staged files. Raises RunFailure `k8s_prompt_too_large` if they cannot be written."""
    files = plan.delivery.staged
    if not files or plan.volume_here is None:
        return
    content = {name: BundleFile(content_of(text)) for name, text in files.items()}
    oldest = settings.now().timestamp() - KEPT_SECONDS
    try:
        write = partial(_write, plan.volume_here, plan.job_name, content, oldest)
        await call_in_thread(write, settings.timings.volume_files, place_of(plan.volume_here))
    except OSError as error:  # includes TimeoutError
        size = sum(len(file.content) for file in content.values())
        reason = error.strerror or str(error) or "no answer in time"
        raise RunFailure(failures.prompt_not_staged(size, reason)) from None


async def unstage(volume: str | None, job_name: str) -> None:
    """Remove the staged files of a Job. If that fails, a later `stage` removes them once they are old."""
    if volume is not None:
        with suppress(OSError):
            await call_in_thread(partial(_remove, volume, job_name), REMOVAL_TIMEOUT, place_of(volume))


async def unstage_after(job: JobSnapshot, volume: str | None) -> None:
    """Remove the staged files of an ended Job, if it has any, whichever process created the Job."""
    if STAGED_ANNOTATION in job.annotations:
        await unstage(volume, job.ref.name)


def _write(volume: str, name: str, content: dict[str, BundleFile], oldest: float) -> None:
    with open_volume(volume) as at, make_folders(at, STAGING_FOLDER) as folder:
        remove_older(folder, oldest)
        remove_tree(folder, name)
        write_tree(folder, name, content)


def _remove(volume: str, name: str) -> None:
    with open_volume(volume) as at, make_folders(at, STAGING_FOLDER) as folder:
        remove_tree(folder, name)
