"""Looks up the Jobs and Pods of the agents whose tasks a Paperclip server holds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.cli.chosen_cluster import ALL_NAMESPACES
from paperclip_claude_k8s.cli.command_options import RecoverOptions, absolute_files
from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.held_verdict import Finding, Search, judge
from paperclip_claude_k8s.cli.kubeconfig_choice import chosen_kubeconfig
from paperclip_claude_k8s.cli.paperclip_server import HeldTask
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.process import Connect, Process, connect
from paperclip_claude_k8s.run.admit import require_policy
from paperclip_claude_k8s.run.place_notes import cluster_note
from paperclip_claude_k8s.run.prepare import job_namespace

Target: TypeAlias = tuple[str | None, str | None, str | None]
"""Kubeconfig, context and namespace; each is None if nothing names it."""


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
            return judge(task, await _search(task, target, where, ports))
        except RunFailure as failure:
            finding = Finding("unknown", "", why_held=failure.failure.message)
        except ClusterError as error:
            finding = Finding("unknown", "", why_held=f"the cluster cannot be read: {error}")
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


async def _search(task: HeldTask, target: Target, where: str, ports: Ports) -> Search:
    """Search all namespaces if the account may list them, else `where` and those that the record names.

    Pods are listed after the Jobs: a Job that is not in the first list creates none.
    """
    selector = {**labels.ALL_OURS, labels.AGENT_LABEL: label_value(task.agent) or ""}
    jobs: list[JobSnapshot] = []
    pods: list[PodSnapshot] = []
    searched: set[str] = set()
    for namespace in dict.fromkeys((ALL_NAMESPACES, where, *sorted(task.record.namespaces))):
        try:
            found = await ports.cluster.list_jobs(namespace, selector)
            pods += (await ports.cluster.list_pods(namespace, selector)).items
        except ClusterError as error:
            if namespace == where or not error.forbidden:
                raise
            continue
        jobs += found.items
        searched.add(namespace)
        if namespace == ALL_NAMESPACES:
            break
    kubeconfig, context, _ = target
    return Search(
        jobs,
        pods,
        namespaces=None if ALL_NAMESPACES in searched else frozenset(searched),
        next_namespace=as_trimmed(task.config.get("namespace")) or where,
        cluster=cluster_note(kubeconfig, context),
    )
