"""Subscribers cannot harm a run, and no event is created if nobody has subscribed."""

import asyncio
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.event_log import EventLog
from tests.support.hosts import Host
from tests.support.in_memory_runs import GOOD

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.instrumentation import Event, RunEnded, RunReceived, RunStatus
from paperclip_claude_k8s.instrumentation.event_hub import EventHub
from paperclip_claude_k8s.instrumentation.run_emitter import RunEmitter
from paperclip_claude_k8s.testing import FakeCluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def emitter(hub: EventHub) -> RunEmitter:
    return RunEmitter(hub, lambda: NOW)


def test_subscriber_gets_events_in_order() -> None:
    hub, log = EventHub(), EventLog()
    subscription = hub.subscribe(log)
    run = emitter(hub)
    for number in range(100):
        run.emit(RunStatus, str(number), warning=False)
    assert subscription.flush(5)
    assert [event.text for event in log.of(RunStatus)] == [str(number) for number in range(100)]


def test_closed_subscription_gets_no_further_event() -> None:
    hub, log = EventHub(), EventLog()
    with hub.subscribe(log) as subscription:
        emitter(hub).emit(RunReceived)
        assert subscription.flush(5)
    emitter(hub).emit(RunReceived)
    assert len(log.events) == 1
    assert not hub.wants(RunReceived)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_raising_subscriber_is_logged_once_and_called_again(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(_: Event) -> None:
        raise error

    hub = EventHub()
    subscription = hub.subscribe(callback)
    for _ in range(3):
        emitter(hub).emit(RunReceived)
    assert subscription.flush(5)
    assert subscription.failures == 3
    assert caplog.text.count("A subscriber to events raised") == 1


def test_only_a_blocked_subscriber_misses_events() -> None:
    blocked, log = threading.Event(), EventLog()
    hub = EventHub()
    slow, fast = hub.subscribe(lambda _: blocked.wait(30)), hub.subscribe(log)
    run = emitter(hub)
    for _ in range(LIMITS.queued_events // 2):
        run.emit(RunReceived)
    assert fast.flush(5)
    for _ in range(LIMITS.queued_events // 2 + 100):
        run.emit(RunReceived)
    assert fast.flush(5)
    assert len(log.events) == LIMITS.queued_events // 2 * 2 + 100
    assert 0 < slow.dropped <= 100  # the callback holds one event, and the queue is full
    assert fast.dropped == 0
    blocked.set()


async def async_subscriber(_: Event) -> None:
    """A coroutine function: the hub would not await its result."""


@pytest.mark.parametrize("callback", ["text", None, async_subscriber])
def test_subscriber_that_is_no_ordinary_function_is_refused(callback: Any) -> None:
    with pytest.raises(TypeError, match="ordinary function"):
        EventHub().subscribe(callback)


def test_no_event_is_created_without_a_subscriber() -> None:
    created: list[type] = []

    class CountedEvent(RunReceived):
        def __new__(cls, *_: object) -> Self:
            created.append(cls)
            return super().__new__(cls)

    hub = EventHub()
    emitter(hub).emit(CountedEvent)
    assert created == []
    with hub.subscribe(EventLog()):
        emitter(hub).emit(CountedEvent)
    assert len(created) == 1


def test_hub_without_a_subscriber_has_no_thread() -> None:
    before = threading.active_count()
    emitter(EventHub()).emit(RunReceived)
    assert threading.active_count() == before


@pytest.mark.looptime
@pytest.mark.parametrize("kind", ["raises", "blocks"])
async def test_run_is_not_harmed_by_a_subscriber(kind: str, tmp_path: Path) -> None:
    released = threading.Event()

    def callback(_: Event) -> None:
        if kind == "raises":
            raise ValueError("no")
        released.wait(20)

    async with FakeCluster.start(tmp_path, GOOD) as fake:
        host, log = Host(fake, "host-one"), EventLog()
        host.adapter.on_event(callback)
        host.adapter.on_event(log)
        began = asyncio.get_running_loop().time()
        result, _ = await host.run()
        assert result.error_code is None
        assert asyncio.get_running_loop().time() - began < 10
        released.set()
        await host.adapter.shutdown()
    assert log.one(RunEnded).outcome == "succeeded"


@pytest.mark.looptime
async def test_tracer_that_raises_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def begin(self, *_: object) -> tuple[str, str]:
            raise RuntimeError("no exporter")

    caplog.set_level(logging.WARNING)
    async with FakeCluster.start(tmp_path, GOOD) as fake:
        host = Host(fake, "host-one")
        host.adapter._settings.events.tracer = Broken()  # noqa: SLF001
        result, _ = await host.run()
        await host.adapter.shutdown()
    assert result.error_code is None
    assert "could not begin" in caplog.text
