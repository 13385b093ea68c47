"""One session with a host's process: a handshake, then any number of concurrent calls.

When the host closes its pipe or the process gets a signal, the adapter is shut down first, so that each run
can log which Job it leaves running. Then the remaining calls are cancelled.
"""

import asyncio
import logging
import platform
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.bridge.callbacks import Callbacks
from paperclip_claude_k8s.bridge.channel import Channel, HostGone
from paperclip_claude_k8s.bridge.methods import METHODS, ParamsInvalid, Request
from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter, TooManyKeys
from paperclip_claude_k8s.bridge.wire import (
    ERROR_CHARS,
    PROTOCOL,
    Ack,
    Call,
    Cancel,
    ErrorKind,
    Hello,
    Leave,
    WireInvalid,
    call_at_start,
    error,
    hello,
    read_message,
    result,
)

ABANDONED = "call abandoned: the host detached from the run, or the bridge is shutting down"
log = logging.getLogger(__name__)


class HandshakeFailed(Exception):
    """The peer is not a host, or uses another protocol version.

    An error message was sent to it, unless it had closed its pipe.
    """


@dataclass(frozen=True, slots=True, eq=False)
class _RunningCall:
    request: Request
    task: asyncio.Task[None]

    def handle(self, message: Ack | Cancel | Leave) -> None:
        match message:
            case Ack(_, n, refusal):
                self.request.callbacks.acknowledge(n, refusal)
            case Cancel():  # the host stops the run, and the agent is stopped
                self.request.stop.set()
            case Leave():  # the host detaches: the Job is left running
                self.task.cancel("the host has detached from the run")


class HostSession:
    """Serves one adapter to one host process."""

    def __init__(self, adapter: Adapter, channel: Channel, formatter: RedactingFormatter) -> None:
        self._adapter = adapter
        self._channel = channel
        self._formatter = formatter
        self._calls: dict[int, _RunningCall] = {}

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve calls until the host closes its pipe or `stopping` is set; then detach from all runs.

        Raises:
            HandshakeFailed: the handshake failed; no call was served.
        """
        lines = self._channel.lines()
        await self._handshake(lines)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(lines, group), name="reader")
            stop = group.create_task(_wait(stopping), name="stop")
            await asyncio.wait([reading, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            # Reading continues meanwhile: the host acknowledges what the runs log about their Jobs.
            await self._adapter.shutdown()
            reading.cancel()
            for call in tuple(self._calls.values()):
                call.task.cancel()

    async def _handshake(self, lines: AsyncIterator[bytes]) -> None:
        try:
            first = read_message(await anext(lines))
        except StopAsyncIteration:
            raise HandshakeFailed("the peer closed its pipe before it sent a hello") from None
        except WireInvalid as fault:
            raise self._reject("protocol", f"expected a hello: {fault}") from None
        if not isinstance(first, Hello):
            raise self._reject("protocol", "expected a hello before anything else")
        # Also sent to a host with another protocol, so that it can report both versions.
        self._channel.write(hello(__version__, platform.python_version()))
        if first.protocol != PROTOCOL:
            message = (
                f"the shim (version {first.version[:20]}) uses protocol {str(first.protocol)[:20]}, "
                f"this package (version {__version__}) uses {PROTOCOL}: write the shim again with "
                "`claude-k8s node-shim --out DIR`"
            )
            raise self._reject("version", message)

    def _reject(self, kind: ErrorKind, reason: str) -> HandshakeFailed:
        self._channel.write(error(None, kind, reason))
        return HandshakeFailed(reason)

    async def _read(self, lines: AsyncIterator[bytes], group: asyncio.TaskGroup) -> None:
        """Handle every line until the host closes its pipe.

        After that no callback can be acknowledged, so everything that waits for one raises HostGone.
        """
        try:
            async for line in lines:
                try:
                    self._handle(line, group)
                except WireInvalid as fault:
                    self._reject_line(fault.call, "protocol", str(fault))
                except Exception as bug:
                    log.exception("a line cannot be handled")
                    self._reject_line(call_at_start(line), "bug", self._text_of(bug))
        finally:
            for call in self._calls.values():
                call.request.callbacks.host_gone()

    def _reject_line(self, call: int | None, kind: ErrorKind, reason: str) -> None:
        # An error with the id of a running call would be taken for its response, so such an error has no id.
        self._channel.write(error(None if call in self._calls else call, kind, reason))

    def _text_of(self, bug: Exception) -> str:
        return self._formatter.mask(f"{type(bug).__name__}: {bug}")[:ERROR_CHARS]

    def _handle(self, line: bytes, group: asyncio.TaskGroup) -> None:
        match read_message(line):
            case Call() as call:
                self._start_call(call, group)
            case Hello():
                raise WireInvalid("hello was sent twice")
            case message:
                if message.id in self._calls:  # otherwise the call ended before this message arrived
                    self._calls[message.id].handle(message)

    def _start_call(self, call: Call, group: asyncio.TaskGroup) -> None:
        if call.id in self._calls:
            raise WireInvalid(f"call {call.id} is still running; use each id only once")
        try:
            self._formatter.add_secrets_of(call.params)  # before anything about the call can be logged
        except TooManyKeys as fault:
            raise WireInvalid(str(fault), call.id) from None
        request = Request(call.params, Callbacks(call.id, self._channel), asyncio.Event())
        task = group.create_task(self._respond(call, request), name=f"call {call.id}")
        self._calls[call.id] = _RunningCall(request, task)
        task.add_done_callback(partial(self._end_call, call.id))

    def _end_call(self, call: int, task: asyncio.Task[None]) -> None:
        """Respond to a cancelled call, even if it was cancelled before its task began."""
        del self._calls[call]
        if task.cancelled():
            self._channel.write(error(call, "shutdown", ABANDONED))

    async def _respond(self, call: Call, request: Request) -> None:
        failure = await self._run_and_send(call, request)
        if failure is not None:
            self._channel.write(failure)

    async def _run_and_send(self, call: Call, request: Request) -> dict[str, Any] | None:
        """Send the result of the call and return None, or return the error that is to be sent instead."""
        shown = call.method[:40]
        method = METHODS.get(call.method)
        if method is None:
            return error(
                call.id, "method", f"there is no method {shown}: the shim is newer than this package"
            )
        try:
            value = await method(self._adapter, request)
            await request.callbacks.all_acknowledged()
            self._channel.write(result(call.id, value))  # fails if the value is not JSON
        except ParamsInvalid as fault:
            return error(call.id, "params", str(fault))
        except HostGone:
            return error(call.id, "shutdown", ABANDONED)
        except Exception as bug:
            log.exception("call %d (%s) failed", call.id, shown)
            return error(call.id, "bug", self._text_of(bug))
        return None


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
