"""Reading, patching, deleting, listing and watching objects of any kind on a real API server."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import quote

from paperclip_claude_k8s.base.aio import jittered
from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.model import Bookmark, JsonObject, Listing, WatchEvent
from paperclip_claude_k8s.cluster.port import ClusterError, Labels
from paperclip_claude_k8s.cluster.refusals import network_errors_translated
from paperclip_claude_k8s.cluster.transport import (
    TOO_LARGE,
    HttpClient,
    Request,
    Response,
    parse_watch_event,
    split_lines,
)

S = TypeVar("S")
PAGE_DIVISOR = 8
"""If a page of a list is too large, it is requested again with the number of objects divided by this."""


class Rest:
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
        """All objects with these labels, requested in pages.

        It is a consistent read, because the requests name no resourceVersion. Raises `ClusterError`, for
        example if the list is too large or does not end within `Timings.request`.
        """
        found: list[S] = []
        size, token, requests, limits, page_size = 0, "", 0, self._limits, self._limits.list_page
        with network_errors_translated(f"list of {path}"):
            async with asyncio.timeout(self._timings.request):
                # no more requests than the largest list needs with pages of this size
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
        """One page of a list; None if it is too large, and a page of fewer objects may be small enough."""
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


def _selector(labels: Labels) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def core_path(namespace: str, plural: str, name: str = "") -> str:
    return object_path("/api/v1", namespace, plural, name)


def object_path(root: str, namespace: str, plural: str, name: str) -> str:
    """The path of an object; without `name`, of all objects in a namespace; without both, of all objects.

    Names are percent-encoded: they come from the configuration, and none may lead to another path.
    """
    if not (namespace or name):
        return f"{root}/{plural}"
    path = f"{root}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
