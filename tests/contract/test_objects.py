"""What every `Cluster` does with Jobs, Secrets, Leases and Events: create, read, change, delete."""

import asyncio
from typing import Any

import pytest
from tests.support.clusters import World

from paperclip_claude_k8s.cluster.model import JobRef, JsonObject, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import Access, ClusterError


async def test_missing_objects_are_none_or_false(world: World) -> None:
    cluster, ns = world.cluster, world.namespace
    assert await cluster.read_job(ns, "missing") is None
    assert await cluster.read_pod(ns, "missing") is None
    assert await cluster.read_lease(ns, "missing") is None
    assert await cluster.read_secret(ns, "missing") is None
    assert await cluster.claim_access_modes(ns, "missing") is None
    assert await cluster.home_pod(ns, "missing", "x") is None
    ref = JobRef(ns, "missing", "00000000-0000-4000-8000-000000000000")
    assert await cluster.delete_job(ref, "Background") is False
    nothing = SecretSnapshot(ns, "missing", ref.uid)
    assert await cluster.delete_secret(nothing) is False
    assert await cluster.patch_secret(nothing, [{"op": "add", "path": "/data/a", "value": ""}]) is False
    assert await cluster.delete_lease(ns, "missing", "1") is False
    assert await cluster.patch_job(ref, [{"op": "add", "path": "/metadata/labels/a", "value": "b"}]) is None


async def test_delete_of_a_missing_pod_is_false_or_forbidden(world: World) -> None:
    """Runs can do without the right to delete Pods, so the account may lack it: then the status is 403."""
    granted = await world.cluster.may(world.namespace, Access("delete", "pods"))
    missing = PodSnapshot(world.namespace, "missing", "00000000-0000-4000-8000-000000000000")
    try:
        deleted = await world.cluster.delete_pod(missing)
    except ClusterError as error:
        assert error.status == 403
        assert not granted
    else:
        assert deleted is False


async def test_created_job_is_read_back(world: World) -> None:
    made = await world.cluster.create_job(world.namespace, world.job("made"))
    there = await world.cluster.read_job(world.namespace, made.ref.name)
    assert there is not None
    assert there.ref == made.ref
    assert there.labels.items() >= world.labels.items()
    assert there.image == world.image
    assert there.created is not None
    assert not there.deleting


async def test_create_with_a_taken_name_is_a_conflict(world: World) -> None:
    await world.cluster.create_job(world.namespace, world.job("twice"))
    with pytest.raises(ClusterError) as caught:
        await world.cluster.create_job(world.namespace, world.job("twice"))
    assert caught.value.status == 409
    assert "already exists" in caught.value.message


async def test_invalid_job_carries_the_servers_message(world: World) -> None:
    broken = world.job("broken")
    broken["metadata"]["labels"]["bad"] = "not a label!"
    with pytest.raises(ClusterError) as caught:
        await world.cluster.create_job(world.namespace, broken)
    assert caught.value.status == 422
    assert "not a label!" in caught.value.message


async def test_dry_run_creates_nothing(world: World) -> None:
    dry = await world.cluster.create_job(world.namespace, world.job("dry"), dry_run=True)
    assert dry.created is not None, "the environment test reads the server's clock from it"
    assert await world.cluster.read_job(world.namespace, world.name("dry")) is None


async def test_list_selects_by_labels(world: World) -> None:
    await world.cluster.create_job(world.namespace, world.job("one"))
    await world.cluster.create_job(world.namespace, world.job("two"))
    listing = await world.cluster.list_jobs(world.namespace, world.labels)
    assert {job.ref.name for job in listing.items} == {world.name("one"), world.name("two")}
    assert listing.resource_version
    assert (await world.cluster.list_jobs(world.namespace, {"contract-test": "missing"})).items == ()


async def test_delete_with_another_uid_is_false(world: World) -> None:
    made = await world.cluster.create_job(world.namespace, world.job("namesake", runs=5))
    stale = JobRef(made.ref.namespace, made.ref.name, "00000000-0000-4000-8000-000000000000")
    assert await world.cluster.delete_job(stale, "Background") is False
    assert await world.cluster.read_job(world.namespace, made.ref.name) is not None
    assert await world.cluster.delete_job(made.ref, "Background") is True


async def test_patch_is_applied_only_if_its_test_succeeds(world: World) -> None:
    made = await world.cluster.create_job(world.namespace, world.job("patched", runs=5))
    change: JsonObject = {"op": "add", "path": "/metadata/labels/relabelled", "value": "yes"}
    stale: JsonObject = {"op": "test", "path": "/metadata/labels/contract-test", "value": "another test's id"}
    with pytest.raises(ClusterError) as caught:
        await world.cluster.patch_job(made.ref, [stale, change])
    assert caught.value.status in {409, 422}
    mine = {**stale, "value": world.test_id}
    patched = await world.cluster.patch_job(made.ref, [mine, change])
    assert patched is not None
    assert patched.labels["relabelled"] == "yes"


async def test_secret_is_created_once_and_deleted_with_its_job(world: World) -> None:
    made = await world.cluster.create_job(world.namespace, world.job("owner", runs=30))
    name = world.name("secret")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": made.ref.name, "uid": made.ref.uid}
    meta = {"name": name, "namespace": world.namespace, "ownerReferences": [owner]}
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "stringData": {"a": "b"},
    }
    created = await world.cluster.create_secret(world.namespace, secret)
    assert created.owners == (made.ref.uid,)
    assert await world.cluster.read_secret(world.namespace, name) == created
    with pytest.raises(ClusterError) as caught:
        await world.cluster.create_secret(world.namespace, secret)
    assert caught.value.status == 409
    await world.cluster.delete_job(made.ref, "Background")

    async def gone() -> bool:
        return await world.cluster.read_secret(world.namespace, name) is None

    await world.until(gone)


async def test_error_about_a_secret_does_not_quote_it(world: World) -> None:
    meta = {"name": "Not A Name", "namespace": world.namespace}
    secret: dict[str, Any] = {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": meta,
        "stringData": {"k": "canary"},
    }
    with pytest.raises(ClusterError) as caught:
        await world.cluster.create_secret(world.namespace, secret)
    assert "canary" not in str(caught.value)


async def test_second_writer_of_a_lease_version_fails(world: World) -> None:
    name = world.name("lease")
    meta = {"name": name, "namespace": world.namespace, "labels": dict(world.labels)}
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta,
        "spec": {"holderIdentity": "first", "leaseDurationSeconds": 60},
    }
    made = await world.cluster.create_lease(world.namespace, lease)
    with pytest.raises(ClusterError) as taken:
        await world.cluster.create_lease(world.namespace, lease)
    assert taken.value.status == 409

    def written_by(holder: str) -> dict[str, Any]:
        versioned = {**meta, "resourceVersion": made.resource_version}
        return {**lease, "metadata": versioned, "spec": {**lease["spec"], "holderIdentity": holder}}

    newer = await world.cluster.replace_lease(world.namespace, written_by("second"))
    assert newer.holder == "second"
    with pytest.raises(ClusterError) as lost:
        await world.cluster.replace_lease(world.namespace, written_by("third"))
    assert lost.value.status == 409
    assert [
        found.holder for found in (await world.cluster.list_leases(world.namespace, world.labels)).items
    ] == ["second"]
    assert await world.cluster.delete_lease(world.namespace, name, made.resource_version) is False
    assert await world.cluster.delete_lease(world.namespace, name, newer.resource_version) is True


async def test_access_review_grants_the_rights_of_runs(world: World) -> None:
    assert await world.cluster.may(world.namespace, Access("create", "jobs", "batch"))
    assert await world.cluster.may(world.namespace, Access("get", "pods", subresource="log"))


async def test_server_version_is_at_least_1_20(world: World) -> None:
    major, minor = await world.cluster.server_version()
    assert major == 1
    assert minor >= 20


async def test_events_of_an_object_are_listed(world: World) -> None:
    made = await world.cluster.create_job(world.namespace, world.job("events"))

    async def listed() -> bool:
        events = await world.cluster.list_events(world.namespace, made.ref.uid)
        return any(event.reason == "SuccessfulCreate" for event in events)

    await world.until(listed)


async def test_cluster_is_usable_after_a_cancelled_call(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        call = group.create_task(world.cluster.list_jobs(world.namespace, {}))
        await asyncio.sleep(0)
        call.cancel()
    assert await world.cluster.read_job(world.namespace, "missing") is None
