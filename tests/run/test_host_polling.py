"""Runs without a stop signal, for which the host's API is polled. In real time."""

import asyncio
from typing import Any

import pytest
from tests.support.api_server import serving
from tests.support.host_api import HostApi, open_poller, until
from tests.support.plans import a_context

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.run.host_polling import MAX_BODY_BYTES


def pollers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "host poller"]


async def test_poller_uses_the_proxy_of_the_environment() -> None:
    api = HostApi({"status": "cancelled"})
    async with (
        serving(api) as proxy,
        open_poller("http://paperclip.example", HTTP_PROXY=proxy) as host_poller,
        host_poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        async with asyncio.timeout(60):
            await ctx.signal.wait()


@pytest.mark.parametrize("state", ["cancelled", "cancelling"])
async def test_poller_stops_a_cancelled_run(state: str) -> None:
    api = HostApi({"status": state})
    async with (
        serving(api) as url,
        open_poller(url) as host_poller,
        host_poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        async with asyncio.timeout(60):
            await ctx.signal.wait()
    assert api.requests[0] == ("/api/heartbeat-runs/run-1", "Bearer canary-token")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": "running"}, 200),
        ({"status": "succeeded"}, 200),
        ({"status": "failed"}, 200),
        ({"status": "cancelled"}, 500),
        ({"status": "cancelled"}, 404),
        ({"status": ["cancelled"]}, 200),
        ("cancelled", 200),
        ({"status": "cancelled", "output": "x" * MAX_BODY_BYTES}, 200),
        ({"status": "cancelled", "output": [[]] * LIMITS.response_values}, 200),
        ([], 200),
    ],
)
async def test_poller_ignores_other_states_and_errors(body: Any, status: int) -> None:
    api = HostApi(body, status)
    async with (
        serving(api) as url,
        open_poller(url) as host_poller,
        host_poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        await until(lambda: len(api.requests) >= 3)  # at the third request, two responses have been read
        assert not ctx.signal.is_set()


async def test_run_whose_id_cannot_be_encoded_does_not_keep_others_from_being_stopped() -> None:
    api = HostApi({"status": "cancelled"}, 200)
    async with (
        serving(api) as url,
        open_poller(url) as host_poller,
        host_poller.with_stop_signal(a_context(runId="run-\ud800")),
        host_poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        async with asyncio.timeout(60):
            await ctx.signal.wait()


async def test_poller_ignores_an_unreachable_host() -> None:
    async with (
        open_poller("http://127.0.0.1:1") as host_poller,
        host_poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        await asyncio.sleep(0.3)
        assert not ctx.signal.is_set()


async def test_one_poller_serves_all_runs_and_ends_with_the_last() -> None:
    api, paths = HostApi({"status": "running"}), {"/api/heartbeat-runs/a", "/api/heartbeat-runs/b/c"}
    async with serving(api) as url, open_poller(url) as host_poller:
        async with (
            host_poller.with_stop_signal(a_context(runId="a")),
            host_poller.with_stop_signal(a_context(runId="b/c")),
        ):
            await until(lambda: {path for path, _ in api.requests} >= paths)
            assert len(pollers()) == 1
        await until(lambda: not pollers())
        before = len(api.requests)
        await asyncio.sleep(0.2)
        assert len(api.requests) == before
    assert {path for path, _ in api.requests} == paths


async def test_run_with_a_signal_is_not_polled() -> None:
    api, stop = HostApi({"status": "cancelled"}), asyncio.Event()
    async with (
        serving(api) as url,
        open_poller(url) as host_poller,
        host_poller.with_stop_signal(a_context(signal=stop)) as ctx,
    ):
        await asyncio.sleep(0.2)
        assert ctx.signal is stop
    assert api.requests == []
