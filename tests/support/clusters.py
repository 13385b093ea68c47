"""The clusters that must pass the same contract tests: in memory, development, real.

Only the real cluster is an independent implementation: the cluster in memory uses the development cluster's
API, without a socket.
"""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot, Running, Terminated
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.testing import FakeCluster, PodScript

T = TypeVar("T")
CONTRACT_TIMEOUT = 120.0
"""Seconds within which a condition must come true; a real kubelet needs several to pull, mount and start."""
POLL_INTERVAL = 0.1  # seconds


@dataclass(slots=True)
class ContractCluster:
    """A cluster of the contract tests, and manifests of Jobs whose Pods behave in a given way."""

    cluster: Cluster
    namespace: str
    image: str = "local/agent:1"
    test_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Label value of all objects of one test, which keeps concurrent tests apart."""
    pod_scripts: dict[str, PodScript] = field(default_factory=dict)
    """Job name → what its Pod does in the cluster in memory. Other clusters run the manifest's command."""

    @property
    def labels(self) -> Mapping[str, str]:
        return {"contract-test": self.test_id}

    def name(self, what: str) -> str:
        return f"contract-{what}-{self.test_id}"

    def job(
        self, what: str, output: bytes = b"hello\n", *, runs_for: float = 0.0, code: int = 0, secret: str = ""
    ) -> dict[str, Any]:
        """A Job whose Pod prints `output`, runs for `runs_for` more seconds and exits with `code`."""
        name = self.name(what)
        self.pod_scripts[name] = PodScript(
            output=((0.0, output),), ends_at=runs_for, exit_code=code, summarized=False
        )
        text = base64.b64encode(output).decode()
        script = f"echo {text} | base64 -d; sleep {runs_for}; exit {code}"
        container: dict[str, Any] = {
            "name": "claude",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", f"trap 'exit 143' TERM; {script} & wait $!"],
        }
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 3,
            "containers": [container],
        }
        if secret:
            spec["volumes"] = [{"name": "run", "secret": {"secretName": secret}}]
            container["volumeMounts"] = [{"name": "run", "mountPath": "/run/secret"}]
        meta = {"name": name, "namespace": self.namespace, "labels": dict(self.labels)}
        template = {"metadata": {"labels": dict(self.labels)}, "spec": spec}
        body = {"backoffLimit": 0, "ttlSecondsAfterFinished": 600, "template": template}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": body}

    async def until(self, find: Callable[[], Awaitable[T | None]]) -> T:
        """Poll until there is a result, at most `CONTRACT_TIMEOUT` seconds."""
        async with asyncio.timeout(CONTRACT_TIMEOUT):
            while True:
                found = await find()
                if found:
                    return found
                await asyncio.sleep(POLL_INTERVAL)

    async def pod_of(self, job: JobSnapshot) -> PodSnapshot | None:
        pods = await self.cluster.list_pods(self.namespace, self.labels)
        return next((pod for pod in pods.items if pod.job_uid == job.ref.uid), None)

    async def wait_until_running(self, job: JobSnapshot) -> PodSnapshot:
        """Wait for the Job's Pod until its container runs or has ended."""

        async def find() -> PodSnapshot | None:
            pod = await self.pod_of(job)
            agent = pod.agent if pod else None
            return pod if agent and isinstance(agent.state, (Running, Terminated)) else None

        return await self.until(find)

    async def wait_until_ended(self, job: JobSnapshot) -> tuple[PodSnapshot, Terminated]:
        """Wait until the container of the Job's Pod has ended."""

        async def find() -> tuple[PodSnapshot, Terminated] | None:
            pod = await self.pod_of(job)
            agent = pod.agent if pod else None
            return (pod, agent.state) if pod and agent and isinstance(agent.state, Terminated) else None

        return await self.until(find)

    async def delete_jobs(self) -> None:
        """Delete all Jobs of this test."""
        for job in (await self.cluster.list_jobs(self.namespace, self.labels)).items:
            await self.cluster.delete_job(job.ref, "Background")


@asynccontextmanager
async def memory_cluster(folder: Path) -> AsyncIterator[ContractCluster]:
    pod_scripts: dict[str, PodScript] = {}
    async with FakeCluster.start(
        folder, lambda pod: pod_scripts[pod["metadata"]["labels"]["job-name"]]
    ) as fake:
        yield ContractCluster(fake.gateway, "paperclip", pod_scripts=pod_scripts)


@asynccontextmanager
async def dev_cluster() -> AsyncIterator[ContractCluster]:
    async with DevCluster.start() as dev, open_gateway(str(dev.kubeconfig)) as gateway:
        yield ContractCluster(gateway, dev.namespace)


@asynccontextmanager
async def real_cluster(kubeconfig: str) -> AsyncIterator[ContractCluster]:
    async with open_gateway(kubeconfig) as gateway:
        tested = ContractCluster(gateway, await gateway.default_namespace() or "paperclip")
        try:
            yield tested
        finally:
            await tested.delete_jobs()


@asynccontextmanager
async def open_gateway(kubeconfig: str) -> AsyncIterator[Gateway]:
    gateway = Gateway(kubeconfig)
    try:
        yield gateway
    finally:
        await gateway.close()
