"""PersistentVolumeClaims on a cluster in memory, as the gateway sees them, and `claude-k8s volumes`."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, one_host

from paperclip_claude_k8s.cli.volumes_command import prune_unused
from paperclip_claude_k8s.cluster.model import ClaimSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.devcluster.kinds import CLAIMS, PODS
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster

pytestmark = pytest.mark.looptime


def manifest(name: str = "c", mode: str = "ReadWriteOnce", size: object = "1Gi") -> dict[str, Any]:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name, "labels": {"team": "blue"}}, "spec": spec}


async def create_claim(fake: FakeCluster, name: str = "c") -> ClaimSnapshot:
    """Create a claim; return its snapshot after it was bound."""
    await fake.gateway.create_claim(NAMESPACE, manifest(name))
    await asyncio.sleep(0.1)
    found = await fake.gateway.read_claim(NAMESPACE, name)
    assert found is not None
    return found


async def test_created_claim_is_bound_and_listed_and_cannot_be_created_again(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        dry_run = await fake.gateway.create_claim(NAMESPACE, manifest(), dry_run=True)
        assert dry_run.name == "c"
        assert await fake.gateway.read_claim(NAMESPACE, "c") is None
        claim = await create_claim(fake)
        assert (claim.phase, claim.access_modes, claim.size) == ("Bound", ("ReadWriteOnce",), "1Gi")
        with pytest.raises(ClusterError) as refused:
            await fake.gateway.create_claim(NAMESPACE, manifest())
        assert refused.value.conflict
        listed = await fake.gateway.list_claims(NAMESPACE, {"team": "blue"})
        assert [item.uid for item in listed.items] == [claim.uid]


INVALID_SIZES = ("big", None, 0, "0", "0Gi", "+0.0e3", "-1Gi")


@pytest.mark.parametrize("wrong", [manifest(mode="Any"), *(manifest(size=size) for size in INVALID_SIZES)])
async def test_claim_with_an_invalid_mode_or_size_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        with pytest.raises(ClusterError) as refused:
            await fake.gateway.create_claim(NAMESPACE, wrong)
        assert refused.value.invalid


async def test_claim_is_not_deleted_if_it_has_changed_since_it_was_read(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        old = await create_claim(fake)
        patch: list[dict[str, object]] = [{"op": "add", "path": "/metadata/annotations/x", "value": "y"}]
        new = await fake.gateway.patch_claim(old, patch)
        assert new is not None
        assert not await fake.gateway.delete_claim(old)
        assert await fake.gateway.delete_claim(new)
        await asyncio.sleep(0.1)
        assert await fake.gateway.read_claim(NAMESPACE, "c") is None
        assert await fake.gateway.patch_claim(new, patch) is None


async def test_spec_of_a_claim_cannot_be_changed(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        claim = await create_claim(fake)
        patch: list[dict[str, object]] = [
            {"op": "replace", "path": "/spec/accessModes", "value": ["ReadWriteMany"]}
        ]
        with pytest.raises(ClusterError) as refused:
            await fake.gateway.patch_claim(claim, patch)
        assert refused.value.invalid


async def test_deleted_claim_exists_until_the_pod_that_uses_it_is_removed(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        claim = await create_claim(fake)
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
        spec = {
            "containers": [{"name": "a", "image": "x"}],
            "volumes": [volume],
            "nodeSelector": {"no": "node"},  # so that the Pod is not started
        }
        meta = {"name": "p", "namespace": NAMESPACE}
        fake.store.create(PODS, {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})
        assert await fake.gateway.delete_claim(claim)
        await asyncio.sleep(1)
        in_use = await fake.gateway.read_claim(NAMESPACE, "c")
        assert in_use is not None
        assert in_use.deleting
        fake.store.remove(PODS, NAMESPACE, "p")
        await asyncio.sleep(0.1)
        assert await fake.gateway.read_claim(NAMESPACE, "c") is None


def ports_after_days(days: float, fake: FakeCluster) -> Ports:
    """Return the ports of a command that is called so many days from now."""
    settings = ProcessSettings(now=lambda: datetime.now(UTC) + timedelta(days=days))
    return Process(settings, lambda _source, _settings: fake.gateway).ports("fake", None)


async def test_prune_removes_only_unused_claims_of_session_volume_auto(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        await create_claim(fake, "of-somebody-else")
        await run(config={"sessionVolume": "auto"})
        (claim,) = [c["metadata"]["name"] for c in fake.store.list(CLAIMS) if "ac-" in c["metadata"]["name"]]
        month = timedelta(days=30)
        early = await prune_unused(NAMESPACE, ports_after_days(29, fake), month, dry_run=False)
        assert (early["removed"], list(early["kept"])) == ([], [claim])
        dry = await prune_unused(NAMESPACE, ports_after_days(31, fake), month, dry_run=True)
        assert dry["removed"] == [claim]
        assert fake.store.find(CLAIMS, NAMESPACE, claim) is not None
        late = await prune_unused(NAMESPACE, ports_after_days(31, fake), month, dry_run=False)
        assert late["removed"] == [claim]
        await asyncio.sleep(0.1)
        names = {c["metadata"]["name"] for c in fake.store.list(CLAIMS)}
        assert names == {"paperclip-data", "of-somebody-else"}


async def test_claim_that_a_run_begins_to_use_during_prune_is_not_removed(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        await run(config={"sessionVolume": "auto"})

        def mark_claims(verb: str, resource: str) -> None:
            if (verb, resource) == ("list", "pods"):  # `prune` has listed the claims before

                def change(claim: dict[str, Any]) -> None:
                    claim["metadata"]["annotations"]["paperclip.io/last-run"] = "run-2"

                for claim in list(fake.store.list(CLAIMS)):
                    if claim["metadata"]["name"].startswith("ac-"):
                        fake.store.update(CLAIMS, NAMESPACE, claim["metadata"]["name"], change)

        fake.faults.request_hooks.append(mark_claims)
        result = await prune_unused(NAMESPACE, ports_after_days(31, fake), timedelta(days=30), dry_run=False)
        assert result["removed"] == []
        (reason,) = result["kept"].values()
        assert "a run began to use it" in reason
