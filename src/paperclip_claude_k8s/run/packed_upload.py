"""Packs the host's folder of a run whose workspace is an upload; creates the Secrets with it and with skills.

The folder is packed after the slot was found free, so that it has the changes of the agent's last run.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.folder_rules import FolderRule, is_in
from paperclip_claude_k8s.base.room import Share
from paperclip_claude_k8s.base.settings import LIMITS, UPLOAD_LIMITS
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.base.work_limit import TakesTooLong, WorkLimit
from paperclip_claude_k8s.cluster.labels import UPLOAD_SIZE_ANNOTATION
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.plan.manifest import part_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan, bytes_in_parts
from paperclip_claude_k8s.plan.upload_parts import Upload, part_name, skill_part_name
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.report_waiting import report_while_waiting
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules, rules_for
from paperclip_claude_k8s.volume.upload_packing import (
    FolderNotAllowed,
    PackedFolder,
    UploadInputs,
    UploadRefused,
    pack_folder,
)

_CONCURRENT_REQUESTS = 4
"""Parts that are created at the same time; each part has 700 KB."""
_LARGEST_UPLOAD = UPLOAD_LIMITS.packed_bytes + 2 * LIMITS.bundle_bytes
"""No Job has more bytes in parts, whatever its annotation says."""
_MAX_DIGITS = 12
_NEXT_STEP = (
    "correct the agent's workspace or the settings that begin with `upload`, or set `workspace` to auto"
)


def upload_rule(plan: RunPlan, settings: ProcessSettings) -> FolderRule:
    """Where the policy allows folders that are uploaded. No link may lead out of the shared volume."""
    folders = settings.folders
    if plan.company_folder:
        volume = plan.volume_here  # the company's folder, without those of other companies
    else:
        volume = folders.trusted_volume(plan.config.shared_volume_dir)
    rule = folders.uploads(volume)
    if volume is not None and is_in(plan.workspace.folder, [volume]):
        rule = replace(rule, within=volume)  # agents can put links there
    return rule


def upload_ignore_rules(config: AdapterConfig) -> IgnoreRules:
    """The rules for files of the folder that are not uploaded."""
    return rules_for(config.upload_excludes, with_ignored=config.upload_ignored)


async def take_upload_room(plan: RunPlan, ctx: ExecutionContext, ports: Ports, narrator: Narrator) -> Share:
    """Wait until there is room in the cluster for the archive of skills, and for the largest packed folder.

    The wait comes before the folder is packed, so that the Pod gets the folder as it is when the Pod starts.
    """
    room = ports.uploads
    size = bytes_in_parts(plan) + (UPLOAD_LIMITS.packed_bytes if plan.workspace.folder else 0)
    if not size:
        return Share()
    if not room.has_space(size):
        used, limit, needed = (round(number / 1024 / 1024) for number in (room.used, room.limit, size))
        await narrator.status(
            f"Waiting for room to upload the agent's workspace or skills: up to {needed} MiB are needed, and "
            f"other runs of this process have {used} of at most {limit} MiB in the cluster until they end"
        )
    what, message = "room to upload", "waits until the cluster has room for its workspace or skills"
    return await report_while_waiting(room.take(size), what, message, ctx, narrator)


def room_of_job(job: JobSnapshot, ports: Ports) -> Share:
    """The room that an adopted Job takes up besides its run Secret; none if it is detached."""
    size = job.annotations.get(UPLOAD_SIZE_ANNOTATION, "")
    is_size = not ports.journal.detached and size.isascii() and size.isdecimal() and len(size) <= _MAX_DIGITS
    return ports.uploads.take_now(min(int(size), _LARGEST_UPLOAD)) if is_size else Share()


@asynccontextmanager
async def packed_upload(
    plan: RunPlan, room: Share, ports: Ports, narrator: Narrator
) -> AsyncIterator[tuple[RunPlan, PackedFolder | None]]:
    """The plan with its packed folder, which exists until the block ends; None without an upload.

    `room`: of `take_upload_room`; what the packed folder does not need is given back.

    Raises:
        RunFailure: `k8s_workspace_unavailable`; `k8s_policy_refused`.
    """
    if not plan.workspace.folder:
        yield plan, None
        return
    packed = await _pack(plan, ports.settings)
    room.shrink(bytes_in_parts(plan) + packed.size)
    try:
        size = f"{packed.content_bytes / 1024 / 1024:.1f} MiB"
        ignored = f", {packed.ignored} entries are ignored" if packed.ignored else ""
        await narrator.status(
            f"Workspace: packed {packed.files} files ({size}) in {packed.size / 1024 / 1024:.1f} MiB{ignored}"
        )
        if packed.skipped:
            shown = ", ".join(packed.skipped[:5])
            text = f"{len(packed.skipped)} links that lead out, special files or odd names are not uploaded"
            await narrator.warn(f"Workspace: {text} ({shown})")
        workspace = replace(plan.workspace, upload=Upload(packed.size, packed.sha256))
        yield replace(plan, workspace=workspace), packed
    finally:
        packed.file.close()


async def _pack(plan: RunPlan, settings: ProcessSettings) -> PackedFolder:
    folder, config, seconds = plan.workspace.folder, plan.config, settings.timings.workspace_packing
    name = plan.workspace.workdir.rpartition("/")[2]
    limit = WorkLimit(seconds)
    inputs = UploadInputs(
        folder,
        name,
        config.upload_limit_bytes,
        upload_ignore_rules(config),
        upload_rule(plan, settings),
        limit,
    )
    try:
        return await call_in_thread(partial(pack_folder, inputs), seconds, place_of(folder))
    except FolderNotAllowed as error:
        refusal = Refusal("context.paperclipWorkspace.cwd", str(error), "uploadRoots")
        raise RunFailure(failures.policy_refused(refusal)) from None
    except UploadRefused as error:
        why = f"The agent's workspace is not available: {error}"
        raise RunFailure(failures.workspace_unavailable(why, _NEXT_STEP)) from None
    except (TimeoutError, TakesTooLong):
        why = f"The agent's workspace is not available: packing it takes more than {seconds:g}s"
        raise RunFailure(failures.workspace_unavailable(why, _NEXT_STEP, retryable=True)) from None
    finally:
        limit.shorten(0)  # ends the thread if it still works


async def create_parts(
    packed: PackedFolder | None, plan: RunPlan, job: JobSnapshot, ports: Ports, narrator: Narrator
) -> None:
    """Create the Secrets with the packed folder and the archive of skills, if there are any.

    The Job owns the Secrets, so they are removed with the Job. Raises `ClusterError`.
    """
    remaining, errors = _parts(packed, plan, job), list[ClusterError]()

    async def create_some() -> None:
        for name, content in remaining:
            try:
                await _create_part(name, content, plan, job, ports, narrator)
            except ClusterError as error:
                errors.append(error)
            if errors:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(_CONCURRENT_REQUESTS):
            group.create_task(create_some())
    if errors:
        raise errors[0]


def _parts(packed: PackedFolder | None, plan: RunPlan, job: JobSnapshot) -> Iterator[tuple[str, bytes]]:
    """Name and content of each Secret. Each content is read when its turn comes."""
    if packed is not None:
        for number in range(packed.parts):
            yield part_name(job.ref.name, number), packed.part(number)
    if (archive := plan.packed.archive) is not None:
        for number in range(archive.parts):
            yield skill_part_name(job.ref.name, number), archive.part(number)


async def _create_part(  # noqa: PLR0913, PLR0917  # what a call to the cluster needs
    name: str, content: bytes, plan: RunPlan, job: JobSnapshot, ports: Ports, narrator: Narrator
) -> None:
    manifest = part_manifest(job.ref, plan.identity, name, content)
    call = Retrier(ports.settings.timings, narrator)
    try:
        await call("create secret", lambda: ports.cluster.create_secret(plan.namespace, manifest))
    except ClusterError as error:
        if not error.conflict:
            raise
        # an earlier try whose response was lost may have created the Secret
        found = await call("read secret", lambda: ports.cluster.read_secret(plan.namespace, name))
        if found is None or job.ref.uid not in found.owners:
            raise
