"""The `Cluster` protocol on a real API server."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from paperclip_claude_k8s.base.aio import jittered
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.base.times import format_nanoseconds
from paperclip_claude_k8s.cluster import reading
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
    Seen,
)
from paperclip_claude_k8s.cluster.port import Access, ClusterError, Labels, LogRequest, Propagation
from paperclip_claude_k8s.cluster.transport import Chunks, Request, Transport, Wire
from paperclip_claude_k8s.cluster.watching import lines, watch_event

S = TypeVar("S")
HOME_KNOWN = 60.0
"""Seconds the home pod is believed: what Jobs inherit of it cannot change, and a crowd of runs asks once."""

VERSION_KNOWN = 600.0
"""Seconds the server's version is believed: control planes are upgraded once in a while."""


class Gateway:
    """Kubernetes behind HTTP. Nothing is opened before the first call."""

    def __init__(
        self, kubeconfig: str | None = None, timings: Timings | None = None, wire: Wire | None = None
    ) -> None:
        self._timings = timings or Timings()
        self._http = wire or Transport(kubeconfig, self._timings)
        self._homes: dict[tuple[str, str, str], tuple[float, HomePod]] = {}
        self._version: tuple[float, tuple[int, int]] | None = None

    async def close(self) -> None:
        await self._http.close()

    async def default_namespace(self) -> str | None:
        return await self._http.default_namespace()

    async def server_version(self) -> tuple[int, int]:
        now = asyncio.get_running_loop().time()
        if self._version is None or now - self._version[0] >= VERSION_KNOWN:
            told = reading.server_version(await self._http.call(Request("GET", "/version")))
            self._version = now, told
        return self._version[1]

    async def home_pod(self, namespace: str, name: str, container: str) -> HomePod | None:
        key, now = (namespace, name, container), asyncio.get_running_loop().time()
        if key in self._homes and now - self._homes[key][0] < HOME_KNOWN:
            return self._homes[key][1]
        pod = await self._read(_core(namespace, "pods", name))
        if pod is None:
            return None
        home = reading.home_pod(pod, container)
        self._homes[key] = now, home
        return home

    # Jobs ---------------------------------------------------------------------------------------

    async def create_job(self, namespace: str, manifest: JsonObject, *, dry_run: bool = False) -> JobSnapshot:
        query = {"dryRun": "All"} if dry_run else {}
        told = await self._http.answer(Request("POST", _jobs(namespace), query, body=manifest))
        return replace(reading.job_snapshot(told.body), warnings=told.warnings)

    async def read_job(self, namespace: str, name: str) -> JobSnapshot | None:
        job = await self._read(_jobs(namespace, name))
        return reading.job_snapshot(job) if job is not None else None

    async def list_jobs(self, namespace: str, labels: Labels) -> Listing[JobSnapshot]:
        return await self._list(_jobs(namespace), labels, reading.job_snapshot)

    async def patch_job(self, ref: JobRef, patch: Sequence[JsonObject]) -> JobSnapshot | None:
        job = await self._patch(_jobs(ref.namespace, ref.name), ref.uid, patch)
        return reading.job_snapshot(job) if job is not None else None

    async def delete_job(self, ref: JobRef, propagation: Propagation) -> bool:
        options = {"propagationPolicy": propagation, "preconditions": {"uid": ref.uid}}
        return await self._delete(_jobs(ref.namespace, ref.name), options)

    def watch_jobs(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[Seen[JobSnapshot] | Bookmark, None]:
        return self._watch(_jobs(namespace), labels, version, reading.job_snapshot)

    # Pods ---------------------------------------------------------------------------------------

    async def read_pod(self, namespace: str, name: str) -> PodSnapshot | None:
        pod = await self._read(_core(namespace, "pods", name))
        return reading.pod_snapshot(pod) if pod is not None else None

    async def list_pods(self, namespace: str, labels: Labels) -> Listing[PodSnapshot]:
        return await self._list(_core(namespace, "pods"), labels, reading.pod_snapshot)

    def watch_pods(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[Seen[PodSnapshot] | Bookmark, None]:
        return self._watch(_core(namespace, "pods"), labels, version, reading.pod_snapshot)

    async def delete_pod(self, pod: PodSnapshot) -> bool:
        return await self._delete(_core(pod.namespace, "pods", pod.name), {"preconditions": {"uid": pod.uid}})

    def log(self, request: LogRequest) -> AbstractAsyncContextManager[Chunks]:
        query = {"container": request.container, "timestamps": "true"}
        if request.follow:
            query["follow"] = "true"
        if request.since is not None:
            query["sinceTime"] = format_nanoseconds(request.since)
        if request.tail is not None:
            query["tailLines"] = str(request.tail)
        wanted = Request("GET", f"{_core(request.namespace, 'pods', request.pod)}/log", query)
        silence = None if request.follow else self._timings.request  # a quiet agent is no broken stream
        return self._http.stream(wanted, silence=silence)

    # Everything else ------------------------------------------------------------------------------

    async def create_secret(self, namespace: str, manifest: JsonObject) -> SecretSnapshot:
        path = _core(namespace, "secrets")
        made = await self._http.call(Request("POST", path, body=manifest, confidential=True))
        return reading.secret_snapshot(made)

    async def read_secret(self, namespace: str, name: str) -> SecretSnapshot | None:
        secret = await self._read(_core(namespace, "secrets", name))
        return reading.secret_snapshot(secret) if secret is not None else None

    async def patch_secret(self, secret: SecretSnapshot, patch: Sequence[JsonObject]) -> bool:
        path = _core(secret.namespace, "secrets", secret.name)
        return await self._patch(path, secret.uid, patch, confidential=True) is not None

    async def delete_secret(self, secret: SecretSnapshot) -> bool:
        path = _core(secret.namespace, "secrets", secret.name)
        return await self._delete(path, {"preconditions": {"uid": secret.uid}})

    async def claim_access_modes(self, namespace: str, name: str) -> tuple[str, ...] | None:
        claim = await self._read(_core(namespace, "persistentvolumeclaims", name))
        if claim is None:
            return None
        return reading.access_modes(claim)

    async def list_events(
        self, namespace: str, about: str, *, by: Literal["uid", "name"] = "uid"
    ) -> tuple[EventSnapshot, ...]:
        query = {"fieldSelector": f"involvedObject.{by}={about}"}
        answer = await self._http.call(Request("GET", _core(namespace, "events"), query))
        return reading.events_in_order(answer)

    async def read_lease(self, namespace: str, name: str) -> LeaseSnapshot | None:
        lease = await self._read(_leases(namespace, name))
        return reading.lease_snapshot(lease) if lease is not None else None

    async def list_leases(self, namespace: str, labels: Labels) -> Listing[LeaseSnapshot]:
        return await self._list(_leases(namespace), labels, reading.lease_snapshot)

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
        return await self._delete(_leases(namespace, name), {"preconditions": {"resourceVersion": version}})

    async def may(self, namespace: str, access: Access) -> bool:
        wish = {
            "namespace": namespace,
            "verb": access.verb,
            "group": access.group,
            "resource": access.resource,
            "subresource": access.subresource,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in wish.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await self._http.call(Request("POST", path, body=review))
        return reading.is_allowed(answer)

    # The shapes all of the above share --------------------------------------------------------------

    async def _read(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._http.call(Request("GET", path))
        except ClusterError as error:
            if error.not_found:
                return None
            raise

    async def _patch(
        self, path: str, uid: str, patch: Sequence[JsonObject], *, confidential: bool = False
    ) -> dict[str, Any] | None:
        """The object as it is now; None when there is none of that name."""
        body = [{"op": "test", "path": "/metadata/uid", "value": uid}, *patch]
        kind = "application/json-patch+json"
        try:
            return await self._http.call(
                Request("PATCH", path, body=body, content_type=kind, confidential=confidential)
            )
        except ClusterError as error:
            if error.not_found:
                return None
            raise

    async def _delete(self, path: str, options: Mapping[str, object]) -> bool:
        """A precondition that does not hold means: the object we meant is not there any more."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        try:
            await self._http.call(Request("DELETE", path, body=body))
        except ClusterError as error:
            if error.not_found or error.conflict:
                return False
            raise
        return True

    async def _list(self, path: str, labels: Labels, read: Callable[[Any], S]) -> Listing[S]:
        """Without a resourceVersion the answer is a quorum read, not one from the watch cache."""
        answer = await self._http.call(Request("GET", path, {"labelSelector": _selector(labels)}))
        return reading.listing(answer, read)

    async def _watch(
        self, path: str, labels: Labels, version: str, read: Callable[[Any], S]
    ) -> AsyncGenerator[Seen[S] | Bookmark, None]:
        query = {
            "watch": "true",
            "labelSelector": _selector(labels),
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(jittered(self._timings.watch))),
        }
        wanted = Request("GET", path, query)
        silence = self._timings.watch_silence
        async with self._http.stream(wanted, silence=silence) as answer, aclosing(lines(answer)) as told:
            async for line in told:
                yield watch_event(line, read)


def _selector(labels: Labels) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _core(namespace: str, plural: str, name: str = "") -> str:
    return _path("/api/v1", namespace, plural, name)


def _jobs(namespace: str, name: str = "") -> str:
    return _path("/apis/batch/v1", namespace, "jobs", name)


def _leases(namespace: str, name: str = "") -> str:
    return _path("/apis/coordination.k8s.io/v1", namespace, "leases", name)


def _path(root: str, namespace: str, plural: str, name: str) -> str:
    """Names come from configuration: none of them may turn into another path."""
    path = f"{root}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
