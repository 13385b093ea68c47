"""`Cluster`, the interface for all access to Kubernetes: the calls the adapter makes, and their errors.

`gateway.Gateway` implements it on a real API server. `tests/contract` tests the Gateway against the in-memory
cluster of the unit tests, the development cluster, and, if one is given, a real cluster. The first two are
the same code behind the Gateway; only a real cluster is an independent test.

Rules for every call:

* If an object does not exist, reading, patching or deleting it returns `None` or `False`. Every other call
  for it raises an error: replacing it, opening its log, creating an object in a missing namespace.
* Every error is a `ClusterError`. Its `status` is the HTTP status, or None if no complete response arrived:
  connection refused or reset, a time limit, an unreadable response, no usable credentials.
* Reads and lists are consistent: they include every change made before the call. Only `home_pod` and
  `server_version` are cached.
* Calls do not retry, except once with new credentials after a 401 or a refused certificate. They take
  `Timings.request` at most, apart from logs and watches.
* A call that is cancelled leaves no connection open.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cluster.claim_port import ClaimPort
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
from paperclip_claude_k8s.cluster.namespace_port import NamespacePort

Propagation = Literal["Background", "Foreground"]
Labels = Mapping[str, str]

UNUSABLE_CREDENTIALS = "Kubeconfig"
"""Reason of a `ClusterError` without a status: no usable kubeconfig or service account; never retried."""
POLICY_REFUSED = "PolicyRefused"
"""Reason of a `ClusterError` without a status: the administrator's policy does not allow what the kubeconfig
needs; never retried."""
PROXY_REFUSED = "ProxyRefused"
"""Reason of a `ClusterError` without a status: the proxy on the way refused to pass the request on."""
NOT_KUBERNETES = "NotKubernetes"
"""Reason of a `ClusterError` for a response that no API server gave: a redirect, whose status the error has,
or a web page, such as the login page of a gateway, without a status."""
MAX_REASON_CHARS = 200
MAX_MESSAGE_CHARS = 8192
"""How much is kept of a text of the API server. The longest usual texts list every wrong field of an object;
a container's termination message, which the adapter parses, has at most 4 KiB."""
_NO_NAMESPACE = re.compile(r'namespaces? "[^"]*" not found')


class ClusterError(Exception):
    """A call that failed.

    `status` is the HTTP status, or None if no complete response arrived. `message` is that of the API server,
    if it sent one, shortened and without control characters. Values of a Secret that was to be created are
    masked in it, unless they are shorter than `logins.MIN_SECRET_CHARS`. `retry_after` is in seconds.
    """

    def __init__(
        self, status: int | None, reason: str, message: str, *, retry_after: float | None = None
    ) -> None:
        reason, message = neutral(reason[:MAX_REASON_CHARS]), neutral(message[:MAX_MESSAGE_CHARS])
        super().__init__(f"{reason}: {message}" if reason else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    # Causes -------------------------------------------------------------------------------------

    @property
    def no_response(self) -> bool:
        """No complete response arrived: refused or broken connection, time limit, unusable credentials."""
        return self.status is None

    @property
    def foreign(self) -> bool:
        """A proxy or a gateway refused or misdirected the request, so nothing is known of the API server."""
        return self.reason in {PROXY_REFUSED, NOT_KUBERNETES}

    @property
    def unauthorized(self) -> bool:
        """The server does not accept our credentials."""
        return self.status == 401

    @property
    def forbidden(self) -> bool:
        """403 for any reason: a missing right, an admission policy, a quota, a namespace being deleted."""
        return self.status == 403

    @property
    def lacks_right(self) -> bool:
        """403 by RBAC: this account is missing a right."""
        return self.forbidden and " cannot " in self.message

    @property
    def exceeds_quota(self) -> bool:
        """403 by quota: the namespace's quota is used up."""
        return self.forbidden and "exceeded quota" in self.message

    @property
    def not_found(self) -> bool:
        """The object, its namespace or its API does not exist."""
        return self.status == 404

    @property
    def namespace_not_found(self) -> bool:
        """The namespace itself does not exist."""
        return self.not_found and _NO_NAMESPACE.search(self.message) is not None

    @property
    def namespace_terminating(self) -> bool:
        """The namespace is being deleted and takes no new objects."""
        return "is being terminated" in self.message

    @property
    def conflict(self) -> bool:
        """The name is taken, or another writer changed the object first."""
        return self.status == 409

    @property
    def outrun(self) -> bool:
        """Another writer changed an object, for example a quota, while the server carried out the call."""
        return self.conflict and "the object has been modified" in self.message

    @property
    def gone(self) -> bool:
        """The resourceVersion of a watch is too old: the caller has to list again."""
        return self.status == 410

    @property
    def invalid(self) -> bool:
        """The server rejects the object or the patch, or a `test` of a JSON patch failed."""
        return self.status == 422

    @property
    def server_error(self) -> bool:
        """The server failed to carry out a call it accepted."""
        return self.status is not None and self.status >= 500

    # Consequences ---------------------------------------------------------------------------------

    @property
    def retryable(self) -> bool:
        """Whether repeating the call within seconds is worthwhile: no response, overload, server fault."""
        if self.no_response:
            return not self.foreign and self.reason not in {UNUSABLE_CREDENTIALS, POLICY_REFUSED}
        return self.status in {408, 425, 429, 500, 502, 503, 504}

    @property
    def may_succeed_later(self) -> bool:
        """Whether a later run may succeed: `retryable`, a conflict, any server fault, an exceeded quota."""
        return self.retryable or self.conflict or self.server_error or self.exceeds_quota

    @property
    def may_have_been_done(self) -> bool:
        """Whether the server may have carried out the call although it failed for us."""
        return self.no_response or self.server_error or self.status == 408


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which log to read, and from when.

    `since`: nanoseconds since 1970; the server ignores the fraction of a second.
    """

    namespace: str
    pod: str
    container: str
    since: int | None = None
    follow: bool = True
    tail: int | None = None
    """Number of the log's last records to read; None for all. A line above 16 KiB is several records."""


class LogBytes(Protocol):
    """An open log. Each line begins with the container runtime's timestamp."""

    async def read(self) -> bytes:
        """The next bytes as they arrived, or b"" once the server has ended the response.

        Raises `ClusterError` with status None if the connection broke.
        """
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """A right, for an access review: one verb on one resource. `subresource` is e.g. "log"."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""


class Cluster(ClaimPort, NamespacePort, Protocol):
    """The Kubernetes calls that the adapter makes."""

    async def server_version(self) -> tuple[int, int]:
        """Major and minor version of the API server, such as (1, 29); cached for ten minutes."""
        ...

    async def home_pod(self, namespace: str, name: str, container: str) -> HomePod | None:
        """The Pod from which Jobs inherit; of its containers, `container` or else the first one.

        The result is cached for a minute, even if there is no such Pod.
        """
        ...

    # Jobs ---------------------------------------------------------------------------------------

    async def create_job(self, namespace: str, manifest: JsonObject, *, dry_run: bool = False) -> JobSnapshot:
        """Create a Job. `ClusterError` 409 if the name is taken.

        `warnings` of the result are the server's, for example about Pod Security or policies.
        """
        ...

    async def read_job(self, namespace: str, name: str) -> JobSnapshot | None: ...

    async def list_jobs(self, namespace: str, labels: Labels) -> Listing[JobSnapshot]:
        """Jobs that carry all these labels. `namespace` "": of all namespaces."""
        ...

    async def patch_job(self, ref: JobRef, patch: Sequence[JsonObject]) -> JobSnapshot | None:
        """Apply a JSON patch (RFC 6902) to exactly this Job; None if it no longer exists.

        `ClusterError` 409 or 422 if a `test` operation fails or the Job of that name has another uid.
        """
        ...

    async def delete_job(self, ref: JobRef, propagation: Propagation) -> bool:
        """Delete exactly this Job. False if it no longer exists, even if a later Job has its name."""
        ...

    def watch_jobs(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[WatchEvent[JobSnapshot] | Bookmark, None]:
        """Make one watch call: yield changes after `version` until the server ends the response.

        Version "0" first yields the existing objects, from the server's cache, and then every change.
        `ClusterError` 410 if `version` is too old.

        `gone` can also mean that the object no longer has all these labels. A watch without any event or
        bookmark for `Timings.watch_silence` raises `ClusterError` with status None.
        """
        ...

    # Pods ---------------------------------------------------------------------------------------

    async def try_pod(self, namespace: str, manifest: JsonObject) -> tuple[str, ...]:
        """Create a Pod as a dry run: admission examines it, but it is not stored. Returns the warnings."""
        ...

    async def read_pod(self, namespace: str, name: str) -> PodSnapshot | None: ...

    async def list_pods(self, namespace: str, labels: Labels) -> Listing[PodSnapshot]:
        """Pods that carry all these labels. `namespace` "": of all namespaces."""
        ...

    async def delete_pod(self, pod: PodSnapshot) -> bool:
        """Delete exactly this Pod, with the grace period of its spec. False as for `delete_job`."""
        ...

    def watch_pods(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncGenerator[WatchEvent[PodSnapshot] | Bookmark, None]:
        """Like `watch_jobs`, for Pods."""
        ...

    def log(self, request: LogRequest) -> AbstractAsyncContextManager[LogBytes]:
        """Open a container's log with timestamps. `ClusterError` for any status other than 2xx.

        If the log is not followed, `Timings.request` bounds the pause between bytes. The log of a Pod that
        has no node yet may be empty.
        """
        ...

    # Everything else ------------------------------------------------------------------------------

    async def create_secret(self, namespace: str, manifest: JsonObject) -> SecretSnapshot:
        """Create a Secret. `ClusterError` 409 if the name is taken. Errors never quote its contents."""
        ...

    async def read_secret(self, namespace: str, name: str) -> SecretSnapshot | None: ...

    async def patch_secret(self, secret: SecretSnapshot, patch: Sequence[JsonObject]) -> bool:
        """Apply a JSON patch (RFC 6902) like `patch_job`; False if the Secret no longer exists."""
        ...

    async def delete_secret(self, secret: SecretSnapshot) -> bool:
        """Delete exactly this Secret. False as for `delete_job`."""
        ...

    async def list_events(
        self, namespace: str, about: str, *, by: Literal["uid", "name"] = "uid"
    ) -> tuple[EventSnapshot, ...]:
        """Events about the object with this uid or name, oldest first.

        Some components of old clusters, such as the taint manager, set no uid in their Events.
        """
        ...

    async def create_event(self, namespace: str, manifest: JsonObject) -> None:
        """Create an Event."""
        ...

    async def read_lease(self, namespace: str, name: str) -> LeaseSnapshot | None: ...

    async def list_leases(self, namespace: str, labels: Labels) -> Listing[LeaseSnapshot]: ...

    async def create_lease(self, namespace: str, manifest: JsonObject) -> LeaseSnapshot:
        """Create a Lease. `ClusterError` 409 if the name is taken."""
        ...

    async def replace_lease(self, namespace: str, manifest: JsonObject) -> LeaseSnapshot:
        """Replace the version of a Lease named in the manifest. `ClusterError` 409 if it has changed."""
        ...

    async def delete_lease(self, namespace: str, name: str, version: str) -> bool:
        """Delete this version of a Lease. False if the Lease has changed or no longer exists."""
        ...

    async def may(self, namespace: str, access: Access) -> bool:
        """Whether this account has the right (SelfSubjectAccessReview)."""
        ...

    async def default_namespace(self) -> str | None:
        """The namespace of the kubeconfig's context, or of the Pod this process runs in."""
        ...

    async def own_pod(self) -> str:
        """Name of the Pod this process runs in, by its service account's token; "" if unknown."""
        ...

    async def close(self) -> None:
        """Close every connection. The object cannot be used afterwards."""
        ...
