"""Runs with `sessionVolume`: the claim exists before the Job, and results tell whether sessions are kept."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, SESSION, count_jobs, one_host

from paperclip_claude_k8s.devcluster.kinds import CLAIMS, PODS
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog

pytestmark = pytest.mark.looptime
AUTO = {"sessionVolume": "auto"}


def list_claims(fake: FakeCluster) -> list[dict[str, Any]]:
    return [claim for claim in fake.store.list(CLAIMS) if claim["metadata"]["name"].startswith("ac-sessions")]


def session_of(result: ExecutionResult) -> dict[str, Any]:
    assert result.result_json is not None, result.error_message
    session: dict[str, Any] = result.result_json["session"]
    return session


def warnings_of(result: ExecutionResult) -> str:
    return str((result.result_json or {}).get("warnings") or "")


async def test_auto_creates_one_claim_before_the_job_and_resumes_from_it(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        first, log = await run(config=AUTO)
        made = [(verb, what) for verb, what, _ in fake.calls.made if verb == "create"]
        assert made.index(("create", "persistentvolumeclaims")) < made.index(("create", "jobs"))
        assert "Created claim ac-sessions-" in log.status
        assert session_of(first)["kept"] is True
        second, _ = await run(config=AUTO, runId="run-2", runtime={"sessionParams": first.session_params})
        assert session_of(second)["resumed"] is True
        (claim,) = list_claims(fake)
        assert claim["metadata"]["annotations"]["paperclip.io/last-run"] == "run-2"
        assert fake.calls.count("create", "persistentvolumeclaims") == 1


async def test_claim_created_by_auto_is_marked_as_used_if_a_config_names_it(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        await run(config=AUTO)
        name = list_claims(fake)[0]["metadata"]["name"]
        result, log = await run(config={"sessionVolume": name}, runId="run-2")
        assert result.error_message is None, log.status
        assert list_claims(fake)[0]["metadata"]["annotations"]["paperclip.io/last-run"] == "run-2"


@pytest.mark.parametrize("key", ["claimName", "podTemplate"])
@pytest.mark.parametrize("session_volume", ["shared", "auto", "none"])
async def test_claim_created_by_auto_is_marked_as_used_if_it_is_mounted_otherwise(
    tmp_path: Path, key: str, session_volume: str
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        await run(config=AUTO, agent={"id": "other"})
        name = list_claims(fake)[0]["metadata"]["name"]
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": name}}
        config: dict[str, Any] = {"podTemplate": {"spec": {"volumes": [volume]}}}
        if key == "claimName":
            config = {"claimName": name}
        result, log = await run(config={**config, "sessionVolume": session_volume}, runId="run-2")
        assert result.error_message is None, log.status
        claim = next(claim for claim in list_claims(fake) if claim["metadata"]["name"] == name)
        assert claim["metadata"]["annotations"]["paperclip.io/last-run"] == "run-2"


async def test_claim_that_another_run_created_first_is_used(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):

        def create_first(verb: str, resource: str) -> None:
            if (verb, resource) == ("create", "persistentvolumeclaims") and not list_claims(fake):
                fake.faults.request_hooks.remove(create_first)
                body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                name = next(name for *call, name in fake.calls.made if call == ["get", resource] and name)
                fake.store.create(CLAIMS, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": body})

        fake.faults.request_hooks.append(create_first)
        result, log = await run(config=AUTO)
        assert result.error_message is None, log.status
        assert len(list_claims(fake)) == 1


async def test_claim_being_deleted_blocks_runs_and_is_then_created_anew(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        first, _ = await run(config=AUTO)
        (old,) = list_claims(fake)
        name = old["metadata"]["name"]
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
        spec: dict[str, Any] = {"containers": [{"name": "debug", "image": "x"}], "volumes": [volume]}
        spec["nodeSelector"] = {"no": "node"}
        meta = {"name": "debugger", "namespace": NAMESPACE}  # a claim stays as long as a Pod mounts it
        fake.store.create(PODS, {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})
        found = await fake.gateway.read_claim(NAMESPACE, name)
        assert found is not None
        assert await fake.gateway.delete_claim(found)
        blocked, _ = await run(config={**AUTO, "terminatingWaitSec": 5}, runId="run-2")
        assert blocked.error_code == "k8s_session_volume_unavailable"
        assert "has not been deleted" in (blocked.error_message or "")
        fake.store.remove(PODS, NAMESPACE, "debugger")
        third, log = await run(config=AUTO, runId="run-3", runtime={"sessionParams": first.session_params})
        assert third.error_message is None, log.status
        (new,) = list_claims(fake)
        assert new["metadata"]["uid"] != old["metadata"]["uid"]


async def test_session_of_a_removed_claim_is_not_resumed(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        first, _ = await run(config=AUTO)
        fake.store.remove(CLAIMS, NAMESPACE, list_claims(fake)[0]["metadata"]["name"])
        second, log = await run(config=AUTO, runId="run-2", runtime={"sessionParams": first.session_params})
        assert session_of(second)["resumed"] is False
        assert "no longer exists" in session_of(second)["whyNotResumed"]
        assert "session_not_resumed" in warnings_of(second)
        assert "Starting a fresh session" in log.status


async def test_session_is_not_kept_without_the_right_to_create_claims(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.denied.add(("create", "persistentvolumeclaims"))
        result, log = await run(config=AUTO, runtime={"sessionId": SESSION})
        assert result.error_message is None
        assert session_of(result)["kept"] is False
        assert "session_not_kept" in warnings_of(result)
        assert "this account may not create its claim" in log.status
        assert count_jobs(fake) == 0


@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_claim_is_used_without_the_rights_to_read_or_mark_it(tmp_path: Path, verb: str) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        first, _ = await run(config=AUTO)
        fake.faults.denied.add((verb, "persistentvolumeclaims"))
        second, log = await run(config=AUTO, runId="run-2", runtime={"sessionParams": first.session_params})
        assert second.error_message is None, log.status
        assert session_of(second)["resumed"] is True
        assert len(list_claims(fake)) == 1


async def test_run_creates_no_job_if_a_quota_forbids_its_claim(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):

        def refuse(verb: str, resource: str) -> None:
            if (verb, resource) == ("create", "persistentvolumeclaims"):
                raise Problem(403, "Forbidden", "exceeded quota: storage, requested: requests.storage=10Gi")

        fake.faults.request_hooks.append(refuse)
        result, _ = await run(config=AUTO)
        assert result.error_code == "k8s_session_volume_unavailable"
        assert result.error_family == "transient_upstream"
        assert "volumes prune" in (result.error_message or "")
        assert fake.calls.count("create", "jobs") == 0


async def test_run_creates_no_job_if_the_claim_of_its_config_is_missing(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, _ = await run(config={"sessionVolume": "nowhere"})
        assert result.error_code == "k8s_session_volume_unavailable"
        assert "claim nowhere, which does not exist" in (result.error_message or "")
        assert fake.calls.count("create", "jobs") == 0


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"sessionVolume": "none"}, "sessionVolume is none"),
        ({}, "sessionVolume is shared, and no claim is mounted at /paperclip"),
    ],
)
async def test_session_that_is_not_kept_is_never_resumed(
    tmp_path: Path, config: dict[str, Any], why: str
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, log = await run(HostLog(), config=config, runtime={"sessionId": SESSION})
        assert fake.calls.count("create", "jobs") == 1
        assert session_of(result) == {
            "volume": config.get("sessionVolume", "shared"),
            "kept": False,
            "resumed": False,
            "whyNotKept": why,
            "whyNotResumed": why,
        }
        assert f"session_not_resumed: the host's session was not resumed: {why}" in warnings_of(result)
        assert f"The session ends with its Pod: {why}" in log.status
