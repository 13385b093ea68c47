"""Find the run that a command names: by its id, the name of its Job, or the beginning of the id or name.

Runs that were started here have a record, which is found without a cluster. Every other run of the adapter is
found by its Job, whoever started the run.
"""

import asyncio
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
from paperclip_claude_k8s.cli.options import OptionsInvalid
from paperclip_claude_k8s.cli.run_lookup_options import LookupOptions
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.run_target import run_labels
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings, RunJournal
from paperclip_claude_k8s.process import Process

MAX_NAMED = 5
"""Largest number of matching runs that a message names."""
LOOK_TIME = 5.0
"""Seconds that a command waits for a cluster whose answer it can do without."""


def find_record(word: str, state: State | None = None, *, namespace: str | None = None) -> Record | None:
    """The record that `word` means; None if there is none here, or the state folder cannot be used.

    `namespace`: the value of `--namespace`. If given, the beginning of an id or of a Job's name matches only
    runs that may be in this namespace.

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
    matching = [run_id for run_id in ids if word and run_id.startswith(word)]
    if word and (namespace or not matching):
        readable = [record for record in state.all() if isinstance(record, Record)]
        elsewhere = {record.run_id for record in readable if not _may_be_in(namespace, record, word)}
        matching = matching or [record.run_id for record in readable if _begins_job_name(word, record)]
        matching = [run_id for run_id in matching if run_id not in elsewhere]
    if not matching:
        return None
    return state.read(_single_match(word, matching))


def _may_be_in(namespace: str | None, record: Record, word: str) -> bool:
    """False if the record names another namespace, unless `word` is the run's whole id or Job name."""
    return not namespace or record.target.namespace in {"", namespace} or word in names_of(record)


def names_of(record: Record) -> set[str]:
    """The run's id and the names of its Jobs, which mean this run and no other."""
    return {record.run_id, *(job.name for job in record.jobs)}


async def check_only_run(record: Record, options: LookupOptions) -> None:
    """Raises `Stop` if a run on the cluster that has not ended has an id that also begins with `options.run`.

    A cluster that does not answer within `LOOK_TIME` is taken for one without such a run.
    """
    others = set[str]()
    with suppress(ClusterError, OptionsInvalid, Stop, TimeoutError):
        if names_cluster(options):
            async with asyncio.timeout(LOOK_TIME), chosen_cluster(options) as cluster:
                others = await _unfinished_runs(cluster, options) if cluster is not None else others
    own = {label_value(record.run_id) or "", *names_of(record)}
    if found := sorted(others - own):
        raise _ambiguous(options.run, [record.run_id, *found])


async def _unfinished_runs(cluster: tuple[str, Ports], options: LookupOptions) -> set[str]:
    """Ids of unfinished runs whose id or Job name begins with `options.run`. Raises `ClusterError`."""
    namespace, ports = cluster
    where = ALL_NAMESPACES if options.all_namespaces else namespace
    jobs = (await ports.cluster.list_jobs(where, labels.ALL_OURS)).items
    return {
        run_id_of(job)
        for job in jobs
        if job.finished is None
        and any(name.startswith(options.run) for name in (run_id_of(job), job.ref.name))
    }


def _begins_job_name(word: str, record: Record) -> bool:
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
    jobs_of: dict[tuple[str, str], list[JobSnapshot]] = {}  # (namespace, run id) → its Jobs
    for job in jobs:
        jobs_of.setdefault((job.ref.namespace, run_id_of(job)), []).append(job)
    exact = [
        run for run, own in jobs_of.items() if word == run[1] or any(word == job.ref.name for job in own)
    ]
    starting = [
        run
        for run, own in jobs_of.items()
        if word and (run[1].startswith(word) or any(job.ref.name.startswith(word) for job in own))
    ]
    found = exact or starting
    if not found:
        return None
    if len(found) > 1:
        raise _ambiguous(word, [f"{run} (namespace {namespace})" for namespace, run in found])
    return newest_job(jobs_of[found[0]])


def newest_job(jobs: Iterable[JobSnapshot]) -> JobSnapshot | None:
    """The Job that was created last; None without Jobs. The API server lists Jobs by name, not by age."""
    return max(jobs, key=lambda job: job.created_or_earliest, default=None)


def recorded_job(record: Record, jobs: Sequence[JobSnapshot]) -> JobSnapshot | None:
    """The newest of the Jobs that the record names, else the newest Job. `jobs`: all with the run's label."""
    recorded = {part.uid for part in record.jobs}
    return newest_job([job for job in jobs if job.ref.uid in recorded] or jobs)


def run_id_of(job: JobSnapshot) -> str:
    """The run's id as the Job's label has it, perhaps shortened; the Job's name if it has no such label."""
    return job.labels.get(labels.RUN_LABEL) or job.ref.name


@asynccontextmanager
async def job_on_cluster(
    options: LookupOptions, journal: RunJournal | None = None
) -> AsyncIterator[tuple[Ports, JobSnapshot]]:
    """A connection to the cluster, and the Job there that `options.run` means, for the block.

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
    """A connection to a recorded run's cluster, and the run's Job or None if it is deleted, for the block.

    Raises:
        Stop: the cluster cannot be read.
    """
    settings = with_grants(ProcessSettings.read(os.environ), record.grants)
    process = Process(settings, journal=journal or NullJournal())
    try:
        ports = process.ports(record.kubeconfig, record.context)
        found = (await ports.cluster.list_jobs(record.target.namespace, run_labels(record.run_id))).items
        yield ports, recorded_job(record, found)
    except ClusterError as error:
        raise cluster_stop("cannot read the cluster", error, record.run_id) from None
    finally:
        with suppress(ClusterError):
            await process.shut_down()
