"""The `Cluster` protocol on a real API server: the request of each call, and how its response is read.

* URLs are built here and in `rest`, with every name percent-encoded; `transport` sends requests, `reading`
  parses JSON. The calls for claims, Events and namespaces are in `claim_calls`, `event_calls` and
  `namespace_calls`.
* `rest.Rest` turns "not found" into None or False, and a failed precondition of a delete into False. Every
  other error reaches the caller.
* Objects are addressed exactly: a patch begins with a `test` of the uid, and a delete has a precondition. So
  they never affect a later object of the same name.
* Lists are requested without a resourceVersion, which makes them consistent reads.
* Nothing is retried here, except once by `transport`, after a 401 or a refused certificate; callers retry
  (`retrying`, the loops in `run`).
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TypeVar

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.settings import LIMITS, Timings
from paperclip_claude_k8s.base.times import format_nanoseconds
from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.claim_calls import ClaimCalls
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.event_calls import EventCalls
from paperclip_claude_k8s.cluster.home_pod_reading import read_home_pod
from paperclip_claude_k8s.cluster.model import (
    Bookmark,
    HomePod,
    JobRef,
    JobSnapshot,
    JsonObject,
    LeaseSnapshot,
    Listing,
    PodSnapshot,
    SecretSnapshot,
    WatchEvent,
)
from paperclip_claude_k8s.cluster.namespace_calls import NamespaceCalls
from paperclip_claude_k8s.cluster.observed_http import observed
from paperclip_claude_k8s.cluster.port import Access, Labels, LogRequest, Propagation
from paperclip_claude_k8s.cluster.rest import Rest, core_path, object_path
from paperclip_claude_k8s.cluster.transport import (
    Chunks,
    HttpClient,
    Request,
    Transport,
)
from paperclip_claude_k8s.instrumentation.event_hub import EventHub

S = TypeVar("S")
HOME_POD_CACHED = 60.0
"""Seconds for which the home pod, the Pod of this process, is cached. Of what Jobs inherit from it, only
image and tolerations can change while it runs."""

VERSION_CACHED = 600.0
"""Seconds for which the server's version is cached: control planes are rarely upgraded."""


class Gateway(ClaimCalls, EventCalls, NamespaceCalls):
    """Kubernetes over HTTP. No file and no connection is opened before the first call."""

    def __init__(
        self,
        source: str | Credentials | None = None,
        timings: Timings | None = None,
        http: HttpClient | None = None,
        events: EventHub | None = None,
    ) -> None:
        """`source`: the path of a kubeconfig, or credentials; None: the service account of this Pod."""
        self._timings = timings or Timings()
        self._http = observed(http or Transport(source, self._timings), events)
        self._rest = Rest(self._http, self._timings, LIMITS)
        # namespace, name and container → loop time of the read, and its result
        self._home_pods: dict[tuple[str, str, str], tuple[float, HomePod | None]] = {}
        # loop time of the read, and the version
        self._version: tuple[float, tuple[int, int]] | None = None

    async def close(self) -> None:
        await self._http.close()

    async def default_namespace(self) -> str | None:
        return await self._http.default_namespace()

    async def own_pod(self) -> str:
        return await self._http.own_pod()

    async def server_version(self) -> tuple[int, int]:
        now = loop_time()
        if self._version is None or now - self._version[0] >= VERSION_CACHED:
            self._version = now, reading.server_version(await self._http.call(Request("GET", "/version")))
        return self._version[1]

    async def home_pod(self, namespace: str, name: str, container: str) -> HomePod | None:
        key, path, now = (namespace, name, container), core_path(namespace, "pods", name), loop_time()
        if key not in self._home_pods or now - self._home_pods[key][0] >= HOME_POD_CACHED:
            home = await self._rest.read(path, lambda pod: read_home_pod(pod, container))
            self._home_pods[key] = now, home
        return self._home_pods[key][1]

    # Jobs ---------------------------------------------------------------------------------------

    async def create_job(self, namespace: str, manifest: JsonObject, *, dry_run: bool = False) -> JobSnapshot:
        query = {"dryRun": "All"} if dry_run else {}
        response = await self._http.exchange(Request("POST", _jobs(namespace), query, body=manifest))
        return replace(reading.job_snapshot(response.body), warnings=response.warnings)

    async def read_job(self, namespace: str, name: str) -> JobSnapshot | None:
        return await self._rest.read(_jobs(namespace, name), reading.job_snapshot)

    async def list_jobs(self, namespace: str, labels: Labels) -> Listing[JobSnapshot]:
        return await self._rest.list(_jobs(namespace), labels, reading.job_snapshot)

    async def patch_job(self, ref: JobRef, patch: Sequence[JsonObject]) -> JobSnapshot | None:
        job = await self._rest.patch(_jobs(ref.namespace, ref.name), ref.uid, patch)
        return reading.job_snapshot(job) if job is not None else None

    async def delete_job(self, ref: JobRef, propagation: Propagation) -> bool:
        path = _jobs(ref.namespace, ref.name)
        return await self._rest.delete(path, {"uid": ref.uid}, propagationPolicy=propagation)

    def watch_jobs(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[WatchEvent[JobSnapshot] | Bookmark, None]:
        return self._rest.watch(_jobs(namespace), labels, version, reading.job_snapshot)

    # Pods ---------------------------------------------------------------------------------------

    async def try_pod(self, namespace: str, manifest: JsonObject) -> tuple[str, ...]:
        request = Request("POST", core_path(namespace, "pods"), {"dryRun": "All"}, body=manifest)
        return (await self._http.exchange(request)).warnings

    async def read_pod(self, namespace: str, name: str) -> PodSnapshot | None:
        return await self._rest.read(core_path(namespace, "pods", name), reading.pod_snapshot)

    async def list_pods(self, namespace: str, labels: Labels) -> Listing[PodSnapshot]:
        return await self._rest.list(core_path(namespace, "pods"), labels, reading.pod_snapshot)

    def watch_pods(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[WatchEvent[PodSnapshot] | Bookmark, None]:
        return self._rest.watch(core_path(namespace, "pods"), labels, version, reading.pod_snapshot)

    async def delete_pod(self, pod: PodSnapshot) -> bool:
        return await self._rest.delete(core_path(pod.namespace, "pods", pod.name), {"uid": pod.uid})

    def log(self, request: LogRequest) -> AbstractAsyncContextManager[Chunks]:
        query = {"container": request.container, "timestamps": "true"}
        if request.follow:
            query["follow"] = "true"
        if request.since is not None:
            query["sinceTime"] = format_nanoseconds(request.since)
        if request.tail is not None:
            query["tailLines"] = str(request.tail)
        http_request = Request("GET", f"{core_path(request.namespace, 'pods', request.pod)}/log", query)
        silence = None if request.follow else self._timings.request  # a followed log may be silent for long
        return self._http.stream(http_request, silence=silence)

    # Everything else ------------------------------------------------------------------------------

    async def create_secret(self, namespace: str, manifest: JsonObject) -> SecretSnapshot:
        path = core_path(namespace, "secrets")
        secret = await self._http.call(Request("POST", path, body=manifest, confidential=True))
        return reading.secret_snapshot(secret)

    async def read_secret(self, namespace: str, name: str) -> SecretSnapshot | None:
        return await self._rest.read(core_path(namespace, "secrets", name), reading.secret_snapshot)

    async def patch_secret(self, secret: SecretSnapshot, patch: Sequence[JsonObject]) -> bool:
        path = core_path(secret.namespace, "secrets", secret.name)
        return await self._rest.patch(path, secret.uid, patch, confidential=True) is not None

    async def delete_secret(self, secret: SecretSnapshot) -> bool:
        path = core_path(secret.namespace, "secrets", secret.name)
        return await self._rest.delete(path, {"uid": secret.uid})

    async def read_lease(self, namespace: str, name: str) -> LeaseSnapshot | None:
        return await self._rest.read(_leases(namespace, name), reading.lease_snapshot)

    async def list_leases(self, namespace: str, labels: Labels) -> Listing[LeaseSnapshot]:
        return await self._rest.list(_leases(namespace), labels, reading.lease_snapshot)

    async def create_lease(self, namespace: str, manifest: JsonObject) -> LeaseSnapshot:
        return reading.lease_snapshot(
            await self._http.call(Request("POST", _leases(namespace), body=manifest))
        )

    async def replace_lease(self, namespace: str, manifest: JsonObject) -> LeaseSnapshot:
        meta = manifest["metadata"]
        assert isinstance(meta, dict)  # noqa: S101  # our own manifests have metadata
        path = _leases(namespace, str(meta["name"]))
        return reading.lease_snapshot(await self._http.call(Request("PUT", path, body=manifest)))

    async def delete_lease(self, namespace: str, name: str, version: str) -> bool:
        return await self._rest.delete(_leases(namespace, name), {"resourceVersion": version})

    async def may(self, namespace: str, access: Access) -> bool:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        request = Request("POST", path, body=_access_review(namespace, access))
        return reading.is_allowed(await self._http.call(request))


def _access_review(namespace: str, access: Access) -> JsonObject:
    attributes = {
        "namespace": namespace,
        "verb": access.verb,
        "group": access.group,
        "resource": access.resource,
        "subresource": access.subresource,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }


def _jobs(namespace: str, name: str = "") -> str:
    return object_path("/apis/batch/v1", namespace, "jobs", name)


def _leases(namespace: str, name: str = "") -> str:
    return object_path("/apis/coordination.k8s.io/v1", namespace, "leases", name)
