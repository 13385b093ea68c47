"""Any answer of an API server is read or raises `ClusterError`; no such answer lets a run succeed."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.any_json import ODD_JSON
from tests.support.api_server import write_kubeconfig
from tests.support.fuzzing import FUZZ, FUZZ_RUNS

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.model import JobRef, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import Access, ClusterError, LogRequest
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog, build_context

TIMINGS = Timings(
    connect=1.0,
    request=0.5,
    watch=0.2,
    watch_silence=0.2,
    retry=0.01,
    retry_cap=0.02,
    retry_budget=0.1,
    cleanup=0.3,
    stop_proof=0.5,
)
REF = JobRef("ns", "job", "uid")
SECRET = SecretSnapshot("ns", "secret", "uid")
_FIELDS = """
    metadata items status spec kind message reason code type object labels annotations uid name
    namespace resourceVersion continue conditions creationTimestamp containerStatuses state
    terminated exitCode ownerReferences data details allowed retryAfterSeconds major minor series
    lastObservedTime spec template containers renewTime holderIdentity accessModes deletionTimestamp
    parallelism only-pod phase
"""
_KEYS = st.sampled_from(_FIELDS.split())
_LEAVES = ODD_JSON | st.sampled_from(
    [
        "Status",
        "ERROR",
        "ADDED",
        "DELETED",
        "BOOKMARK",
        "Running",
        "Succeeded",
        "Failed",
        "True",
        "\x1b[2J",
        "\u202e",
        410,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ]
)
ANY_OBJECT = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=20,
)


def _encoded(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).encode("utf-8", "replace")


BODIES = ANY_OBJECT.map(_encoded) | st.binary(max_size=100) | st.just(b"<html>login page</html>")
STATUSES = st.sampled_from(
    [200, 200, 200, 201, 204, 301, 302, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 99, 999]
)
HEADERS = st.lists(
    st.sampled_from(
        [
            "Retry-After: 9",
            "Retry-After: -1",
            "Retry-After: 9e999",
            "Content-Encoding: gzip",
            "Content-Length: 7",
            "Transfer-Encoding: chunked",
            "Location: file:///etc/passwd",
            'Warning: 299 - "\x1b[2J"',
            "Set-Cookie: a=b",
            "Content-Type: \xff",
            "Warning: 299",
            "Content-Length: -1",
            "X: \x00",
            "X",
            ": y",
            "Connection: upgrade",
        ]
    ),
    max_size=3,
)
ANSWERS = st.tuples(STATUSES, HEADERS, BODIES | st.lists(BODIES, max_size=3).map(b"\n".join), st.booleans())
Answer = tuple[int, list[str], bytes, bool]
"""Status, headers, body, and whether a header states the body's length."""


@asynccontextmanager
async def answering(answers: list[Answer]) -> AsyncIterator[str]:
    """A server that gives these answers in turn, one per connection."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            await reader.readuntil(b"\r\n\r\n")
            status, headers, body, states_length = answers[count % len(answers)]
            count += 1
            lines = [f"HTTP/1.1 {status} \x1b[31mWhy", *headers, "Connection: close"]
            if states_length:
                lines.append(f"Content-Length: {len(body)}")
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            await writer.drain()
            writer.write_eof()
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.sleep(0)


async def _drain(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass


async def _read_log(gateway: Gateway, *, follow: bool) -> None:
    async with gateway.log(LogRequest("ns", "pod", "claude", follow=follow)) as log:
        while await log.read():
            pass


CALLS: dict[str, Callable[[Gateway], Awaitable[object]]] = {
    "create_job": lambda gateway: gateway.create_job("ns", {}),
    "read_job": lambda gateway: gateway.read_job("ns", "job"),
    "list_jobs": lambda gateway: gateway.list_jobs("ns", {}),
    "patch_job": lambda gateway: gateway.patch_job(REF, []),
    "delete_job": lambda gateway: gateway.delete_job(REF, "Background"),
    "watch_jobs": lambda gateway: _drain(gateway.watch_jobs("ns", {}, "1")),
    "read_pod": lambda gateway: gateway.read_pod("ns", "pod"),
    "list_pods": lambda gateway: gateway.list_pods("ns", {}),
    "watch_pods": lambda gateway: _drain(gateway.watch_pods("ns", {}, "1")),
    "delete_pod": lambda gateway: gateway.delete_pod(PodSnapshot("ns", "pod", "uid")),
    "log": lambda gateway: _read_log(gateway, follow=False),
    "followed_log": lambda gateway: _read_log(gateway, follow=True),
    "create_secret": lambda gateway: gateway.create_secret("ns", {}),
    "read_secret": lambda gateway: gateway.read_secret("ns", "secret"),
    "patch_secret": lambda gateway: gateway.patch_secret(SECRET, []),
    "delete_secret": lambda gateway: gateway.delete_secret(SECRET),
    "read_claim": lambda gateway: gateway.read_claim("ns", "claim"),
    "list_events": lambda gateway: gateway.list_events("ns", "uid"),
    "read_lease": lambda gateway: gateway.read_lease("ns", "lease"),
    "list_leases": lambda gateway: gateway.list_leases("ns", {}),
    "create_lease": lambda gateway: gateway.create_lease("ns", {}),
    "replace_lease": lambda gateway: gateway.replace_lease("ns", {"metadata": {"name": "lease"}}),
    "delete_lease": lambda gateway: gateway.delete_lease("ns", "lease", "1"),
    "may": lambda gateway: gateway.may("ns", Access("get", "pods")),
    "server_version": lambda gateway: gateway.server_version(),
    "home_pod": lambda gateway: gateway.home_pod("ns", "pod", "claude"),
}


RUN_SECONDS = 2.0
"""Time after which a run is cancelled: a false success would come at once."""


@FUZZ
@given(st.sampled_from(sorted(CALLS)), st.lists(ANSWERS, min_size=1, max_size=3))
@example("read_secret", [(200, [], b'{"data":{"only-pod":"%%%"}}', True)])
@example("server_version", [(200, [], b'{"major":"' + b"9" * 5000 + b'","minor":"1"}', True)])
def test_any_answer_to_a_call_is_read_or_is_an_error(call: str, answers: list[Answer]) -> None:
    async def run(folder: Path) -> None:
        async with answering(answers) as url:
            gateway = Gateway(write_kubeconfig(folder, url), TIMINGS)
            try:
                async with asyncio.timeout(20):
                    await CALLS[call](gateway)
            except ClusterError as error:
                assert "\x1b" not in str(error)
                assert "\u202e" not in str(error)
            finally:
                await gateway.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@pytest.mark.parametrize("field", ['"message":%s', '"reason":%s', '"details":{"retryAfterSeconds":%s}'])
async def test_deeply_nested_refusal_is_an_error(field: str, tmp_path: Path) -> None:
    nested = "[" * 1000 + "]" * 1000
    body = '{"kind":"Status",' + field % nested + "}"
    async with answering([(500, [], body.encode(), True)]) as url:
        gateway = Gateway(write_kubeconfig(tmp_path, url), TIMINGS)
        with pytest.raises(ClusterError) as raised:
            await gateway.read_job("ns", "job")
        await gateway.close()
    assert raised.value.status == 500


@FUZZ_RUNS
@given(st.lists(ANSWERS, min_size=1, max_size=6))
def test_no_random_answers_make_a_run_succeed(answers: list[Answer]) -> None:
    async def run(folder: Path) -> None:
        host_log = HostLog()
        async with answering(answers) as url:
            config = {"image": "i", "kubeconfig": write_kubeconfig(folder, url), "startTimeoutSec": 1}
            config |= {"scheduleTimeoutSec": 1, "imagePullTimeoutSec": 1, "timeoutSec": 1, "graceSec": 0}
            adapter = Adapter(ProcessSettings(timings=TIMINGS))
            ctx = build_context(host_log, config=config)
            try:
                with suppress(TimeoutError):  # a run goes on while nothing shows that its Job ended
                    async with asyncio.timeout(RUN_SECONDS):
                        result = await adapter.execute(ctx)
                        assert result.error_code is not None
                        assert "\x1b" not in (result.error_message or "")
                assert "\x1b" not in host_log.stdout + host_log.stderr
            finally:
                await adapter.shutdown()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
