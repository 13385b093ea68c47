"""What a Job says of the process that runs it: the fence where Leases are forbidden (SPEC 2)."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from paperclip_claude_k8s.cluster.labels import (
    DETACHED_ANNOTATION,
    HOLDER_ANNOTATION,
    HOLDER_SEEN_ANNOTATION,
    TAKEN_ANNOTATION,
)
from paperclip_claude_k8s.cluster.lease_objects import read_process
from paperclip_claude_k8s.cluster.model import JobRef, JobSnapshot, JsonObject
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.reading import moment
from paperclip_claude_k8s.host.context import iso
from paperclip_claude_k8s.leases.liveness import Liveness, local_liveness
from paperclip_claude_k8s.leases.process_id import start_time
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.ports import Ports, SlotLock

STEP = 60.0
"""Seconds between two notes that the holder lives."""
UNSEEN = timedelta(seconds=180)
"""A holder that was not seen for so long is dead: three notes are missing. Clocks may differ by a minute."""


def holder_note(ports: Ports, namespace: str) -> dict[str, str]:
    """Annotations of a Job that this process runs without a Lease."""
    me = ports.slots(namespace).me
    return {
        HOLDER_ANNOTATION: json.dumps(me.to_map(), sort_keys=True),
        HOLDER_SEEN_ANNOTATION: iso(ports.settings.now()),
    }


def detached_note(who: Identity) -> dict[str, str]:
    """Annotations of a Job that is held for its run, not for a process (SPEC 12)."""
    return {DETACHED_ANNOTATION: _detached_for(who)}


def _detached_for(who: Identity) -> str:
    """A run whose id has no label value is named by the Job that its first attempt makes."""
    return f"detached:{who.run or who.job_name()}"


def detached_jobs(jobs: Sequence[JobSnapshot], who: Identity) -> set[str]:
    """Uids of Jobs that are held for other runs than this one, whether or not a process looks after them."""
    held = [job for job in jobs if job.annotations.get(DETACHED_ANNOTATION) not in {None, _detached_for(who)}]
    return {job.ref.uid for job in held if job.ref.name not in who.job_names}


async def keep_holder_noted(ref: JobRef, held: SlotLock, ports: Ports) -> None:
    """Say on the Job that its holder lives, for as long as this runs; nothing to do where a Lease does it."""
    while not held.fenced:
        await asyncio.sleep(STEP)
        seen: JsonObject = {
            "op": "add",
            "path": f"/metadata/annotations/{HOLDER_SEEN_ANNOTATION.replace('/', '~1')}",
            "value": iso(ports.settings.now()),
        }
        with suppress(ClusterError):
            await ports.cluster.patch_job(ref, [seen])


def held_jobs(jobs: Sequence[JobSnapshot], ports: Ports) -> set[str]:
    """Uids of Jobs whose holder is alive, as far as they say: runs of this process, and fresh notes."""
    untaken = [job for job in jobs if TAKEN_ANNOTATION not in job.annotations]
    return {job.ref.uid for job in untaken if job.ref.uid in ports.owned_jobs or _holder_lives(job, ports)}


def _holder_lives(job: JobSnapshot, ports: Ports) -> bool:
    noted = job.annotations.get(HOLDER_ANNOTATION)
    if noted is None:
        return False
    holder, me = read_process(noted, ""), ports.slots(job.ref.namespace).me
    fate = local_liveness(holder, me, start_time)
    if fate is Liveness.UNKNOWN:
        seen = moment(job.annotations.get(HOLDER_SEEN_ANNOTATION))
        return seen is not None and ports.settings.now() - seen < UNSEEN
    return fate is Liveness.ALIVE
