"""Finds the process that works on a run, from the Leases and annotations in the run's namespace."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cli.find_run import run_id_of
from paperclip_claude_k8s.cli.job_rows import age
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.lease_objects import (
    ProcessId,
    holder_of,
    is_process_lease,
    is_slot_lease,
    read_process,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, LeaseSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.ports import Ports

SEEN_WITHIN = timedelta(seconds=180)
"""A process that has not renewed its Lease or annotation for so long has probably ended."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Which process works on a run, or that none does. `text`: a phrase for messages."""

    text: str
    works: bool = True
    """Whether a process works on the run, as far as is known."""
    seen: str = ""
    """Phrase with the time at which the process was last seen; "" if unknown."""

    @property
    def description(self) -> str:
        return f"{self.text} ({self.seen})" if self.seen else self.text


async def holder_of_job(job: JobSnapshot, ports: Ports) -> Holder:
    """The process that works on the run of this Job."""
    leases: tuple[LeaseSnapshot, ...] = ()
    with suppress(ClusterError):  # an account without the right to list Leases
        leases = (await ports.cluster.list_leases(job.ref.namespace, labels.ALL_OURS)).items
    return judge_holder(job, leases, ports.settings.now())


def judge_holder(job: JobSnapshot, leases: tuple[LeaseSnapshot, ...], now: datetime) -> Holder:
    """The holder, given all Leases of the adapter in the Job's namespace."""
    run = run_id_of(job)
    for lease in leases:
        process, of_run = holder_of(lease)
        if is_slot_lease(lease) and of_run == run:
            return _holder(process, _renewed(process, leases), now)
    annotated = job.annotations.get(labels.HOLDER_ANNOTATION)
    if annotated is not None:
        seen = parse_time(job.annotations.get(labels.HOLDER_SEEN_ANNOTATION))
        return _holder(read_process(annotated, uuid=""), seen, now)
    if labels.DETACHED_ANNOTATION in job.annotations:
        resume = f"`claude-k8s run --run-id {run}`"
        text = f"no process; `claude-k8s run` has started the run, and {resume} continues it"
        return Holder(text, works=False)
    return Holder("no process, as far as Leases and annotations show", works=False)


def _renewed(process: ProcessId, leases: tuple[LeaseSnapshot, ...]) -> datetime | None:
    """When the process last renewed its own Lease; None without such a Lease."""
    own = (lease for lease in leases if is_process_lease(lease) and lease.holder == process.uuid)
    return next((lease.renewed for lease in own), None)


def _holder(process: ProcessId, seen: datetime | None, now: datetime) -> Holder:
    name = f"process {process.pid} on {neutral(process.host[:100])}" if process.host else "a host process"
    if seen is None:
        return Holder(name)
    alive = now - seen < SEEN_WITHIN
    ended = "" if alive else ", so it has probably ended"
    return Holder(name, works=alive, seen=f"last seen {age(seen, now)} ago{ended}")
