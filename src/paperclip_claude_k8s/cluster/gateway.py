"""The `Cluster` protocol on a real API server: the request of each call, and how its response is read.

* URLs are built here, with every name percent-encoded; `transport` sends requests, `reading` parses JSON.
* `_Rest` turns "not found" into None or False, and a failed precondition of a delete into False. Every other
  error reaches the caller.
* Objects are addressed exactly: a patch begins with a `test` of the uid, and a delete has a precondition. So
  they never affect a later object of the same name.
* Lists are requested without a resourceVersion, which makes them consistent reads.
* Nothing is retried here, except once after a 401 by `transport`; callers retry (`retrying`, the loops in
  `run`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from paperclip_claude_k8s.base.aio import jittered, loop_time
from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.settings import LIMITS, Limits, Timings
from paperclip_claude_k8s.base.times import format_nanoseconds
from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.home_pod_reading import read_home_pod
from paperclip_claude_k8s.cluster.model import (
    Bookmark,
    EventSnapshot,
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
from paperclip_claude_k8s.cluster.port import Access, ClusterError, Labels, LogRequest, Propagation
from paperclip_claude_k8s.cluster.refusals import network_errors_translated
from paperclip_claude_k8s.cluster.transport import (
    TOO_LARGE,
    Chunks,
    HttpClient,
    Request,
    Response,
    Transport,
    parse_watch_event,
    split_lines,
)

S = TypeVar("S")
HOME_POD_CACHED = 60.0
"""Seconds the home pod is cached. What Jobs inherit from it cannot change while it runs."""

PAGE_DIVISOR = 8
"""A page of a list that is too large is requested again with this part of its objects."""
VERSION_CACHED = 600.0
"""Seconds the server's version is cached: control planes are rarely upgraded."""


class Gateway:
    """Kubernetes over HTTP. Nothing is opened before the first call."""

    def __init__(
        self,
        source: str | Credentials | None = None,
        timings: Timings | None = None,
        http: HttpClient | None = None,
    ) -> None:
        """`source`: the path of a kubeconfig, credentials, or None for those of the Pod."""
        self._timings = timings or Timings()
        self._http = http or Transport(source, self._timings)
        self._rest = _Rest(self._http, self._timings, LIMITS)
        self._home_pods: dict[tuple[str, str, str], tuple[float, HomePod | None]] = {}
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
        key, path, now = (namespace, name, container), _core(namespace, "pods", name), loop_time()
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
        request = Request("POST", _core(namespace, "pods"), {"dryRun": "All"}, body=manifest)
        return (await self._http.exchange(request)).warnings

    async def read_pod(self, namespace: str, name: str) -> PodSnapshot | None:
        return await self._rest.read(_core(namespace, "pods", name), reading.pod_snapshot)

    async def list_pods(self, namespace: str, labels: Labels) -> Listing[PodSnapshot]:
        return await self._rest.list(_core(namespace, "pods"), labels, reading.pod_snapshot)

    def watch_pods(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[WatchEvent[PodSnapshot] | Bookmark, None]:
        return self._rest.watch(_core(namespace, "pods"), labels, version, reading.pod_snapshot)

    async def delete_pod(self, pod: PodSnapshot) -> bool:
        return await self._rest.delete(_core(pod.namespace, "pods", pod.name), {"uid": pod.uid})

    def log(self, request: LogRequest) -> AbstractAsyncContextManager[Chunks]:
        query = {"container": request.container, "timestamps": "true"}
        if request.follow:
            query["follow"] = "true"
        if request.since is not None:
            query["sinceTime"] = format_nanoseconds(request.since)
        if request.tail is not None:
            query["tailLines"] = str(request.tail)
        http_request = Request("GET", f"{_core(request.namespace, 'pods', request.pod)}/log", query)
        silence = None if request.follow else self._timings.request  # a followed log may be silent for long
        return self._http.stream(http_request, silence=silence)

    # Everything else ------------------------------------------------------------------------------

    async def create_secret(self, namespace: str, manifest: JsonObject) -> SecretSnapshot:
        path = _core(namespace, "secrets")
        secret = await self._http.call(Request("POST", path, body=manifest, confidential=True))
        return reading.secret_snapshot(secret)

    async def read_secret(self, namespace: str, name: str) -> SecretSnapshot | None:
        return await self._rest.read(_core(namespace, "secrets", name), reading.secret_snapshot)

    async def patch_secret(self, secret: SecretSnapshot, patch: Sequence[JsonObject]) -> bool:
        path = _core(secret.namespace, "secrets", secret.name)
        return await self._rest.patch(path, secret.uid, patch, confidential=True) is not None

    async def delete_secret(self, secret: SecretSnapshot) -> bool:
        path = _core(secret.namespace, "secrets", secret.name)
        return await self._rest.delete(path, {"uid": secret.uid})

    async def claim_access_modes(self, namespace: str, name: str) -> tuple[str, ...] | None:
        return await self._rest.read(_core(namespace, "persistentvolumeclaims", name), reading.access_modes)

    async def list_events(
        self, namespace: str, about: str, *, by: Literal["uid", "name"] = "uid"
    ) -> tuple[EventSnapshot, ...]:
        query = {"fieldSelector": f"involvedObject.{by}={about}"}
        return reading.events_in_order(
            await self._http.call(Request("GET", _core(namespace, "events"), query))
        )

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


class _Rest:
    """Operations that are the same for all kinds of objects."""

    def __init__(self, http: HttpClient, timings: Timings, limits: Limits) -> None:
        self._http = http
        self._timings = timings
        self._limits = limits

    async def read(self, path: str, read: Callable[[Any], S]) -> S | None:
        try:
            return read(await self._http.call(Request("GET", path)))
        except ClusterError as error:
            if error.not_found:
                return None
            raise

    async def patch(
        self, path: str, uid: str, patch: Sequence[JsonObject], *, confidential: bool = False
    ) -> dict[str, Any] | None:
        """The patched object; None if no object of that name exists."""
        body = [{"op": "test", "path": "/metadata/uid", "value": uid}, *patch]
        content_type = "application/json-patch+json"
        try:
            return await self._http.call(
                Request("PATCH", path, body=body, content_type=content_type, confidential=confidential)
            )
        except ClusterError as error:
            if error.not_found:
                return None
            raise

    async def delete(self, path: str, preconditions: Mapping[str, str], **options: str) -> bool:
        """False if the object does not exist or a precondition fails, because it was replaced or changed."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions, **options}
        try:
            await self._http.call(Request("DELETE", path, body=body))
        except ClusterError as error:
            if error.not_found or error.conflict:
                return False
            raise
        return True

    async def list(self, path: str, labels: Labels, read: Callable[[Any], S]) -> Listing[S]:
        """A consistent read, in pages, because the requests name no resourceVersion.

        Raises `ClusterError`, for example if the list is too large or does not end within `Timings.request`.
        """
        found: list[S] = []
        size, token, requests, limits, page_size = 0, "", 0, self._limits, self._limits.list_page
        with network_errors_translated(f"list of {path}"):
            async with asyncio.timeout(self._timings.request):
                while requests < limits.list_objects // page_size:
                    requests += 1
                    response = await self._page(path, labels, token, page_size)
                    if response is None:  # few large objects, such as Jobs with a long `podTemplate`
                        page_size //= PAGE_DIVISOR
                        continue
                    page, size = reading.listing(response.body, read), size + response.size
                    found += page.items
                    token = get_text(get_object(response.body, "metadata"), "continue")
                    if not token and len(found) <= limits.list_objects:
                        return Listing(tuple(found), page.resource_version, size)
                    if size > limits.list_bytes or len(found) > limits.list_objects:
                        break
        raise ClusterError(None, TOO_LARGE, f"the list of {path} is too large or does not end")

    async def _page(self, path: str, labels: Labels, token: str, size: int) -> Response | None:
        """One page of a list; None if it is too large, and a page of fewer objects may not be."""
        query = {"labelSelector": _selector(labels), "limit": str(size)}
        query |= {"continue": token} if token else {}
        try:
            return await self._http.exchange(Request("GET", path, query))
        except ClusterError as error:
            if error.reason != TOO_LARGE or size < PAGE_DIVISOR:
                raise
            return None

    async def watch(
        self, path: str, labels: Labels, version: str, read: Callable[[Any], S]
    ) -> AsyncGenerator[WatchEvent[S] | Bookmark, None]:
        query = {
            "watch": "true",
            "labelSelector": _selector(labels),
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(jittered(self._timings.watch))),
        }
        silence = self._timings.watch_silence
        # `total` is for a server that sends a byte from time to time, and thus is never silent
        total = 2 * self._timings.watch + silence
        stream = self._http.stream(Request("GET", path, query), silence=silence, total=total)
        async with (
            stream as response,
            aclosing(split_lines(response, self._limits.watch_line_bytes)) as lines,
        ):
            async for line in lines:
                yield parse_watch_event(line, read)


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


def _selector(labels: Labels) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _core(namespace: str, plural: str, name: str = "") -> str:
    return _path("/api/v1", namespace, plural, name)


def _jobs(namespace: str, name: str = "") -> str:
    return _path("/apis/batch/v1", namespace, "jobs", name)


def _leases(namespace: str, name: str = "") -> str:
    return _path("/apis/coordination.k8s.io/v1", namespace, "leases", name)


def _path(root: str, namespace: str, plural: str, name: str) -> str:
    """Names are percent-encoded: they come from the configuration, and none may lead to another path."""
    path = f"{root}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
