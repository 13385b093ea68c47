"""What every implementation of `Cluster` does with Jobs, Secrets, Leases and Events."""

import asyncio
from typing import Any

import pytest
from tests.support.clusters import ContractCluster

from paperclip_claude_k8s.cluster.job_event_objects import JobEvent, event_manifest
from paperclip_claude_k8s.cluster.model import JobRef, JsonObject, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import Access, ClusterError
from paperclip_claude_k8s.ports import utc_now


async def test_missing_objects_are_none_or_false(tested: ContractCluster) -> None:
    cluster, ns = tested.cluster, tested.namespace
    assert await cluster.read_job(ns, "missing") is None
    assert await cluster.read_pod(ns, "missing") is None
    assert await cluster.read_lease(ns, "missing") is None
    assert await cluster.read_secret(ns, "missing") is None
    assert await cluster.read_claim(ns, "missing") is None
    assert await cluster.home_pod(ns, "missing", "x") is None
    ref = JobRef(ns, "missing", "00000000-0000-4000-8000-000000000000")
    assert await cluster.delete_job(ref, "Background") is False
    nothing = SecretSnapshot(ns, "missing", ref.uid)
    assert await cluster.delete_secret(nothing) is False
    assert await cluster.patch_secret(nothing, [{"op": "add", "path": "/data/a", "value": ""}]) is False
    assert await cluster.delete_lease(ns, "missing", "1") is False
    assert await cluster.patch_job(ref, [{"op": "add", "path": "/metadata/labels/a", "value": "b"}]) is None


async def test_delete_of_a_missing_pod_is_false_or_forbidden(tested: ContractCluster) -> None:
    """Runs can do without the right to delete Pods, so the account may lack it: then the status is 403."""
    granted = await tested.cluster.may(tested.namespace, Access("delete", "pods"))
    missing = PodSnapshot(tested.namespace, "missing", "00000000-0000-4000-8000-000000000000")
    try:
        deleted = await tested.cluster.delete_pod(missing)
    except ClusterError as error:
        assert error.status == 403
        assert not granted
    else:
        assert deleted is False


async def test_created_job_is_read_back(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("made"))
    stored = await tested.cluster.read_job(tested.namespace, made.ref.name)
    assert stored is not None
    assert stored.ref == made.ref
    assert stored.labels.items() >= tested.labels.items()
    assert stored.image == tested.image
    assert stored.created is not None
    assert not stored.deleting


async def test_create_with_a_taken_name_is_a_conflict(tested: ContractCluster) -> None:
    await tested.cluster.create_job(tested.namespace, tested.job("twice"))
    with pytest.raises(ClusterError) as caught:
        await tested.cluster.create_job(tested.namespace, tested.job("twice"))
    assert caught.value.status == 409
    assert "already exists" in caught.value.message


async def test_error_of_an_invalid_job_has_the_message_of_the_server(tested: ContractCluster) -> None:
    broken = tested.job("broken")
    broken["metadata"]["labels"]["bad"] = "not a label!"
    with pytest.raises(ClusterError) as caught:
        await tested.cluster.create_job(tested.namespace, broken)
    assert caught.value.status == 422
    assert "not a label!" in caught.value.message


async def test_dry_run_creates_nothing(tested: ContractCluster) -> None:
    dry = await tested.cluster.create_job(tested.namespace, tested.job("dry"), dry_run=True)
    assert dry.created is not None, "the environment test reads the server's clock from it"
    assert await tested.cluster.read_job(tested.namespace, tested.name("dry")) is None


async def test_list_selects_by_labels(tested: ContractCluster) -> None:
    await tested.cluster.create_job(tested.namespace, tested.job("one"))
    await tested.cluster.create_job(tested.namespace, tested.job("two"))
    listing = await tested.cluster.list_jobs(tested.namespace, tested.labels)
    assert {job.ref.name for job in listing.items} == {tested.name("one"), tested.name("two")}
    assert listing.resource_version
    assert (await tested.cluster.list_jobs(tested.namespace, {"contract-test": "missing"})).items == ()


async def test_delete_with_another_uid_is_false(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("namesake", runs_for=5))
    stale = JobRef(made.ref.namespace, made.ref.name, "00000000-0000-4000-8000-000000000000")
    assert await tested.cluster.delete_job(stale, "Background") is False
    assert await tested.cluster.read_job(tested.namespace, made.ref.name) is not None
    assert await tested.cluster.delete_job(made.ref, "Background") is True


async def test_patch_is_applied_only_if_its_test_succeeds(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("patched", runs_for=5))
    change: JsonObject = {"op": "add", "path": "/metadata/labels/relabelled", "value": "yes"}
    stale: JsonObject = {"op": "test", "path": "/metadata/labels/contract-test", "value": "another test's id"}
    with pytest.raises(ClusterError) as caught:
        await tested.cluster.patch_job(made.ref, [stale, change])
    assert caught.value.status in {409, 422}
    mine = {**stale, "value": tested.test_id}
    patched = await tested.cluster.patch_job(made.ref, [mine, change])
    assert patched is not None
    assert patched.labels["relabelled"] == "yes"


async def test_secret_is_created_once_and_deleted_with_its_job(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("owner", runs_for=30))
    name = tested.name("secret")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": made.ref.name, "uid": made.ref.uid}
    meta = {"name": name, "namespace": tested.namespace, "ownerReferences": [owner]}
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "stringData": {"a": "b"},
    }
    created = await tested.cluster.create_secret(tested.namespace, secret)
    assert created.owners == (made.ref.uid,)
    assert await tested.cluster.read_secret(tested.namespace, name) == created
    with pytest.raises(ClusterError) as caught:
        await tested.cluster.create_secret(tested.namespace, secret)
    assert caught.value.status == 409
    await tested.cluster.delete_job(made.ref, "Background")

    async def deleted() -> bool:
        return await tested.cluster.read_secret(tested.namespace, name) is None

    await tested.until(deleted)


async def test_error_about_a_secret_does_not_quote_it(tested: ContractCluster) -> None:
    meta = {"name": "Not A Name", "namespace": tested.namespace}
    secret: dict[str, Any] = {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": meta,
        "stringData": {"k": "canary"},
    }
    with pytest.raises(ClusterError) as caught:
        await tested.cluster.create_secret(tested.namespace, secret)
    assert "canary" not in str(caught.value)


async def test_second_writer_of_a_lease_version_fails(tested: ContractCluster) -> None:
    name = tested.name("lease")
    meta = {"name": name, "namespace": tested.namespace, "labels": dict(tested.labels)}
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta,
        "spec": {"holderIdentity": "first", "leaseDurationSeconds": 60},
    }
    made = await tested.cluster.create_lease(tested.namespace, lease)
    with pytest.raises(ClusterError) as name_conflict:
        await tested.cluster.create_lease(tested.namespace, lease)
    assert name_conflict.value.status == 409

    def written_by(holder: str) -> dict[str, Any]:
        versioned = {**meta, "resourceVersion": made.resource_version}
        return {**lease, "metadata": versioned, "spec": {**lease["spec"], "holderIdentity": holder}}

    newer = await tested.cluster.replace_lease(tested.namespace, written_by("second"))
    assert newer.holder == "second"
    with pytest.raises(ClusterError) as version_conflict:
        await tested.cluster.replace_lease(tested.namespace, written_by("third"))
    assert version_conflict.value.status == 409
    assert [
        found.holder for found in (await tested.cluster.list_leases(tested.namespace, tested.labels)).items
    ] == ["second"]
    assert await tested.cluster.delete_lease(tested.namespace, name, made.resource_version) is False
    assert await tested.cluster.delete_lease(tested.namespace, name, newer.resource_version) is True


async def test_access_review_grants_the_rights_of_runs(tested: ContractCluster) -> None:
    assert await tested.cluster.may(tested.namespace, Access("create", "jobs", "batch"))
    assert await tested.cluster.may(tested.namespace, Access("get", "pods", subresource="log"))


async def test_server_version_is_at_least_1_20(tested: ContractCluster) -> None:
    major, minor = await tested.cluster.server_version()
    assert major == 1
    assert minor >= 20


async def test_event_about_a_job_is_created_and_listed(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("own-event"))
    event = JobEvent("Adopted", "run r continues with this Job", warning=True)
    try:
        await tested.cluster.create_event(tested.namespace, event_manifest(made.ref, event, utc_now()))
    except ClusterError as error:
        assert error.lacks_right  # the Role of the tests need not have this optional right
        return
    events = await tested.cluster.list_events(tested.namespace, made.ref.uid)
    assert ("Warning", "Adopted") in [(found.type, found.reason) for found in events]


async def test_events_of_an_object_are_listed(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("events"))

    async def listed() -> bool:
        events = await tested.cluster.list_events(tested.namespace, made.ref.uid)
        return any(event.reason == "SuccessfulCreate" for event in events)

    await tested.until(listed)


async def test_cluster_is_usable_after_a_cancelled_call(tested: ContractCluster) -> None:
    async with asyncio.TaskGroup() as group:
        call = group.create_task(tested.cluster.list_jobs(tested.namespace, {}))
        await asyncio.sleep(0)
        call.cancel()
    assert await tested.cluster.read_job(tested.namespace, "missing") is None
