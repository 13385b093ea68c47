"""Passes events to subscribers, so that no subscriber can harm a run.

Each subscription has a thread of its own and a queue of limited length. `emit` only appends to the queues; so
a subscriber that blocks delays nobody, one that raises is logged, and one that is too slow loses events,
which are counted. An event is created only if there is a subscriber, or a logger that is enabled for its
level.
"""

import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol, Self, TypeAlias, runtime_checkable

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.threads import call_in_thread
from paperclip_claude_k8s.instrumentation.event_logging import is_logged, log_event
from paperclip_claude_k8s.instrumentation.event_types import Event, RunInfo

Subscriber: TypeAlias = Callable[[Event], object]
BATCH_PAUSE = 0.25
"""Seconds for which a subscription collects events before it passes them on, to switch threads less often."""
FLUSH_LIMIT = 1.0
"""Longest time in seconds that `EventHub.flush` waits for each subscriber that is behind."""
_log = logging.getLogger(__name__)


@runtime_checkable
class Tracer(Protocol):
    """Begins the trace of a run, before its first event; `open_telemetry` implements it."""

    def begin(self, run: RunInfo, at: datetime, traceparent: str, tracestate: str) -> tuple[str, str]:
        """Return `traceparent` and `tracestate` for the Pod. The given ones are the host's, or empty.

        Called on the event loop, so it must not block. An exception is logged, and the run goes on.
        """
        ...


class Subscription:
    """One subscriber. `close` ends it; also usable in a `with` block."""

    def __init__(self, hub: "EventHub", callback: Subscriber) -> None:
        self._hub = hub
        self.callback = callback
        self._queue: deque[Event | threading.Event] = deque()
        """The events to pass on. A `threading.Event` marks where a `flush` began, and is set there."""
        self._filled = threading.Event()
        self._urgent = threading.Event()
        """Set if the queue is to be passed on without `BATCH_PAUSE`."""
        self._closed = False
        self.dropped = 0
        """Events that were lost, because the callback was slower than the runs."""
        self.failures = 0
        """Calls of the callback that raised. The first one is logged."""
        threading.Thread(target=self._work, name="claude-k8s events", daemon=True).start()

    def close(self) -> None:
        """End the subscription: no further event reaches the callback after those that are queued."""
        self._hub.remove(self)
        self._closed = True
        self._urgent.set()
        self._filled.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, event: Event) -> None:
        """Queue an event, or count it as dropped. Never blocks."""
        if len(self._queue) >= LIMITS.queued_events:
            self.dropped += 1
            return
        self._queue.append(event)
        if not self._filled.is_set():
            self._filled.set()
        if len(self._queue) == LIMITS.queued_events // 2:
            self._urgent.set()  # passes the events on at once, before the queue is full

    def flush(self, seconds: float) -> bool:
        """Block until the callback has returned for each event that is queued now; False if time runs out."""
        done = threading.Event()
        self._queue.append(done)
        self._urgent.set()
        self._filled.set()
        return done.wait(seconds)

    def _work(self) -> None:
        while not self._closed or self._queue:
            self._filled.wait()
            self._urgent.wait(BATCH_PAUSE)
            self._urgent.clear()
            self._filled.clear()  # before the queue is read: what is added from now on sets it again
            while self._queue:
                self._pass_on(self._queue.popleft())

    def _pass_on(self, item: Event | threading.Event) -> None:
        if isinstance(item, threading.Event):
            item.set()
            return
        try:
            self.callback(item)
        except BaseException as error:  # noqa: BLE001  # even SystemExit must not end the thread
            if not self.failures:
                _log.warning("A subscriber to events raised; the runs go on", exc_info=error)
            self.failures += 1


class EventHub:
    """All subscriptions of one adapter. Subscribing and emitting is possible in any thread."""

    def __init__(self) -> None:
        self._subscriptions: tuple[Subscription, ...] = ()
        self._lock = threading.Lock()
        self.tracer: Tracer | None = None
        """Begins the trace of each run; None: runs have no traces."""

    def subscribe(self, callback: Subscriber) -> Subscription:
        """Call `callback` with each event from now on. A `Tracer` also begins the traces of runs.

        Raises:
            TypeError: `callback` is no function, or an async one, whose result nobody would await.
        """
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("a subscriber must be an ordinary function of one event")
        subscription = Subscription(self, callback)
        with self._lock:
            self._subscriptions += (subscription,)
            if isinstance(callback, Tracer):
                self.tracer = callback
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Pass no further event to the subscription. Idempotent."""
        with self._lock:
            self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)
            tracer: object = self.tracer
            if subscription.callback is tracer:
                self.tracer = None

    def wants(self, kind: type[Event]) -> bool:
        """Whether an event of this class would reach anybody; if not, it need not be created."""
        return bool(self._subscriptions) or is_logged(kind)

    def emit(self, event: Event) -> None:
        """Log the event and queue it for all subscribers."""
        log_event(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    async def flush(self) -> None:
        """Wait until each subscriber has got all earlier events, at most `FLUSH_LIMIT` seconds for each."""
        for subscription in self._subscriptions:
            try:
                await call_in_thread(partial(subscription.flush, FLUSH_LIMIT), 2 * FLUSH_LIMIT, "subscribers")
            except TimeoutError:
                continue
