"""Which cluster a run is on, and the status of its Jobs there."""

import hashlib

from yarl import URL

from paperclip_claude_k8s.base.http import host_and_port
from paperclip_claude_k8s.cli.runs.decide import JobStatus
from paperclip_claude_k8s.cli.runs.record import Record, RunTarget
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.kubeconfig import ClusterSource, KubeconfigRules
from paperclip_claude_k8s.cluster.labels import ALL_OURS, RUN_LABEL
from paperclip_claude_k8s.cluster.model import PodSnapshot, Running
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.plan.identity import label_value

_ADDRESS_ONLY = KubeconfigRules(trusted=True)
"""Rules for reading only the server's address. Any file is trusted: no plugin runs, no credential is read."""


async def resolve_target(source: ClusterSource, namespace: str) -> tuple[RunTarget, str | None]:
    """The target to which the kubeconfig points, and its context's name, or None without a kubeconfig.

    Raises `ClusterError` if the kubeconfig cannot be used.
    """
    credentials = Credentials(source.kubeconfig, _ADDRESS_ONLY, context=source.context)
    server = await credentials.address()
    digest = hashlib.sha256(server.encode()).hexdigest()[:16]
    url = URL(server)
    return RunTarget(f"{url.scheme}://{host_and_port(url)}", digest, namespace), credentials.context


def check_target(record: Record, current: RunTarget) -> None:
    """Raises `Stop` if the run was started on another cluster or in another namespace."""
    recorded = record.target
    if recorded.digest and (recorded.digest, recorded.namespace) != (current.digest, current.namespace):
        raise Stop(
            "other_cluster",
            f"run {record.run_id} is on {recorded.server}, namespace {recorded.namespace}, but this call"
            f" uses {current.server}, namespace {current.namespace}; pass the --kubeconfig and --context with"
            " which the run was started",
        )


def run_labels(run_id: str) -> dict[str, str]:
    """Labels that select every Job and Pod of the run."""
    return {**ALL_OURS, RUN_LABEL: label_value(run_id) or ""}


async def read_job_status(cluster: Cluster, namespace: str, run_id: str) -> JobStatus:
    """The status of the run's Jobs. Raises `ClusterError`."""
    jobs = (await cluster.list_jobs(namespace, run_labels(run_id))).items
    unfinished = [job for job in jobs if job.finished is None]
    pods = (await cluster.list_pods(namespace, run_labels(run_id))).items if unfinished else ()
    return JobStatus(
        present=bool(jobs), finished=bool(jobs) and not unfinished, running=any(map(_agent_runs, pods))
    )


def _agent_runs(pod: PodSnapshot) -> bool:
    agent = pod.agent
    return agent is not None and isinstance(agent.state, Running)
