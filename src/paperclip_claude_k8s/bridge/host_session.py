"""One conversation with a host's process: a handshake, any number of calls at once, a farewell."""

import asyncio
import logging
import platform
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.bridge.callbacks import Callbacks
from paperclip_claude_k8s.bridge.channel import Channel, HostGone, LineTooLong
from paperclip_claude_k8s.bridge.methods import METHODS, ParamsInvalid, Request
from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter
from paperclip_claude_k8s.bridge.wire import (
    PROTOCOL,
    Ack,
    Call,
    Cancel,
    Hello,
    Leave,
    WireInvalid,
    error,
    hello,
    read_message,
    result,
)

LEFT = "the bridge let go of this call before its end: the host lost its hold on it, or the bridge goes down"
log = logging.getLogger("paperclip_claude_k8s")


class HandshakeFailed(Exception):
    """The peer is none of ours, or of another protocol; it was told so."""


@dataclass(frozen=True, slots=True, eq=False)
class _Underway:
    request: Request
    task: asyncio.Task[None]

    def heed(self, word: Ack | Cancel | Leave) -> None:
        match word:
            case Ack(_, n, refusal):
                self.request.callbacks.acknowledge(n, refusal)
            case Cancel():
                self.request.stop.set()
            case Leave():
                self.task.cancel("the host has lost its hold on the run")


class Session:
    """Serves one adapter to one peer."""

    def __init__(self, adapter: Adapter, channel: Channel, redaction: RedactingFormatter) -> None:
        self._adapter = adapter
        self._channel = channel
        self._discretion = redaction
        self._underway: dict[int, _Underway] = {}

    async def serve(self, leave: asyncio.Event) -> None:
        """Until the peer closes its end or `leave` is set; then every run is left to the next process.

        Raises:
            HandshakeFailed: nothing was served.
        """
        lines = self._channel.lines()
        await self._shake_hands(lines)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(lines, group), name="reader")
            leaving = group.create_task(_set(leave), name="leave")
            await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            await self._adapter.shutdown()
            reading.cancel()
            for call in tuple(self._underway.values()):
                call.task.cancel()

    async def _shake_hands(self, lines: AsyncIterator[bytes]) -> None:
        try:
            first = read_message(await anext(lines))
        except StopAsyncIteration:
            raise HandshakeFailed("the peer left before it said hello") from None
        except (WireInvalid, LineTooLong) as fault:
            raise self._refused("protocol", f"expected a hello: {fault}") from None
        if not isinstance(first, Hello):
            raise self._refused("protocol", "expected a hello before anything else")
        self._channel.write(hello(__version__, platform.python_version()))
        if first.protocol != PROTOCOL:
            told = (
                f"the shim (version {first.version}) speaks protocol {first.protocol}, this package "
                f"(version {__version__}) {PROTOCOL}: write the shim again, `claude-k8s node-shim --out DIR`"
            )
            raise self._refused("version", told)

    def _refused(self, kind: Any, why: str) -> HandshakeFailed:  # noqa: ANN401  # an ErrorKind
        self._channel.write(error(None, kind, why))
        return HandshakeFailed(why)

    async def _read(self, lines: AsyncIterator[bytes], group: asyncio.TaskGroup) -> None:
        """Heed every line; at the end nobody is left to take or acknowledge anything."""
        try:
            async for line in lines:
                try:
                    self._heed(line, group)
                except WireInvalid as fault:
                    self._channel.write(error(None, "protocol", str(fault)))
        except LineTooLong as fault:
            self._channel.write(error(None, "protocol", f"{fault}; the bridge ends"))
        finally:
            for call in self._underway.values():
                call.request.callbacks.host_gone()

    def _heed(self, line: bytes, group: asyncio.TaskGroup) -> None:
        match read_message(line):
            case Call() as call:
                self._begin(call, group)
            case Hello():
                raise WireInvalid("a second hello")
            case word:
                if word.id in self._underway:  # what crosses the answer on its way is late, not wrong
                    self._underway[word.id].heed(word)

    def _begin(self, call: Call, group: asyncio.TaskGroup) -> None:
        if call.id in self._underway:
            raise WireInvalid(f"call {call.id} is still under way; ids are used once")
        self._discretion.learn(call.params)
        request = Request(call.params, Callbacks(call.id, self._channel), asyncio.Event())
        task = group.create_task(self._answer(call, request), name=f"call {call.id} {call.method}")
        self._underway[call.id] = _Underway(request, task)

    async def _answer(self, call: Call, request: Request) -> None:
        try:
            message = await self._outcome(call, request)
        except asyncio.CancelledError:
            self._channel.write(error(call.id, "shutdown", LEFT))
            raise
        finally:
            self._underway.pop(call.id, None)
        self._channel.write(message)

    async def _outcome(self, call: Call, request: Request) -> dict[str, Any]:
        method = METHODS.get(call.method)
        if method is None:
            return error(
                call.id, "method", f"there is no method {call.method}: the shim is newer than we are"
            )
        try:
            value = await method(self._adapter, request)
            await request.callbacks.settled()
        except ParamsInvalid as fault:
            return error(call.id, "params", str(fault))
        except HostGone:
            return error(call.id, "shutdown", LEFT)
        except Exception as bug:
            log.exception("call %d (%s) failed", call.id, call.method)
            return error(call.id, "bug", self._discretion.masked(f"{type(bug).__name__}: {bug}"))
        return result(call.id, value)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
