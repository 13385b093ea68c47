"""Judges from the Jobs and Pods of an agent how the run of a held task ended. It makes no request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paperclip_claude_k8s.cli.paperclip_server import HeldTask
from paperclip_claude_k8s.cli.run_record import RunRecord, cluster_of
from paperclip_claude_k8s.cluster.labels import RESULT_ANNOTATION, RUN_LABEL, TAKEN_ANNOTATION, TASK_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.verdict.slot import is_live, known_equal

JobState = Literal["running", "ending", "finished", "collected", "absent", "not_found", "unknown"]
"""State of the Job of a task's run. ending: there is no live Job, but the agent in a Pod may still work.
finished: no run has collected its result yet. collected: a run has collected or skipped it. absent: there is
no Job and no Pod. not_found: none was found, but the run may be elsewhere. unknown: the cluster cannot be
read."""

CHECK_BY_HAND = (
    "The server's record does not prove that the run was there: the agent's settings may have changed."
    "{known} In each cluster and namespace that the agent has used, look for Jobs and Pods with the label "
    f"{RUN_LABEL}={{run}}. If there are any, name their place by --kubeconfig, --context and --namespace. "
    "If there are none, repeat the command with --release-absent."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cluster shows about the run of a held task."""

    state: JobState
    evidence: str
    """Sentences for the server's record."""
    completed: bool = False
    """Whether the agent's Job completed without a failure, and a run has used or will use its result."""
    why_held: str = ""
    """Why the task has to stay held, and what the operator can do: a next run could start a second agent, or
    would not take the result. "" if it can be released."""


@dataclass(frozen=True, slots=True)
class Search:
    """The Jobs and Pods of one agent that were found in one cluster."""

    jobs: Sequence[JobSnapshot]
    pods: Sequence[PodSnapshot]
    namespaces: frozenset[str] | None
    """Those that were searched; None: all of the cluster."""
    next_namespace: str
    """Where the agent's next run looks for Jobs."""
    cluster: str
    """The searched cluster as a cluster note; see `run.place_notes`."""

    def covers(self, record: RunRecord) -> bool:
        """Whether each place where the Job may be according to the record was searched."""
        known = record.namespaces or {""}
        return record.clusters == {self.cluster} and (self.namespaces is None or known <= self.namespaces)

    @property
    def place(self) -> str:
        if self.namespaces is None:
            return "any namespace"
        names = sorted(self.namespaces)
        return f"{'namespace' if len(names) == 1 else 'the namespaces'} {', '.join(names)}"


def judge(task: HeldTask, search: Search) -> Finding:
    """What the objects of the task's agent show about the task's run."""
    stopped = f"The server that observed run {task.run} has stopped."
    of_task = [job for job in search.jobs if _belongs(job, task)]
    live = [job for job in of_task if is_live(job)]
    if live:
        job = next((job for job in live if job.ref.namespace != search.next_namespace), live[0])
        found = f"Job {job.ref.name} of this task still runs in namespace {job.ref.namespace}."
        if elsewhere := _elsewhere(job, task, search):
            return Finding("running", f"{stopped} {found}", why_held=elsewhere)
        return Finding("running", f"{stopped} {found} The next run adopts it and starts no second agent.")
    uids = {job.ref.uid for job in of_task}
    for pod in search.pods:
        if pod.agent_may_work and (_belongs(pod, task) or pod.job_uid in uids):
            found = f"Pod {pod.name} in namespace {pod.namespace} still runs, and no Job that can be adopted."
            return Finding(
                "ending", f"{stopped} {found}", why_held="Repeat the command when the Pod has ended."
            )
    jobs_of_run = [job for job in of_task if known_equal(job.labels.get(RUN_LABEL), label_value(task.run))]
    if not jobs_of_run:
        return _without_job(task, search, stopped)
    return _ended(max(jobs_of_run, key=lambda job: job.created_or_earliest), task, search)


def _belongs(thing: JobSnapshot | PodSnapshot, task: HeldTask) -> bool:
    """Whether it is of the run, or of another run of the task: a later run that adopts a Job relabels it."""
    of_run = known_equal(thing.labels.get(RUN_LABEL), label_value(task.run))
    return of_run or known_equal(thing.labels.get(TASK_LABEL), label_value(task.task or task.issue))


def _elsewhere(job: JobSnapshot, task: HeldTask, search: Search) -> str:
    """Why the agent's next run does not find the Job; "" if it does."""
    step = "Set them back or delete the Job, then repeat the command."
    next_cluster = cluster_of(task.config)
    if search.cluster != next_cluster and task.record.clusters != {next_cluster}:
        return f"The agent's settings name another cluster, so the next run does not find the Job. {step}"
    if job.ref.namespace != search.next_namespace:
        where = f"namespace {search.next_namespace}"
        return f"The agent's settings lead to {where}, so the next run does not find the Job. {step}"
    return ""


def _without_job(task: HeldTask, search: Search, stopped: str) -> Finding:
    if search.covers(task.record):
        found = f"No Job and no Pod of this run exists in {search.place}, so its agent does not run."
        return Finding("absent", f"{stopped} {found} Whether it had finished its work is not known.")
    found = f"{stopped} No Job and no Pod of this run was found in {search.place}."
    recorded = ", ".join(sorted(filter(None, task.record.namespaces)))
    known = f" It names the namespace {recorded}." if recorded else ""
    return Finding("not_found", found, why_held=CHECK_BY_HAND.format(known=known, run=label_value(task.run)))


def _ended(job: JobSnapshot, task: HeldTask, search: Search) -> Finding:
    end = job.finished.type if job.finished is not None else "being deleted"
    found = f"Job {job.ref.name} of run {task.run} in namespace {job.ref.namespace} is {end}"
    if TAKEN_ANNOTATION in job.annotations:
        used = RESULT_ANNOTATION in job.annotations
        text = f"{found}, and its result was {'collected' if used else 'collected or skipped'}."
        return Finding("collected", text, completed=used and end == "Complete")
    if elsewhere := _elsewhere(job, task, search):
        return Finding("finished", f"{found}, and its agent has stopped.", why_held=elsewhere)
    text = f"{found}, and its agent has stopped. The next run takes its result."
    return Finding("finished", text, completed=end == "Complete")
