"""Find the run that a command names: by its id, the name of its Job, or the beginning of the id or name.

Runs that were started here have a record, which is found without a cluster. Every other run of the adapter is
found by its Job, whoever started the run.
"""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from paperclip_claude_k8s.cli.chosen_cluster import (
    ALL_NAMESPACES,
    chosen_cluster,
    cluster_stop,
    names_cluster,
)
from paperclip_claude_k8s.cli.grants import with_grants
from paperclip_claude_k8s.cli.run_lookup_options import LookupOptions
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.run_target import run_labels
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings, RunJournal
from paperclip_claude_k8s.process import Process

MAX_NAMED = 5
"""How many matching runs a message names."""


def find_record(word: str, state: State | None = None) -> Record | None:
    """The record that `word` means; None if there is none here, or the state folder cannot be used.

    Raises:
        Stop: several runs match, or the record cannot be read.
    """
    if state is None:
        try:
            state = State(state_folder(os.environ))
        except Stop:
            return None
    ids = state.run_ids()
    if word in ids:
        return state.read(word)
    by_id = [run_id for run_id in ids if word and run_id.startswith(word)]
    if not by_id and word:
        readable = (record for record in state.all() if isinstance(record, Record))
        by_id = [record.run_id for record in readable if _names_job(word, record)]
    if not by_id:
        return None
    return state.read(_single_match(word, by_id))


def _names_job(word: str, record: Record) -> bool:
    return any(job.name.startswith(word) for job in record.jobs)


def _single_match(word: str, names: Sequence[str]) -> str:
    """The only name. Raises `Stop` if there are several names."""
    if len(names) == 1:
        return names[0]
    raise _ambiguous(word, names)


def _ambiguous(word: str, names: Sequence[str]) -> Stop:
    shown = ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
    return Stop("ambiguous_run", f"{len(names)} runs begin with {word!r}: {shown}; give more of its id")


def matching_job(word: str, jobs: Iterable[JobSnapshot]) -> JobSnapshot | None:
    """The newest Job of the run that `word` means; None if no run matches. Raises `Stop` for several runs."""
    of_run: dict[tuple[str, str], list[JobSnapshot]] = {}
    for job in jobs:
        of_run.setdefault((job.ref.namespace, run_id_of(job)), []).append(job)
    exact = [run for run, own in of_run.items() if word == run[1] or any(word == job.ref.name for job in own)]
    begins = [
        run
        for run, own in of_run.items()
        if word and (run[1].startswith(word) or any(job.ref.name.startswith(word) for job in own))
    ]
    found = exact or begins
    if not found:
        return None
    if len(found) > 1:
        raise _ambiguous(word, [f"{run} (namespace {namespace})" for namespace, run in found])
    return newest_job(of_run[found[0]])


def newest_job(jobs: Iterable[JobSnapshot]) -> JobSnapshot | None:
    """The Job that was created last; None without Jobs. The API server lists Jobs by name, not by age."""
    return max(jobs, key=lambda job: job.created.timestamp() if job.created else 0.0, default=None)


def run_id_of(job: JobSnapshot) -> str:
    """The run's id as the Job's label has it, perhaps shortened; the name of the Job without such a label."""
    return job.labels.get(labels.RUN_LABEL) or job.ref.name


@asynccontextmanager
async def job_on_cluster(
    options: LookupOptions, journal: RunJournal | None = None
) -> AsyncIterator[tuple[Ports, JobSnapshot]]:
    """The Job that `options.run` means, and a connection to its cluster, for the block.

    Raises:
        Stop: no run matches, several runs match, or the cluster cannot be read.
    """
    if not names_cluster(options):
        hint = "`claude-k8s history` lists those that are; with --kubeconfig, runs on a cluster are found too"
        raise Stop("unknown_run", f"run {options.run} is not known here; {hint}")
    try:
        async with chosen_cluster(options, journal) as cluster:
            if cluster is None:
                raise Stop(
                    "unknown_run", "the development cluster is not running, and there is no record here"
                )
            namespace, ports = cluster
            where = ALL_NAMESPACES if options.all_namespaces else namespace
            job = matching_job(options.run, (await ports.cluster.list_jobs(where, labels.ALL_OURS)).items)
            if job is None:
                place = "in any namespace" if options.all_namespaces else f"in namespace {namespace}"
                raise Stop(
                    "unknown_run",
                    f"there is no run {options.run!r} {place}, and no record of it here; `claude-k8s jobs -A`"
                    " lists the runs of all namespaces, `claude-k8s history` those that were started here",
                )
            yield ports, job
    except ClusterError as error:
        raise cluster_stop("cannot read the cluster", error) from None


@asynccontextmanager
async def job_of_record(
    record: Record, journal: RunJournal | None = None
) -> AsyncIterator[tuple[Ports, JobSnapshot | None]]:
    """The newest Job of a recorded run, None if the run has no Job any more; and a connection to its cluster.

    Raises:
        Stop: the cluster cannot be read.
    """
    settings = with_grants(ProcessSettings.read(os.environ), record.grants)
    process = Process(settings, journal=journal or NullJournal())
    try:
        ports = process.ports(record.kubeconfig, record.context)
        found = (await ports.cluster.list_jobs(record.target.namespace, run_labels(record.run_id))).items
        yield ports, newest_job(found)
    except ClusterError as error:
        raise cluster_stop("cannot read the cluster", error, record.run_id) from None
    finally:
        with suppress(ClusterError):
            await process.shut_down()
