"""Sites (see `runs.Site`) whose host runs in a Pod (the home Pod) with a shared volume.

The volume is a folder of this machine.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_namespace import NAMESPACE
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.ports import ProcessSettings

STAND_IN = """#!/bin/sh
received=$(mktemp)
cat >"$received"
eval "$CLAUDE_SCRIPT"
code=$?
rm -f "$received"
exit $code
"""
"""A stand-in for the CLI: saves its stdin to the file $received and runs $CLAUDE_SCRIPT."""
RECEIVED_PATH = '"${received:-/tmp/prompt.received}"'
"""Shell word for the path of the saved stdin; the real cluster's stand-in saves it to the fixed path."""
_MOUNTS = [{"name": "v", "mountPath": "/paperclip"}]
_VOLUMES = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]


@dataclass(frozen=True, slots=True)
class Home:
    """A site and the local folder of its shared volume."""

    site: Site
    volume: Path
    dev: DevCluster | None = None
    """The development cluster; None if the site is the real cluster."""


@asynccontextmanager
async def home_on_dev(folder: Path, env: list[dict[str, Any]] | None = None) -> AsyncIterator[Home]:
    """Start a development cluster with a home Pod. `env`: the environment of the host's container."""
    claude = folder / "claude"
    claude.write_text(STAND_IN)
    claude.chmod(0o755)
    async with DevCluster.start(claude) as cluster:
        container = {"name": "paperclip", "image": "local/agent:1", "volumeMounts": _MOUNTS, "env": env or []}
        meta = {"name": "paperclip-0", "namespace": cluster.namespace}
        pod = {"metadata": meta, "spec": {"containers": [container], "volumes": _VOLUMES}, "status": {}}
        cluster.store.create(PODS, pod)
        volume = cluster.folder / "claims" / cluster.namespace / "data"
        volume.mkdir(parents=True, exist_ok=True)
        config = {"kubeconfig": str(cluster.kubeconfig)}
        async with _open("devcluster", config, cluster.namespace, volume) as site:
            yield Home(site, volume, cluster)


@asynccontextmanager
async def home_on_real() -> AsyncIterator[Home]:
    """Use the real cluster, in which the home Pod exists already."""
    volume = os.environ.get("SHARED_VOLUME_FOR_TESTS", "")
    assert volume, "SHARED_VOLUME_FOR_TESTS must name the shared volume's folder on this machine"
    config = {"kubeconfig": os.environ["KUBECONFIG_FOR_TESTS"], "imagePullPolicy": "Never"}
    async with _open("real", config, NAMESPACE, Path(volume)) as site:
        yield Home(site, Path(volume))


@asynccontextmanager
async def _open(name: str, config: dict[str, Any], namespace: str, volume: Path) -> AsyncIterator[Site]:
    env = {"HOSTNAME": "paperclip-0", "PAPERCLIP_NAMESPACE": namespace}
    settings = ProcessSettings(env=env, policy=TEMPORARY_FOLDERS)
    adapter, gateway = Adapter(settings), Gateway(config["kubeconfig"])
    config = {**config, "sharedVolumeDir": str(volume)}
    try:
        yield Site(name, adapter, gateway, namespace, config, capture_ref=str)
    finally:
        await adapter.shutdown()
        await gateway.close()
