"""The Gateway over real sockets: the requests that it sends, and the errors that bad responses cause."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import (
    DEFAULT_TIMINGS,
    SHORT_TIMEOUTS,
    Handler,
    gateway_to,
    refusing,
    serving,
    silent,
    write_kubeconfig,
)

from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.gateway import HOME_POD_CACHED, Gateway
from paperclip_claude_k8s.cluster.model import Bookmark, JobRef, PodSnapshot, SecretSnapshot, WatchEvent
from paperclip_claude_k8s.cluster.port import MAX_MESSAGE_CHARS, Access, ClusterError, LogRequest
from paperclip_claude_k8s.cluster.refusals import QUOTED_CHARS
from paperclip_claude_k8s.cluster.transport import Request, Transport

REF = JobRef("ns", "job", "uid-1")
LOG = LogRequest("ns", "pod", "claude")
STAMPED = b"2026-01-02T03:04:05.000000001Z "


class Recorder:
    """Records requests; responds to each with the same JSON, by default an empty object."""

    def __init__(self, response: Any = None) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self._response = {} if response is None else response

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.bodies.append(await request.json() if request.can_read_body else None)
        return web.json_response(self._response)

    @property
    def last(self) -> web.Request:
        return self.requests[-1]


async def failure(call: Awaitable[object]) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await call
    return caught.value


async def read_log(gateway: Gateway, request: LogRequest = LOG) -> bytes:
    whole = b""
    async with gateway.log(request) as log:
        while block := await log.read():
            whole += block
    return whole


def test_gateway_import_does_not_load_the_client_library() -> None:
    check = "import paperclip_claude_k8s.cluster.gateway, sys; sys.exit('kubernetes_asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# Requests -----------------------------------------------------------------------------------------


async def test_list_is_a_consistent_read_with_a_label_selector(tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        await gateway.list_jobs("ns", {"b": "2", "a": "1"})
    assert server.last.path == "/apis/batch/v1/namespaces/ns/jobs"
    # a request without resourceVersion returns the most recent state
    assert dict(server.last.query) == {"labelSelector": "a=1,b=2", "limit": "250"}


async def test_delete_job_sends_its_uid_as_precondition(tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        assert await gateway.delete_job(REF, "Foreground") is True
    assert server.bodies[-1] == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "uid-1"},
    }


async def test_patch_job_tests_the_uid_first(tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        await gateway.patch_job(REF, [{"op": "remove", "path": "/x"}])
    assert server.last.method == "PATCH"
    assert server.last.content_type == "application/json-patch+json"
    assert server.bodies[-1] == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-1"},
        {"op": "remove", "path": "/x"},
    ]


async def test_dry_run_is_requested_from_the_server(tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        await gateway.create_job("ns", {}, dry_run=True)
        assert dict(server.last.query) == {"dryRun": "All"}
        await gateway.create_job("ns", {})
        assert dict(server.last.query) == {}


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        (None, None),
        (1_767_323_045_000_000_000, "2026-01-02T03:04:05.000000000Z"),
        (1_767_323_045_123_456_789, "2026-01-02T03:04:05.123456789Z"),
        (0, "1970-01-01T00:00:00.000000000Z"),
    ],
)
async def test_log_since_is_sent_in_utc(since: int | None, sent: str | None, tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        await read_log(gateway, LogRequest("ns", "pod", "claude", since=since, follow=False))
    query = {"container": "claude", "timestamps": "true"}
    assert dict(server.last.query) == (query if sent is None else {**query, "sinceTime": sent})


async def test_watch_requests_bookmarks_and_a_timeout(tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        assert await anext(gateway.watch_pods("ns", {"a": "1"}, "7"), None) is None
    query = dict(server.last.query)
    timeout, expected = int(query.pop("timeoutSeconds")), DEFAULT_TIMINGS.watch
    assert 0.75 * expected - 1 <= timeout <= 1.25 * expected  # jittered, then cut to whole seconds
    assert query == {
        "watch": "true",
        "labelSelector": "a=1",
        "resourceVersion": "7",
        "allowWatchBookmarks": "true",
    }


async def test_names_in_paths_are_percent_encoded(tmp_path: Path) -> None:
    server = Recorder()
    async with gateway_to(server, tmp_path) as gateway:
        await gateway.read_job("../../kube-system", "a/b?c=d#e")
    assert server.last.raw_path == ("/apis/batch/v1/namespaces/..%2F..%2Fkube-system/jobs/a%2Fb%3Fc%3Dd%23e")


async def test_access_review_names_verb_and_resource(tmp_path: Path) -> None:
    server = Recorder({"status": {"allowed": True}})
    async with gateway_to(server, tmp_path) as gateway:
        assert await gateway.may("ns", Access("get", "pods", subresource="log")) is True
    assert server.bodies[-1]["spec"]["resourceAttributes"] == {
        "namespace": "ns",
        "verb": "get",
        "resource": "pods",
        "subresource": "log",
    }


# Bad responses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda gateway: gateway.list_jobs("ns", {}), id="call"),
        pytest.param(read_log, id="log"),
        pytest.param(lambda gateway: anext(gateway.watch_jobs("ns", {}, "1")), id="watch"),
    ],
)
@pytest.mark.parametrize("code", [400, 403, 404, 410, 429, 500, 503])
async def test_refusal_carries_the_servers_message(
    code: int, call: Callable[[Gateway], Awaitable[object]], tmp_path: Path
) -> None:
    async with gateway_to(refusing(code, "SomeReason", "some words"), tmp_path) as gateway:
        error = await failure(call(gateway))
    assert (error.status, error.reason, error.message) == (code, "SomeReason", "some words")
    assert error.retry_after is None


async def test_html_page_of_a_proxy_is_truncated(tmp_path: Path) -> None:
    async def proxy(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>Bad Gateway " + "x" * 5000, content_type="text/html")

    async with gateway_to(proxy, tmp_path) as gateway:
        error = await failure(gateway.read_job("ns", "job"))
    assert error.status == 502
    assert error.reason == "Bad Gateway"
    request = "GET /apis/batch/v1/namespaces/ns/jobs/job: "
    assert error.message.startswith(f"{request}<html>Bad Gateway")
    assert len(error.message) <= len(request) + QUOTED_CHARS


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("inf", None), ("-1", None), ("", None)],
)
async def test_retry_after_header_is_read_only_as_whole_seconds(
    header: str, seconds: float | None, tmp_path: Path
) -> None:
    busy = refusing(429, "TooManyRequests", "busy", **{"Retry-After": header})
    async with gateway_to(busy, tmp_path) as gateway:
        error = await failure(gateway.list_pods("ns", {}))
    assert error.retry_after == seconds


@pytest.mark.parametrize("body", ["welcome", "[]", '"ok"', "", "{"])
async def test_status_200_without_a_json_object_is_an_error(body: str, tmp_path: Path) -> None:
    async def portal(_: web.Request) -> web.Response:
        return web.Response(text=body)

    async with gateway_to(portal, tmp_path) as gateway:
        error = await failure(gateway.list_jobs("ns", {}))
    assert error.status is None
    assert error.reason == "BrokenResponse"


async def test_redirect_is_not_followed(tmp_path: Path) -> None:
    async def login(request: web.Request) -> web.Response:
        raise web.HTTPFound("/login") if request.path != "/login" else AssertionError("followed")

    async with gateway_to(login, tmp_path) as gateway:
        assert (await failure(gateway.list_jobs("ns", {}))).status == 302


async def test_delete_with_failed_precondition_returns_false(tmp_path: Path) -> None:
    async with gateway_to(refusing(409, "Conflict", "busy"), tmp_path) as gateway:
        assert await gateway.delete_secret(SecretSnapshot("ns", "secret", "uid")) is False
        assert await gateway.delete_pod(PodSnapshot("ns", "pod", "uid")) is False
        assert await gateway.delete_job(REF, "Background") is False
        assert await gateway.delete_lease("ns", "lease", "1") is False


# the message of a real server that could not decode a Secret
DECODER_MESSAGE = (
    'Secret in version "v1" cannot be handled as a Secret: v1.Secret.Data: decode base64: illegal base64 '
    'data at input byte 5, error found in #10 byte of ...|t-base64!"}}|..., bigger context '
    '...|ame":"bad"},"data":{"a":"plain-canary-not-base64!"}}|...'
)
SECRET: dict[str, Any] = {
    "data": {"a": "plain-canary-not-base64!"},
    "stringData": {"b": "canary\nof two lines", "c": "no"},
}


@pytest.mark.parametrize(
    "response",
    [
        refusing(400, "BadRequest", DECODER_MESSAGE),
        refusing(403, "Forbidden", "a webhook refused plain-canary-not-base64! and canary\nof two lines"),
        refusing(422, "Invalid", 'data[a]: Invalid value: "plain-canary-not-base64!"'),
    ],
)
async def test_errors_about_a_secret_never_quote_it(response: Handler, tmp_path: Path) -> None:
    async with gateway_to(response, tmp_path) as gateway:
        error = await failure(gateway.create_secret("ns", SECRET))
    assert error.message
    assert "canary" not in str(error)
    assert "base64" not in str(error)  # DECODER_MESSAGE also quotes the end of the value alone


async def test_errors_about_a_patch_of_a_secret_never_quote_its_values(tmp_path: Path) -> None:
    refusal = refusing(403, "Forbidden", "a webhook refused first-canary, second-canary in secret")
    patch: list[dict[str, Any]] = [
        {"op": "add", "path": "/data/a", "value": "first-canary"},
        {"op": "add", "path": "/stringData", "value": {"b": "second-canary", "c": None}},
        {"op": "remove", "path": "/data/d"},
    ]
    async with gateway_to(refusal, tmp_path) as gateway:
        error = await failure(gateway.patch_secret(SecretSnapshot("ns", "secret", "uid"), patch))
    assert str(error) == "Forbidden: a webhook refused ***, *** in secret"


async def test_secret_that_a_proxy_echoes_is_hidden(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=500, body=await request.read())

    async with gateway_to(echo, tmp_path) as gateway:
        error = await failure(gateway.create_secret("ns", SECRET))
    assert error.status == 500
    assert "canary" not in str(error)


async def test_refusal_of_a_secret_keeps_the_rest_of_the_message(tmp_path: Path) -> None:
    async with gateway_to(refusing(403, "Forbidden", "secrets is forbidden"), tmp_path) as gateway:
        error = await failure(gateway.create_secret("ns", SECRET))
    assert str(error) == "Forbidden: secrets is forbidden"


# No response at all -----------------------------------------------------------------------------------


async def test_unreachable_server_is_named(tmp_path: Path) -> None:
    async with gateway_to(silent, tmp_path) as gateway:
        pass  # the server is stopped here; the gateway can still be used
    error = await failure(gateway.list_jobs("ns", {}))
    await gateway.close()
    assert error.status is None
    assert error.reason == "Unreachable"
    assert "no connection to 127.0.0.1:" in error.message
    assert error.message.endswith("Connection refused")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda gateway: gateway.read_job("ns", "job"), id="call"),
        pytest.param(lambda gateway: read_log(gateway, LogRequest("ns", "p", "c", follow=False)), id="log"),
        pytest.param(lambda gateway: anext(gateway.watch_jobs("ns", {}, "1")), id="watch"),
    ],
)
async def test_silent_server_times_out(call: Callable[[Gateway], Awaitable[object]], tmp_path: Path) -> None:
    async with gateway_to(silent, tmp_path, SHORT_TIMEOUTS) as gateway, asyncio.timeout(60):
        error = await failure(call(gateway))
    assert (error.status, error.reason) == (None, "Timeout")


async def test_refusal_that_stalls_times_out(tmp_path: Path) -> None:
    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        await response.write(b"half a ")
        return await silent(request)

    async with gateway_to(stall, tmp_path, SHORT_TIMEOUTS) as gateway, asyncio.timeout(60):
        assert (await failure(read_log(gateway))).reason == "Timeout"


async def test_reset_connection_has_no_status(tmp_path: Path) -> None:
    async def reset(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with gateway_to(reset, tmp_path) as gateway:
        error = await failure(gateway.create_job("ns", {}))
    assert (error.status, error.reason) == (None, "Broken")


async def test_broken_log_raises_and_ended_log_does_not(tmp_path: Path) -> None:
    async def abort(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(STAMPED + b"one\n")
        await asyncio.sleep(0.05)
        assert request.transport is not None
        if request.query.get("follow"):
            request.transport.abort()
        return response

    async with gateway_to(abort, tmp_path) as gateway:
        assert (await failure(read_log(gateway))).status is None
        assert await read_log(gateway, LogRequest("ns", "p", "c", follow=False)) == STAMPED + b"one\n"


async def test_silent_watch_times_out_without_status(tmp_path: Path) -> None:
    async def bookmark_then_silence(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5"}}}\n')
        return await silent(request)

    patient = replace(DEFAULT_TIMINGS, watch_silence=3.0)  # long enough for the bookmark on a slow machine
    async with gateway_to(bookmark_then_silence, tmp_path, patient) as gateway, asyncio.timeout(60):
        watch = gateway.watch_jobs("ns", {}, "1")
        assert await anext(watch) == Bookmark("5")
        assert (await failure(anext(watch))).reason == "Timeout"


async def test_silent_followed_log_does_not_time_out(tmp_path: Path) -> None:
    patient = replace(DEFAULT_TIMINGS, request=2.0)

    async def quiet(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(1.5 * patient.request)
        await response.write(STAMPED + b"at last\n")
        return response

    async with gateway_to(quiet, tmp_path, patient) as gateway:
        assert await read_log(gateway) == STAMPED + b"at last\n"


async def test_errors_of_the_caller_are_not_translated(tmp_path: Path) -> None:
    async with gateway_to(Recorder(), tmp_path) as gateway:
        with pytest.raises(OSError, match="our disk is full"):
            async with gateway.log(LOG):
                raise OSError("our disk is full")
        with pytest.raises(TimeoutError):
            async with gateway.log(LOG), asyncio.timeout(0.01):
                await asyncio.sleep(1)


# Streams ----------------------------------------------------------------------------------------------


async def test_log_that_looks_like_json_is_not_parsed(tmp_path: Path) -> None:
    body = b'{"type": "result", "ok": true}\nnull\n'

    async def looks_like_json(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with gateway_to(looks_like_json, tmp_path) as gateway:
        assert await read_log(gateway) == body


async def test_compressed_list_is_an_error(tmp_path: Path) -> None:
    async def zipped(_: web.Request) -> web.Response:
        body = gzip.compress(b'{"metadata":{"resourceVersion":"9"},"items":[]}')
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with gateway_to(zipped, tmp_path) as gateway:
        with pytest.raises(ClusterError, match="is compressed"):
            await gateway.list_pods("ns", {})


@pytest.mark.parametrize(
    ("user", "secrets"),
    [
        ({"token": "canary-0123456789"}, ["canary-0123456789"]),
        ({"username": "ada", "password": "pa55word"}, ["YWRhOnBhNTV3b3Jk", "ada:pa55word"]),
    ],
)
async def test_refusal_that_quotes_the_request_is_shown_without_its_login(
    user: dict[str, str], secrets: list[str], tmp_path: Path
) -> None:
    async def proxy(request: web.Request) -> web.Response:
        quoted = f"{request.headers['Authorization']} {' '.join(secrets)}"
        # if the text were cut before the login is hidden, 16 characters of the second quotation would be left
        text = f"cannot forward {quoted} ".ljust(QUOTED_CHARS - 16, "x") + quoted
        return web.Response(status=403, text=text)

    async with serving(proxy) as url:
        gateway = Gateway(write_kubeconfig(tmp_path, url, user=user))
        error = await failure(gateway.read_job("ns", "job"))
        await gateway.close()
    assert "cannot forward" in str(error)
    assert [secret for secret in secrets if secret[:8] in str(error)] == []


@pytest.mark.parametrize(
    "kind", ["page", "encoded page", "escaped", "redirect", "encoded redirect", "reason"]
)
async def test_odd_answer_that_quotes_the_request_is_shown_without_its_login(
    kind: str, tmp_path: Path
) -> None:
    """The login is in a page with status 200 whose type is JSON, in a header or in the reason phrase.

    In some cases the login is percent-encoded or escaped.
    """
    token = "canary/token-1234"
    encoded = token.replace("a", "%61")

    async def proxy(request: web.Request) -> web.Response:
        quoted = request.headers["Authorization"]
        match kind:
            case "page":
                page = f"<html><title>{quoted}</title><form action='/{token}/x'></form>"
                return web.Response(text=page, content_type="application/json")
            case "encoded page":
                page = f"<html><form action='/{encoded}/x'></form>"
                return web.Response(text=page, content_type="application/json")
            case "escaped":
                status = json.dumps({"kind": "Status", "message": f"refused {quoted}"}).replace("/", r"\/")
                return web.Response(status=403, text=status, content_type="application/json")
            case "redirect":
                return web.Response(status=302, headers={"Location": f"https://login.example/{token}/x"})
            case "encoded redirect":
                return web.Response(status=302, headers={"Location": f"https://login.example/{encoded}/x"})
            case _:
                return web.Response(status=403, reason=quoted, text="{}")

    async with serving(proxy) as url:
        gateway = Gateway(write_kubeconfig(tmp_path, url, user={"token": token}))
        error = await failure(gateway.read_job("ns", "job"))
        await gateway.close()
    assert "***" in f"{error} {error.reason}"
    assert "canary" not in f"{error} {error.reason}"


async def test_error_quotes_no_path_of_the_servers_address(tmp_path: Path) -> None:
    """Some addresses contain a token, such as those of development clusters and of proxies."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/canary-token"
        gateway = Gateway(write_kubeconfig(tmp_path, url))
        error = await failure(gateway.read_job("ns", "job"))
        await gateway.close()
    assert "canary" not in str(error)
    assert "headers" in str(error)


async def test_lists_of_large_objects_are_requested_in_smaller_pages(tmp_path: Path) -> None:
    """100 kept Jobs with a long `podTemplate` must not make the lists of all other runs fail."""
    count, limits = 100, list[int]()

    async def serve(request: web.Request) -> web.Response:
        start, size = int(request.query.get("continue", "0")), int(request.query["limit"])
        limits.append(size)
        names = [f"job-{number}" for number in range(start, min(start + size, count))]
        items = [{"metadata": {"name": name}, "spec": {"template": "x" * 200_000}} for name in names]
        rest = {"continue": str(start + size)} if start + size < count else {}
        return web.json_response({"metadata": {"resourceVersion": "7", **rest}, "items": items})

    async with gateway_to(serve, tmp_path) as gateway:
        listing = await gateway.list_jobs("ns", {})
    assert [job.ref.name for job in listing.items] == [f"job-{number}" for number in range(count)]
    assert listing.resource_version == "7"
    # the first response has 20 MB, which is refused; then each page has an eighth: 250 // 8 objects
    assert limits == [250, 31, 31, 31, 31]


async def test_list_is_read_in_pages(tmp_path: Path) -> None:
    queries: list[dict[str, str]] = []

    async def paged(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        number = len(queries)
        meta = {"resourceVersion": "9", "continue": f"page-{number}" if number < 3 else ""}
        return web.json_response({"metadata": meta, "items": [{"metadata": {"name": f"pod-{number}"}}]})

    async with gateway_to(paged, tmp_path) as gateway:
        listing = await gateway.list_pods("ns", {})
    assert [pod.name for pod in listing.items] == ["pod-1", "pod-2", "pod-3"]
    assert listing.resource_version == "9"
    assert [query.get("continue") for query in queries] == [None, "page-1", "page-2"]


async def test_watch_reads_objects_larger_than_a_buffer(tmp_path: Path) -> None:
    note = "x" * 3_000_000

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for kind in ("ADDED", "DELETED"):
            pod = f'{{"metadata":{{"name":"pod"}},"status":{{"message":"{note}"}}}}'
            await response.write(f'{{"type":"{kind}","object":{pod}}}\n'.encode())
        return response

    async with gateway_to(large, tmp_path) as gateway:
        events = [event async for event in gateway.watch_pods("ns", {}, "1")]
    assert [isinstance(event, WatchEvent) and event.gone for event in events] == [False, True]
    assert all(
        isinstance(event, WatchEvent) and event.snapshot.message == note[:MAX_MESSAGE_CHARS]
        for event in events
    )


class OpenLogs:
    """Counts the log streams that are open at the server."""

    def __init__(self) -> None:
        self.open = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/log"):
            return web.json_response({"items": []})
        self.open += 1
        try:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(STAMPED + b"here\n")
            return await silent(request)
        finally:
            self.open -= 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.open != count:  # noqa: ASYNC110  # the server counts, it does not signal
                await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[OpenLogs]:
    server = OpenLogs()
    yield server
    await server.until(0)


async def test_hundreds_of_open_logs_do_not_block_a_call(tmp_path: Path, server: OpenLogs) -> None:
    """By default, aiohttp opens at most 100 connections."""
    async with gateway_to(server, tmp_path) as gateway, AsyncExitStack() as open_logs:
        for _ in range(220):
            log = await open_logs.enter_async_context(gateway.log(LOG))
            assert await log.read() == STAMPED + b"here\n"
        await server.until(220)
        assert (await gateway.list_jobs("ns", {})).items == ()


async def test_cancelled_log_is_closed(tmp_path: Path, server: OpenLogs) -> None:
    async with gateway_to(server, tmp_path) as gateway:
        async with asyncio.TaskGroup() as group:
            follow = group.create_task(read_log(gateway))
            await server.until(1)
            follow.cancel()
        await server.until(0)


async def test_closing_a_watch_ends_its_request_at_the_server(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def watched(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"BOOKMARK","object":{}}\n')
        try:
            return await silent(request)
        finally:
            ended.set()

    async with gateway_to(watched, tmp_path) as gateway, asyncio.timeout(60):
        async with aclosing(gateway.watch_jobs("ns", {}, "1")) as watch:
            assert await anext(watch) == Bookmark("")
        await ended.wait()


class OnePodClient(Transport):
    """Responds to every call with the same Pod, without a socket."""

    def __init__(self) -> None:
        super().__init__(Credentials(None), SHORT_TIMEOUTS)
        self.calls = 0

    async def call(self, request: Request) -> dict[str, Any]:
        self.calls += 1
        return {"metadata": {"name": "host-0"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.mark.looptime
async def test_home_pod_is_cached_for_a_minute() -> None:
    client = OnePodClient()
    gateway = Gateway(http=client)
    first = await gateway.home_pod("ns", "host-0", "c")
    await asyncio.sleep(HOME_POD_CACHED - 1)
    assert await gateway.home_pod("ns", "host-0", "c") == first
    assert client.calls == 1
    await gateway.home_pod("ns", "host-1", "c")
    assert client.calls == 2
    await asyncio.sleep(1)
    await gateway.home_pod("ns", "host-0", "c")
    assert client.calls == 3
