"""Volumes for claims on a real cluster without a provisioner: folders of this machine."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.programs import as_admin
from tests.support.real_namespace import NAMESPACE

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.identity import identify
from paperclip_claude_k8s.plan.session_volume import claim_name
from paperclip_claude_k8s.testing import HostLog


def claim_of_auto(agent: str, company: str = "co", **config: str) -> str:
    """The name of the claim that `sessionVolume` auto creates for this agent."""
    given = {"runId": "r", "agent": {"id": agent, "companyId": company}, "config": {}}
    identity = identify(ExecutionContext.read({**given, "onLog": HostLog().on_log}))
    assert identity is not None
    return claim_name(AdapterConfig.read({"sessionVolume": "auto", **config}), identity)


def static_volume(name: str, folder: Path, namespace: str, claim: str, mode: str) -> dict[str, Any]:
    """The manifest of a PersistentVolume in this folder, to which only this claim can be bound."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": [mode],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": namespace, "name": claim},
        },
    }


@asynccontextmanager
async def volume_for(claim: str, mode: str = "ReadWriteOnce") -> AsyncIterator[Path]:
    """A volume to which only this claim can be bound. Both are deleted at the end of the block."""
    folder = Path(os.environ["SHARED_VOLUME_FOR_TESTS"]).with_name(f"volume-{NAMESPACE}-{claim}")
    folder.mkdir()
    folder.chmod(0o777)
    volume = static_volume(folder.name, folder, NAMESPACE, claim, mode)
    await as_admin("apply", "-f", "-", stdin=json.dumps(volume))
    try:
        yield folder
    finally:
        await as_admin("delete", "pvc", claim, "--ignore-not-found", "--timeout=60s")
        await as_admin("delete", "pv", folder.name, "--ignore-not-found", "--timeout=60s")
        shutil.rmtree(folder, ignore_errors=True)
