"""Annotations on a Job that name its holder, for clusters where the adapter may not use Leases.

The holder is the host process that observes the Job. It writes its process id and refreshes a timestamp
every `REFRESH_INTERVAL` seconds. On the same machine other processes check the process id; elsewhere a holder
counts as dead when its timestamp is older than `STALE_AFTER`. A detached Job belongs to its run instead: only
a call for the same run adopts it.
"""

import asyncio
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta

from paperclip_claude_k8s.base.times import format_time, parse_time
from paperclip_claude_k8s.cluster.labels import (
    DETACHED_ANNOTATION,
    HOLDER_ANNOTATION,
    HOLDER_SEEN_ANNOTATION,
    TAKEN_ANNOTATION,
    json_pointer,
)
from paperclip_claude_k8s.cluster.lease_objects import read_process
from paperclip_claude_k8s.cluster.model import JobRef, JobSnapshot, JsonObject
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.leases.liveness import Liveness, local_liveness
from paperclip_claude_k8s.leases.process_id import start_time
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.ports import Ports, SlotLock

REFRESH_INTERVAL = 60.0
"""Seconds between two timestamps of the holder."""
STALE_AFTER = timedelta(seconds=180)
"""Age from which a timestamp means that its holder is dead: three refreshes are missing, or two if the clocks
of two machines differ by a minute."""


def holder_annotations(ports: Ports, namespace: str) -> dict[str, str]:
    """Annotations of a Job that this process holds without a Lease."""
    me = ports.slot_locks(namespace).me
    return {
        HOLDER_ANNOTATION: json.dumps(me.to_map(), sort_keys=True),
        HOLDER_SEEN_ANNOTATION: format_time(ports.settings.now()),
    }


def detached_annotations(identity: Identity) -> dict[str, str]:
    """Annotations of a Job that belongs to its run and not to a process."""
    return {DETACHED_ANNOTATION: _detached_for(identity)}


def _detached_for(identity: Identity) -> str:
    """The annotation's value: names the run, or its first Job if the run's id is not a label value."""
    return f"detached:{identity.run or identity.job_name()}"


def detached_jobs_of_others(jobs: Sequence[JobSnapshot], identity: Identity) -> set[str]:
    """Uids of Jobs that belong to other runs than this one, whether or not a process observes them.

    Earlier versions wrote the same value for every run whose id is not a label value. Therefore a Job with a
    name of this run is never another's, whatever its annotation says.
    """
    not_detached_or_ours = {None, _detached_for(identity)}
    differing = [job for job in jobs if job.annotations.get(DETACHED_ANNOTATION) not in not_detached_or_ours]
    return {job.ref.uid for job in differing if job.ref.name not in identity.job_names}


def jobs_of_nobody(
    jobs: Sequence[JobSnapshot], owned: Collection[str], detached: Collection[str]
) -> list[JobSnapshot]:
    """The Jobs that no process holds and that are not kept for another run, without those being deleted."""
    kept = {*owned, *detached}
    return [job for job in jobs if job.ref.uid not in kept and not job.deleting]


async def refresh_holder(ref: JobRef, slot_lock: SlotLock, ports: Ports) -> None:
    """Refresh the holder's timestamp on the Job until cancelled, or until a Lease makes that needless."""
    while not slot_lock.fenced:
        await asyncio.sleep(REFRESH_INTERVAL)
        timestamp: JsonObject = {
            "op": "add",
            "path": json_pointer("metadata", "annotations", HOLDER_SEEN_ANNOTATION),
            "value": format_time(ports.settings.now()),
        }
        with suppress(ClusterError):
            await ports.cluster.patch_job(ref, [timestamp])


def jobs_with_live_holder(jobs: Sequence[JobSnapshot], ports: Ports) -> set[str]:
    """Uids of Jobs that a run of this process owns, or whose annotations name a holder that is alive.

    A Job whose result was taken needs no holder and is left out.
    """
    not_taken = [job for job in jobs if TAKEN_ANNOTATION not in job.annotations]
    return {
        job.ref.uid for job in not_taken if job.ref.uid in ports.owned_jobs or _holder_is_alive(job, ports)
    }


def _holder_is_alive(job: JobSnapshot, ports: Ports) -> bool:
    annotation = job.annotations.get(HOLDER_ANNOTATION)
    if annotation is None:
        return False
    holder, me = read_process(annotation, ""), ports.slot_locks(job.ref.namespace).me
    liveness = local_liveness(holder, me, start_time)
    if liveness is Liveness.UNKNOWN:
        seen = parse_time(job.annotations.get(HOLDER_SEEN_ANNOTATION))
        return seen is not None and ports.settings.now() - seen < STALE_AFTER
    return liveness is Liveness.ALIVE
