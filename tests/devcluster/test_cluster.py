"""The development cluster over HTTP: authentication, Pods and Jobs, kubectl."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.support.programs import kubectl

from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import EVENTS, JOBS, PODS
from paperclip_claude_k8s.devcluster.pod_environment import expand


@pytest.fixture
async def dev() -> AsyncIterator[DevCluster]:
    async with DevCluster.start() as cluster:
        yield cluster


def job(name: str, script: str, **container: Any) -> dict[str, Any]:
    """A Job that runs the shell script. Every `$` is doubled, because Kubernetes expands `$(NAME)`."""
    agent = {"name": "claude", "image": "x", "command": ["sh", "-c", script.replace("$", "$$")], **container}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [agent],
        "terminationGracePeriodSeconds": 1,
    }
    meta = {"name": name, "namespace": "paperclip"}
    return {"metadata": meta, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}


async def wait_for_container_end(dev: DevCluster) -> dict[str, Any]:
    """Wait until the container of a Pod has ended; return its `terminated` state."""
    async with asyncio.timeout(60):
        while True:
            changed = dev.store.next_change()
            for pod in dev.store.list(PODS):
                for status in pod["status"].get("containerStatuses") or []:
                    if "terminated" in status["state"]:
                        terminated: dict[str, Any] = status["state"]["terminated"]
                        return terminated
            await changed.wait()


async def kubectl_output(dev: DevCluster, *arguments: str) -> str:
    return await kubectl(str(dev.kubeconfig), *arguments)


async def test_request_without_the_token_or_with_a_foreign_host_header_is_refused(dev: DevCluster) -> None:
    base, _, token = dev.server_url.rpartition("/")  # kubectl sends no token over HTTP, so the URL has it
    path = "/api/v1/namespaces/paperclip/pods"
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            async with session.get(f"{base}{path}", headers=headers) as response:
                assert response.status == 401
        async with session.get(f"{base}{path}", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 200
        foreign = {"Authorization": f"Bearer {token}", "Host": "evil.example"}
        async with session.get(f"{base}{path}", headers=foreign) as response:
            assert response.status == 403


async def test_server_listens_on_loopback_and_kubeconfig_is_private(dev: DevCluster) -> None:
    assert dev.server_url.startswith("http://127.0.0.1:")
    assert stat.S_IMODE(dev.kubeconfig.stat().st_mode) == 0o600


async def test_cluster_leaves_no_folder_and_no_process_behind(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    async with DevCluster.start() as cluster:
        folder = cluster.folder
        cluster.store.create(
            JOBS, job("sleeper", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 300")
        )
        async with asyncio.timeout(60):
            while not pid_file.exists():  # noqa: ASYNC110  # another process writes it
                await asyncio.sleep(0.02)
    assert not folder.exists()
    assert not (Path("/proc") / pid_file.read_text(encoding="utf-8").strip()).exists()


async def test_pod_environment_contains_nothing_of_this_process(dev: DevCluster) -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$$(A)$(UNSET)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]
    declared = [{"name": "MESSAGE", "value": "/dev/termination-log"}, *env]
    dev.store.create(
        JOBS, job("env", 'echo "$A|$B|$NAME|$(env | grep -c PYTEST)" > "$MESSAGE"', env=declared)
    )
    assert (await wait_for_container_end(dev))["message"] == "1|1$(A)$(UNSET)|paperclip|0\n"


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [("exit 0", 0, "Completed"), ("exit 7", 7, "Error"), ("kill -9 $$", 137, "Error")],
)
async def test_exit_code_and_reason_are_reported_as_by_a_kubelet(
    dev: DevCluster, script: str, code: int, reason: str
) -> None:
    dev.store.create(JOBS, job("ends", script))
    end = await wait_for_container_end(dev)
    assert (end["exitCode"], end["reason"]) == (code, reason)


async def test_policy_fallback_to_logs_on_error_takes_the_message_from_the_log(dev: DevCluster) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    dev.store.create(JOBS, job("fallback", "echo last words; exit 1", **policy))
    assert (await wait_for_container_end(dev))["message"] == "last words"


async def test_job_past_its_deadline_fails_and_its_pod_is_deleted(dev: DevCluster) -> None:
    too_long = job("late", "sleep 60")
    too_long["spec"]["activeDeadlineSeconds"] = 1
    dev.store.create(JOBS, too_long)
    async with asyncio.timeout(60):
        while True:
            changed = dev.store.next_change()
            conditions = dev.store.get(JOBS, "paperclip", "late").get("status", {}).get("conditions") or []
            if conditions and not list(dev.store.list(PODS)):
                break
            await changed.wait()
    assert conditions[0]["reason"] == "DeadlineExceeded"


async def test_suspended_job_has_no_pod_until_it_is_resumed(dev: DevCluster) -> None:
    suspended = job("held", "true")
    suspended["spec"]["suspend"] = True
    dev.store.create(JOBS, suspended)
    await asyncio.sleep(0.2)
    assert list(dev.store.list(PODS)) == []

    def resume(held: dict[str, Any]) -> None:
        held["spec"]["suspend"] = False

    dev.store.update(JOBS, "paperclip", "held", resume)
    assert (await wait_for_container_end(dev))["exitCode"] == 0


async def test_pod_with_a_missing_image_waits_with_reason_and_event(dev: DevCluster) -> None:
    dev.store.create(JOBS, job("pull", "true", image="missing/image:1"))
    async with asyncio.timeout(60):
        while not any(event["reason"] == "Failed" for event in dev.store.list(EVENTS)):
            await dev.store.next_change().wait()
    (pod,) = dev.store.list(PODS)
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull"


async def test_kubectl_lists_and_deletes_objects_and_reads_logs(dev: DevCluster) -> None:
    dev.store.create(JOBS, job("seen", "echo hello from the pod; sleep 30"))
    async with asyncio.timeout(60):
        while "Running" not in await kubectl_output(dev, "get", "jobs,pods"):  # noqa: ASYNC110  # as a person does in a shell
            await asyncio.sleep(0.05)
    table = await kubectl_output(dev, "get", "jobs,pods")
    assert "job.batch/seen" in table
    assert "COMPLETIONS" in table
    assert "READY" in table
    assert "NODE" not in table
    wide = await kubectl_output(dev, "get", "jobs,pods", "-o", "wide")
    assert "IMAGES" in wide
    assert "NODE" in wide
    assert "Created pod: seen-" in await kubectl_output(dev, "describe", "job", "seen")
    assert "hello from the pod" in await kubectl_output(dev, "logs", "job/seen")
    (pod,) = json.loads(await kubectl_output(dev, "get", "pods", "-o", "json"))["items"]
    assert pod["metadata"]["labels"]["job-name"] == "seen"
    await kubectl_output(dev, "delete", "job", "seen")
    assert list(dev.store.list(JOBS)) == []


async def test_kubectl_follows_a_log_to_its_end(dev: DevCluster) -> None:
    dev.store.create(JOBS, job("counts", "for n in 1 2 3; do echo $n; sleep 0.2; done"))
    async with asyncio.timeout(60):
        while not any(pod["status"].get("phase") == "Running" for pod in dev.store.list(PODS)):
            await dev.store.next_change().wait()
    assert await kubectl_output(dev, "logs", "-f", "job/counts") == "1\n2\n3\n"


def test_variable_references_are_expanded_as_by_kubernetes() -> None:
    assert expand("$(A) $$(A) $(B) $A $$$$", {"A": "x"}) == "x $(A) $(B) $A $$"


async def post(dev: DevCluster, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{dev.server_url}{path}", json=body) as response,
    ):
        return response.status, await response.json()


async def test_create_in_a_missing_namespace_is_refused(dev: DevCluster) -> None:
    body = job("no-namespace", "true")
    status, content = await post(dev, "/apis/batch/v1/namespaces/elsewhere/jobs?dryRun=All", body)
    assert (status, content["message"]) == (404, 'namespaces "elsewhere" not found')


@pytest.mark.parametrize(
    ("group", "resource", "allowed"),
    [("batch", "jobs", True), ("", "jobs", False), ("batch", "leases", False), ("", "pods", False)],
)
async def test_access_review_checks_group_and_rights(
    dev: DevCluster, group: str, resource: str, *, allowed: bool
) -> None:
    dev.faults.denied.add(("get", "pods"))
    attributes = {"resourceAttributes": {"verb": "get", "group": group, "resource": resource}}
    status, response = await post(
        dev, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": attributes}
    )
    assert (status, response["status"]["allowed"]) == (201, allowed)


async def test_pod_without_the_labels_of_its_job_is_replaced_and_does_not_count(dev: DevCluster) -> None:
    sleeping_job = job("released", "exec sleep 300")
    sleeping_job["spec"]["podReplacementPolicy"] = "Failed"
    dev.store.create(JOBS, sleeping_job)
    async with asyncio.timeout(60):
        while (pod := next(dev.store.list(PODS), None)) is None:
            await dev.store.next_change().wait()
        meta = pod["metadata"]
        dev.store.update(
            PODS, meta["namespace"], meta["name"], lambda stored: stored["metadata"].update(labels={})
        )
        while len(list(dev.store.list(PODS))) < 2:
            await dev.store.next_change().wait()
    assert "conditions" not in dev.store.get(JOBS, "paperclip", "released")["status"]


async def test_kubectl_gets_jobs_sorted_by_name(dev: DevCluster) -> None:
    for name in ("c", "a", "b"):
        dev.store.create(JOBS, job(name, "exec sleep 300"))
    listed = (await kubectl_output(dev, "get", "jobs", "-n", "paperclip", "-o", "name")).split()
    assert listed == ["job.batch/a", "job.batch/b", "job.batch/c"]
