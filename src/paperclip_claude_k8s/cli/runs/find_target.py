"""Which cluster a run is on, and how its Jobs stand there: single looks, nothing held."""

import hashlib
from urllib.parse import urlsplit

from paperclip_claude_k8s.cli.runs.decide import Sight
from paperclip_claude_k8s.cli.runs.record import Place, Record
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.labels import ALL_OURS, RUN_LABEL
from paperclip_claude_k8s.cluster.model import PodSnapshot, Running
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.plan.identity import label_value


async def find_place(kubeconfig: str | None, namespace: str) -> Place:
    """Raises `ClusterError`: there is no usable kubeconfig."""
    credentials = Credentials(kubeconfig)
    await credentials.load()
    digest = hashlib.sha256(credentials.server.encode()).hexdigest()[:16]
    address = urlsplit(credentials.server)
    return Place(f"{address.scheme}://{address.hostname}:{address.port or 443}", digest, namespace)


def check_place(record: Record, here: Place) -> None:
    """Raises `Stop`: the record is about another cluster."""
    there = record.place
    if there.digest and (there.digest, there.namespace) != (here.digest, here.namespace):
        raise Stop(
            "other_cluster",
            f"run {record.run_id} is on {there.server}, namespace {there.namespace}, and this call would look"
            f" at {here.server}, namespace {here.namespace}; give the --kubeconfig it was started with",
        )


def labels_of(run_id: str) -> dict[str, str]:
    """Finds every Job and Pod of the run."""
    return {**ALL_OURS, RUN_LABEL: label_value(run_id) or ""}


async def look(cluster: Cluster, namespace: str, run_id: str) -> Sight:
    """Raises `ClusterError`."""
    jobs = (await cluster.list_jobs(namespace, labels_of(run_id))).items
    live = [job for job in jobs if job.finished is None]
    pods = (await cluster.list_pods(namespace, labels_of(run_id))).items if live else ()
    return Sight(bool(jobs), finished=bool(jobs) and not live, running=any(map(_runs, pods)))


def _runs(pod: PodSnapshot) -> bool:
    agent = pod.agent
    return agent is not None and isinstance(agent.now, Running)
