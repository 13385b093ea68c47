"""Looks up the Jobs of the tasks that a Paperclip server holds, and judges how the tasks' runs ended."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.cli.command_options import RecoverOptions, absolute_files
from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.kubeconfig_choice import chosen_kubeconfig
from paperclip_claude_k8s.cli.paperclip_server import HeldTask
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.process import Connect, Process, connect
from paperclip_claude_k8s.run.admit import require_policy
from paperclip_claude_k8s.run.prepare import job_namespace

JobState = Literal["running", "finished", "collected", "absent", "unknown"]
"""State of the Job of a task's run. finished: no run has collected its result yet. collected: a run has.
absent: there is no Job. unknown: the cluster cannot be read."""
Target: TypeAlias = tuple[str | None, str | None, str | None]
"""Kubeconfig, context and namespace; each is None if nothing names it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cluster shows about the run of a held task."""

    state: JobState
    evidence: str
    """A sentence for the server's record; for the state `unknown`, why the cluster cannot be read."""
    completed: bool = False
    """Whether the agent's Job completed without a failure."""


@dataclass(slots=True)
class HeldJobs:
    """The Jobs of held tasks, in all clusters that the tasks' agents use, with one connection per cluster."""

    options: RecoverOptions
    connect: Connect = connect
    _processes: dict[str | None, Process] = field(default_factory=dict)
    """Kubeconfig that the person at the shell chose → process; None → the process for other kubeconfigs."""
    _unreadable: dict[Target, Finding] = field(default_factory=dict)
    """Target whose Jobs cannot be listed → the finding, so that no other task waits for this target again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes.values():
            await process.close()

    async def look_up(self, task: HeldTask) -> Finding:
        """What the cluster of the task's agent shows about the task's run."""
        target = _target(task.config, self.options)
        kubeconfig, _, namespace = target
        if target in self._unreadable:
            return self._unreadable[target]
        try:
            ports = self._ports(target)
            where = await job_namespace(namespace, kubeconfig, ports)
            return judge(task.run, where, await _jobs_of(task, where, ports))
        except RunFailure as failure:
            finding = Finding("unknown", failure.failure.message)
        except ClusterError as error:
            finding = Finding("unknown", f"the cluster cannot be read: {error}")
        self._unreadable[target] = finding
        return finding

    def _ports(self, target: Target) -> Ports:
        """Raises RunFailure `k8s_policy_refused` if the policy itself cannot be used."""
        kubeconfig, context, _ = target
        chosen = _if_chosen(kubeconfig, self.options)
        if chosen not in self._processes:
            granted = grants(chosen, None, self.options.context)
            settings = with_grants(ProcessSettings.read(os.environ), granted)
            require_policy(settings)
            self._processes[chosen] = Process(settings, self.connect)
        return self._processes[chosen].ports(kubeconfig, context)


def _target(config: Mapping[str, Any], options: RecoverOptions) -> Target:
    """The target that the options name, else the agent's settings, else the environment."""
    given = str(options.kubeconfig) if options.kubeconfig is not None else None
    typed = given if options.kubeconfig_from_option else None
    return (
        typed or as_trimmed(config.get("kubeconfig")) or given,
        options.context or as_trimmed(config.get("kubeContext")),
        options.namespace or as_trimmed(config.get("namespace")),
    )


def _if_chosen(kubeconfig: str | None, options: RecoverOptions) -> str | None:
    """The kubeconfig if the person at the shell chose it; None if only an agent's settings name it.

    A kubeconfig that only settings name may do no more than the policy allows.
    """
    chosen = chosen_kubeconfig(options.kubeconfig, None, devcluster=False)
    return kubeconfig if kubeconfig is not None and absolute_files(kubeconfig) == chosen else None


async def _jobs_of(task: HeldTask, namespace: str, ports: Ports) -> Sequence[JobSnapshot]:
    """The Jobs of all runs of the task: a Job that a later run adopted has the label of the later run."""
    selector = {**labels.ALL_OURS, labels.TASK_LABEL: label_value(task.issue) or ""}
    return (await ports.cluster.list_jobs(namespace, selector)).items


def judge(run: str, namespace: str, jobs: Sequence[JobSnapshot]) -> Finding:
    """What the Jobs of a task show about its run. `jobs`: all Jobs of the task in this namespace."""
    stopped = f"The server that observed run {run} has stopped."
    live = [job for job in jobs if job.finished is None and not job.deleting]
    if live:
        found = f"Job {live[0].ref.name} of this task still runs in namespace {namespace};"
        return Finding("running", f"{stopped} {found} the next run adopts it and starts no second agent.")
    jobs_of_run = [job for job in jobs if job.labels.get(labels.RUN_LABEL) == label_value(run)]
    if not jobs_of_run:
        found = f"No Job of this run exists in namespace {namespace}, so its agent does not run."
        return Finding("absent", f"{stopped} {found} Whether it had finished its work is not known.")
    job = max(jobs_of_run, key=lambda job: job.created_or_earliest)
    end = job.finished.type if job.finished is not None else "being deleted"
    found = f"Job {job.ref.name} of run {run} in namespace {namespace} is {end}"
    if labels.TAKEN_ANNOTATION in job.annotations:
        return Finding("collected", f"{found}, and its result was collected.", completed=end == "Complete")
    text = f"{found}, and its agent has stopped. The next run takes its result."
    return Finding("finished", text, completed=end == "Complete")
