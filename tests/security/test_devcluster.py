"""No object, request or process stops a development cluster: it stays up, and its other Pods run."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.support.cli_commands import SOURCE

from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import EVENTS, PODS
from paperclip_claude_k8s.devcluster.processes import MARK

Json = dict[str, Any]
PODS_PATH = "/api/v1/namespaces/paperclip/pods"


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[DevCluster]:
    async with DevCluster.start(folder=tmp_path / "dev") as cluster:
        yield cluster


async def send(dev: DevCluster, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Send the body as JSON (bytes are sent unchanged); return status and text of the response."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    data = None if body is None else io.BytesIO(raw)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{dev.server_url}{path}", data=data, headers=headers) as response,
    ):
        return response.status, await response.text()


def pod(name: str = "odd", *, spec: Json | None = None, **container: Any) -> Json:
    agent = {"name": "agent", "image": "x", "command": ["true"], **container}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [agent], "restartPolicy": "Never", **(spec or {})},
    }


async def final_phase(dev: DevCluster, name: str) -> str:
    """Wait until the Pod has ended, and return its phase."""
    async with asyncio.timeout(30):
        while True:
            changed = dev.store.next_change()
            phase = dev.store.get(PODS, "paperclip", name)["status"].get("phase", "")
            if phase in {"Succeeded", "Failed"}:
                return str(phase)
            await changed.wait()


async def assert_still_works(dev: DevCluster) -> None:
    assert (await send(dev, "POST", PODS_PATH, pod("good")))[0] == 201
    assert await final_phase(dev, "good") == "Succeeded"


def volume(**source: Any) -> Json:
    """Part of a Pod spec: the volume `v` with this source."""
    return {"volumes": [{"name": "v", **source}]}


MOUNT = {"name": "v", "mountPath": "/v"}
SECRET = {"secretName": "s"}
INVALID_PODS: dict[str, tuple[Any, str]] = {  # what is wrong → Pod, and field in the message
    "env without name": (pod(env=[{"value": "x"}]), "env[0].name"),
    "env name with =": (pod(env=[{"name": "A=B"}]), "env[0].name"),
    "env name with NUL": (pod(env=[{"name": "A\0"}]), "env[0].name"),
    "mount of no volume": (pod(volumeMounts=[MOUNT]), "volumeMounts[0].name"),
    "volume name that leads out": (pod(spec={"volumes": [{"name": "../../x"}]}), "volumes[0].name"),
    "volume name with a newline": (pod(spec={"volumes": [{"name": "x\n"}]}), "volumes[0].name"),
    "volume without name": (pod(spec={"volumes": [{}]}), "volumes[0].name"),
    "two volumes of one name": (pod(spec={"volumes": [{"name": "v"}, {"name": "v"}]}), "volumes[1].name"),
    "claim that leads out": (
        pod(spec=volume(persistentVolumeClaim={"claimName": "../../../tmp/x"})),
        "volumes[0].persistentVolumeClaim.claimName",
    ),
    "claim without name": (pod(spec=volume(persistentVolumeClaim={})), "claimName"),
    "subPath that leads out": (
        pod(spec=volume(emptyDir={}), volumeMounts=[{**MOUNT, "subPath": "a/../../../x"}]),
        "volumeMounts[0].subPath",
    ),
    "absolute subPath": (
        pod(spec=volume(emptyDir={}), volumeMounts=[{**MOUNT, "subPath": "/etc"}]),
        "volumeMounts[0].subPath",
    ),
    "subPath with NUL": (
        pod(spec=volume(emptyDir={}), volumeMounts=[{**MOUNT, "subPath": "a\0"}]),
        "volumeMounts[0].subPath",
    ),
    "item path that leads out": (
        pod(spec=volume(secret={**SECRET, "items": [{"key": "k", "path": "../../x"}]})),
        "items[0].path",
    ),
    "item without key": (pod(spec=volume(secret={**SECRET, "items": [{"path": "x"}]})), "items[0].key"),
    "mode of 10**9": (pod(spec=volume(secret={**SECRET, "defaultMode": 10**9})), "mode"),
    "hostPath": (pod(spec=volume(hostPath={"path": "/"})), "volumes[0].hostPath"),
    "container name that leads out": (
        pod(spec={"containers": [{"name": "../../x", "image": "x"}]}),
        "containers[0].name",
    ),
    "two containers of one name": (
        pod(spec={"initContainers": [{"name": "agent", "image": "x"}]}),
        "containers[0].name",
    ),
    "second container without image": (
        pod(spec={"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}),
        "containers[1].image",
    ),
    "cpu that is no quantity": (pod(resources={"requests": {"cpu": "much"}}), "requests[cpu]"),
    "negative grace period": (
        pod(spec={"terminationGracePeriodSeconds": -1}),
        "terminationGracePeriodSeconds",
    ),
    "no spec": ({"metadata": {"name": "odd"}}, "spec.containers"),
    "name that leads out": ({**pod(), "metadata": {"name": "../x"}}, "metadata.name"),
    "label key that is no name": ({**pod(), "metadata": {"name": "x", "labels": {"a/b/c": ""}}}, "labels"),
    "owner without uid": (
        {**pod(), "metadata": {"name": "x", "ownerReferences": [{}]}},
        "ownerReferences[0].uid",
    ),
}
ODD_TYPES: dict[str, Any] = {  # field of a wrong type → Pod
    "text": "text",
    "number": 7,
    "list": [pod()],
    "metadata": {**pod(), "metadata": "odd"},
    "name": {**pod(), "metadata": {"name": 7}},
    "labels": {**pod(), "metadata": {"name": "x", "labels": {"a": 1}}},
    "annotations": {**pod(), "metadata": {"name": "x", "annotations": {"a": {}}}},
    "spec": {**pod(), "spec": []},
    "containers": pod(spec={"containers": {"a": 1}}),
    "container": pod(spec={"containers": ["x"]}),
    "null container": pod(spec={"containers": [None]}),
    "command": pod(command="true"),
    "argument": pod(args=[1]),
    "env": pod(env={"A": "B"}),
    "env value": pod(env=[{"name": "A", "value": 1}]),
    "env source": pod(env=[{"name": "A", "valueFrom": "x"}]),
    "envFrom": pod(envFrom=["x"]),
    "mount path": pod(spec=volume(emptyDir={}), volumeMounts=[{"name": "v", "mountPath": 1}]),
    "working directory": pod(workingDir=["/"]),
    "volumes": pod(spec={"volumes": "v"}),
    "secret": pod(spec=volume(secret="s")),
    "mode": pod(spec=volume(secret={**SECRET, "defaultMode": "0644"})),
    "grace period": pod(spec={"terminationGracePeriodSeconds": "soon"}),
    "huge grace period": pod(spec={"terminationGracePeriodSeconds": 10**400}),
    "boolean grace period": pod(spec={"terminationGracePeriodSeconds": True}),
    "node selector": pod(spec={"nodeSelector": ["x"]}),
    "requests": pod(resources={"requests": ["cpu"]}),
}


async def test_invalid_pods_are_refused_with_the_path_of_the_field(dev: DevCluster) -> None:
    for name, (body, field) in INVALID_PODS.items():
        status, text = await send(dev, "POST", PODS_PATH, body)
        assert (status, field in text) == (422, True), (name, text)
        pod_spec = body.get("spec", {})
        job = {"metadata": {"name": "job"}, "spec": {"template": {"spec": pod_spec}}}
        if not field.startswith(("metadata", "labels", "owner")):
            status, text = await send(dev, "POST", "/apis/batch/v1/namespaces/paperclip/jobs", job)
            assert status == 422
            assert ("spec.template." if field.startswith("spec") else "spec.template.spec") in text
    await assert_still_works(dev)


async def test_fields_of_odd_types_are_refused(dev: DevCluster) -> None:
    for name, body in ODD_TYPES.items():
        status, text = await send(dev, "POST", PODS_PATH, body)
        assert (status, "cannot unmarshal" in text) == (400, True), (name, text)
    await assert_still_works(dev)


UNRUNNABLE_PODS = {
    "NUL in an argument": pod(args=["a\0b"]),
    "NUL in a value": pod(env=[{"name": "A", "value": "\0"}]),
    "NUL in the program": pod(command=["\0"]),
    "empty program": pod(command=[""]),
    "arguments of 4 MB": pod(args=["x" * 4_000_000]),
    "termination message that is a FIFO": pod(
        command=["sh", "-c", "rm -f $$0; mkfifo $$0; exit 1", "/dev/termination-log"]
    ),
    "termination message of 1 TB": pod(
        command=["sh", "-c", "truncate -s 1T $$0; exit 1", "/dev/termination-log"]
    ),
    "log that is removed": pod(
        command=["sh", "-c", "rm -rf $$HOME/*; exit 1"], terminationMessagePolicy="FallbackToLogsOnError"
    ),
    "Pod that leaves a link on a volume, for the Pod `linked` of the test below": pod(
        spec={
            **volume(persistentVolumeClaim={"claimName": "c"}),
            "initContainers": [
                {
                    "name": "i",
                    "image": "x",
                    "volumeMounts": [MOUNT],
                    "command": ["ln", "-sfn", "/", "/v/out"],
                }
            ],
        },
        command=["false"],
    ),
}


async def test_pods_that_cannot_run_fail_and_another_pod_succeeds(dev: DevCluster) -> None:
    for number, (name, body) in enumerate(UNRUNNABLE_PODS.items()):
        status, text = await send(dev, "POST", PODS_PATH, {**body, "metadata": {"name": f"odd-{number}"}})
        assert status == 201, (name, text)
    for number, name in enumerate(UNRUNNABLE_PODS):
        assert await final_phase(dev, f"odd-{number}") == "Failed", name
    linked = pod(
        "linked",
        spec=volume(persistentVolumeClaim={"claimName": "c"}),
        volumeMounts=[{**MOUNT, "subPath": "out"}],
    )
    assert (await send(dev, "POST", PODS_PATH, linked))[0] == 201
    assert await final_phase(dev, "linked") == "Failed"
    await assert_still_works(dev)


PATCHES = [
    ("merge-patch", []),
    ("merge-patch", "x"),
    ("merge-patch", {"spec": None}),
    ("merge-patch", {"spec": {"containers": 7}}),
    ("merge-patch", {"spec": {"containers": [{"name": "../x", "image": "x"}]}}),
    ("merge-patch", {"metadata": None, "spec": {"nodeName": []}}),
    ("merge-patch", {"metadata": {"ownerReferences": [{}]}}),
    ("merge-patch", {"status": {"conditions": "x"}}),
    ("json-patch", {}),
    ("json-patch", [7]),
    ("json-patch", [{}]),
    ("json-patch", [{"op": "add", "path": 7}]),
    ("json-patch", [{"op": "replace", "path": "", "value": None}]),
    ("json-patch", [{"op": "add", "path": "/spec/containers/x", "value": 1}]),
    ("json-patch", [{"op": "add", "path": "/metadata/name/x", "value": 1}]),
    ("json-patch", [{"op": "remove", "path": "/spec/containers/9"}]),
    ("json-patch", [{"op": "remove", "path": "/spec/containers/~9"}]),
]


async def test_patches_that_would_make_an_object_odd_are_refused(dev: DevCluster) -> None:
    await send(dev, "POST", PODS_PATH, pod("victim", command=["sleep", "300"]))
    for kind, patch in PATCHES:
        headers = {"Content-Type": f"application/{kind}+json"}
        status, text = await send(dev, "PATCH", f"{PODS_PATH}/victim", patch, **headers)
        assert status in {400, 422}, (patch, text)
    await assert_still_works(dev)


async def test_patches_cannot_nest_an_object_ever_deeper(dev: DevCluster) -> None:
    await send(dev, "POST", PODS_PATH, pod("victim", command=["sleep", "300"]))
    path = "/spec/a"
    statuses = set()
    for _ in range(30):
        value: Any = {}
        for _ in range(40):
            value = {"a": value}
        patch = [{"op": "add", "path": path, "value": value}]
        headers = {"Content-Type": "application/json-patch+json"}
        statuses.add((await send(dev, "PATCH", f"{PODS_PATH}/victim", patch, **headers))[0])
        path += "/a" * 40
    # 200: applied; 400: nested too deeply; 422: below a part that was not added
    assert statuses == {200, 400, 422}
    await assert_still_works(dev)


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", PODS_PATH, b"[" * 100_000, 400),
        ("POST", PODS_PATH, b"[" * 900 + b"]" * 900, 400),
        ("POST", PODS_PATH, b'"text"', 400),
        ("POST", PODS_PATH, b"\xff\xfe", 400),
        ("POST", PODS_PATH, b"{" + b" " * 9_000_000, 413),
        ("DELETE", f"{PODS_PATH}/none", b'"text"', 400),
        ("DELETE", f"{PODS_PATH}/none", b'{"preconditions": 7}', 400),
        ("DELETE", f"{PODS_PATH}/good?gracePeriodSeconds=soon", None, 400),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", b'{"spec": 7}', 400),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            b'{"spec":{"resourceAttributes":[]}}',
            400,
        ),
        ("GET", f"{PODS_PATH}?watch=1&timeoutSeconds=nan", None, 400),
        ("GET", f"{PODS_PATH}?watch=1&timeoutSeconds=-1", None, 400),
        ("GET", f"{PODS_PATH}?watch=1&resourceVersion=x", None, 400),
        ("GET", f"{PODS_PATH}?watch=1&resourceVersion={'9' * 5000}", None, 400),
        ("GET", f"{PODS_PATH}/good/log?tailLines=x", None, 400),
        ("GET", f"{PODS_PATH}/good/log?limitBytes=-5", None, 400),
        ("GET", f"{PODS_PATH}?fieldSelector=x", None, 400),
        (
            "POST",
            "/api/v1/namespaces/paperclip/secrets",
            {"metadata": {"name": "s"}, "data": {"../x": ""}},
            422,
        ),
        (
            "POST",
            "/api/v1/namespaces/paperclip/secrets",
            {"metadata": {"name": "s"}, "data": {"k": "%"}},
            422,
        ),
        ("POST", "/api/v1/namespaces/paperclip/secrets", {"metadata": {"name": "s"}, "data": {"k": 7}}, 400),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "../../x"}}, 422),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "a..b"}}, 422),
        (
            "POST",
            "/api/v1/namespaces/paperclip/events",
            {"metadata": {"name": "e"}, "involvedObject": []},
            400,
        ),
    ],
)
async def test_odd_requests_are_client_errors(
    dev: DevCluster, method: str, path: str, body: Any, expected: int
) -> None:
    await assert_still_works(dev)
    assert (await send(dev, method, path, body))[0] == expected
    assert (await send(dev, "GET", PODS_PATH))[0] == 200


@pytest.mark.parametrize("header", ["Bearer \xe9", "Bearer \udc80\udcff", "Basic x", "Bearer " + "x" * 8000])
async def test_request_with_an_odd_authorization_is_unauthorized(dev: DevCluster, header: str) -> None:
    port = int(dev.server_url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = header.encode("latin-1", "surrogateescape")
    writer.write(
        b"GET " + PODS_PATH.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: " + line + b"\r\n\r\n"
    )
    assert b" 401 " in await reader.readline()
    writer.close()


async def test_events_without_usual_fields_do_not_stop_the_controllers(dev: DevCluster) -> None:
    events: dict[str, Json] = {
        "e1": {},
        "e2": {"involvedObject": {}, "count": None},
        "e3": {"lastTimestamp": "yesterday"},
    }
    for name, body in events.items():
        await send(dev, "POST", "/api/v1/namespaces/paperclip/events", {"metadata": {"name": name}, **body})
    assert (await send(dev, "GET", "/api/v1/events", Accept="application/json;as=Table;v=v1"))[0] == 200
    assert len(list(dev.store.list(EVENTS))) == 3
    await assert_still_works(dev)


async def test_status_made_up_by_a_client_does_not_stop_the_controllers(dev: DevCluster) -> None:
    """The new Job claims to be complete and to be deleted, and its times cannot be read."""
    status = {"conditions": [{"type": "Complete"}], "startTime": "yesterday"}
    body = {"metadata": {"name": "job", "deletionTimestamp": "x"}, "status": status}
    spec = {"spec": {"template": {"spec": pod()["spec"]}, "ttlSecondsAfterFinished": 0}}
    assert (await send(dev, "POST", "/apis/batch/v1/namespaces/paperclip/jobs", {**body, **spec}))[0] == 201
    await assert_still_works(dev)


def processes_of_pods(folder: Path) -> list[int]:
    """Ids of the processes of Pods of the cluster in this folder."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


async def wait_until_no_process_is_left(folder: Path) -> None:
    async with asyncio.timeout(30):
        while processes_of_pods(folder):  # noqa: ASYNC110  # /proc reports no changes
            await asyncio.sleep(0.05)


LEAVES_CHILDREN = "setsid sleep 300 & setsid sh -c 'sleep 301; sleep 302' >/dev/null 2>&1 & sleep 0.2"
"""A script that ends while its children, in sessions of their own, still run."""


async def test_child_in_a_session_of_its_own_ends_with_its_pod(dev: DevCluster) -> None:
    script = ["sh", "-c", LEAVES_CHILDREN]
    assert (await send(dev, "POST", PODS_PATH, pod("parent", command=script)))[0] == 201
    assert await final_phase(dev, "parent") == "Succeeded"
    await wait_until_no_process_is_left(dev.folder)


CLUSTER_PROGRAM = """
import asyncio, sys
from pathlib import Path
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import PODS
async def main():
    async with DevCluster.start() as dev:
        agent = {"name": "a", "image": "x", "command": ["sh", "-c", sys.argv[1]]}
        meta = {"name": "p", "namespace": "paperclip"}
        dev.store.create(PODS, {"metadata": meta, "spec": {"containers": [agent]}, "status": {}})
        while not list(Path(dev.folder).rglob("started")):
            await asyncio.sleep(0.01)
        print(dev.folder, flush=True)
        await asyncio.sleep(300)
asyncio.run(main())
"""
"""Runs a cluster, and a Pod with the script in its argument. Prints the cluster's folder when the script has
made a file `started`."""


async def test_pods_and_files_of_a_killed_cluster_are_removed(tmp_path: Path) -> None:
    script = f"{LEAVES_CHILDREN}; touch $$HOME/started; sleep 303"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLUSTER_PROGRAM, script),
        env={**os.environ, "PYTHONPATH": SOURCE, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    folder = Path((await process.stdout.readline()).decode().strip())
    assert len(processes_of_pods(folder)) >= 3  # the script and its children
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await wait_until_no_process_is_left(folder)
    async with asyncio.timeout(30):
        while names_in(tmp_path):  # noqa: ASYNC110  # the watcher removes them
            await asyncio.sleep(0.05)


async def test_next_cluster_removes_files_of_a_cluster_that_was_killed_with_its_watcher(
    tmp_path: Path,
) -> None:
    old, link, foreign = (tmp_path / f"claude-k8s-dev-{name}" for name in ("old", "link", "foreign"))
    (old / "pods").mkdir(parents=True)
    (old / "in-use").touch()  # every folder of a cluster has this file; a running cluster holds a lock on it
    foreign.mkdir()
    link.symlink_to(old)
    program = "import asyncio; from paperclip_claude_k8s.devcluster import DevCluster\n"
    program += "async def main():\n  async with DevCluster.start(): pass\nasyncio.run(main())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={**os.environ, "PYTHONPATH": SOURCE, "TMPDIR": str(tmp_path)},
    )
    assert await process.wait() == 0
    assert names_in(tmp_path) == ["claude-k8s-dev-foreign", "claude-k8s-dev-link"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
