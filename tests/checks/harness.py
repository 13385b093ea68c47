"""Runs the environment test as a host does whose home pod is on a cluster in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster.kinds import PODS, SECRETS
from paperclip_claude_k8s.host.checkup import Check, Checkup
from paperclip_claude_k8s.ports import ProcessSettings, utc_now
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript

HOME_ENV = {"HOSTNAME": "paperclip-0", "PAPERCLIP_NAMESPACE": NAMESPACE}
Object = dict[str, Any]


def home_spec() -> Object:
    """Return the spec of a home pod. Jobs take over its image, env, Secrets and volume."""
    container: Object = {
        "name": "paperclip",
        "image": "home/image:1",
        "env": [{"name": "ANTHROPIC_API_KEY", "value": "canary-key-0123456789"}],
        "envFrom": [{"secretRef": {"name": "paperclip-secrets"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/paperclip"}],
    }
    return {
        "containers": [container],
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}}],
    }


@dataclass(slots=True)
class Harness:
    """An adapter on a cluster in memory. Tests may change `home` and `secrets` before `create_objects`."""

    fake: FakeCluster
    adapter: Adapter
    home: Object = field(default_factory=home_spec)
    """Spec of the home pod."""
    secrets: tuple[str, ...] = ("paperclip-secrets", "registry")
    """Names of the Secrets that exist."""

    def create_objects(self) -> None:
        meta = {"name": "paperclip-0", "namespace": NAMESPACE}
        self.fake.store.create(PODS, {"metadata": meta, "spec": self.home, "status": {}})
        for name in self.secrets:
            self.fake.store.create(SECRETS, {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {}})

    async def test(self, config: Object | None = None, **more: Any) -> Checkup:
        """Run the environment test; `more` are further keys of its context."""
        if self.fake.store.find(PODS, NAMESPACE, "paperclip-0") is None:
            self.create_objects()
        context = {"companyId": "co", "adapterType": "claude_k8s", "config": config or {}, **more}
        return await self.adapter.test_environment(context)


@asynccontextmanager
async def open_harness(
    folder: Path,
    pod_script: PodScript | Callable[[Object], PodScript] | None = None,
    now: Callable[[], datetime] = utc_now,
    cluster: Cluster | None = None,
) -> AsyncIterator[Harness]:
    async with FakeCluster.start(folder, pod_script) as fake:
        adapter = Adapter(
            ProcessSettings(env=HOME_ENV, now=now), lambda _source, _settings: cluster or fake.gateway
        )
        try:
            yield Harness(fake, adapter)
        finally:
            await adapter.shutdown()


def check_of(checkup: Checkup, code: str) -> Check:
    """Return the only check with that code."""
    (match,) = (check for check in checkup.checks if check.code == code)
    return match


def problems(checkup: Checkup) -> list[Check]:
    """Return the checks that are warnings or errors."""
    return [check for check in checkup.checks if check.level != "info"]
