"""`python -m paperclip_claude_k8s.bridge`: started by the Node package, never by hand."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from paperclip_claude_k8s import create_server_adapter
from paperclip_claude_k8s.bridge.channel import Channel
from paperclip_claude_k8s.bridge.host_session import HandshakeFailed, Session
from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter

USAGE = 2
REFUSED = 3
LAST_WORDS = 2.0
"""Seconds the last answers may take to leave: a host that reads no more must not hold us."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BY_HAND = "this is started by the package that `claude-k8s node-shim --out DIR` writes"


def main() -> int:
    """The exit code: 0 the host has gone, 2 no pipes, 3 the host and we do not understand each other."""
    if sys.stdin.isatty():
        print(BY_HAND, file=sys.stderr)  # noqa: T201  # said to a person
        return USAGE
    redaction = RedactingFormatter()
    redaction.listen()
    with _protocol_only_stdout() as sink:
        code, by = asyncio.run(_serve(sink, redaction))
    if by is not None:
        signal.signal(by, signal.SIG_DFL)
        os.kill(os.getpid(), by)
    return code


@contextmanager
def _protocol_only_stdout() -> Iterator[IO[bytes]]:
    """The pipe to the host, for us alone: what anybody else prints ends up on stderr."""
    ours = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(ours, "wb", buffering=0) as sink:
        yield sink


async def _serve(sink: IO[bytes], redaction: RedactingFormatter) -> tuple[int, signal.Signals | None]:
    """The exit code, and the signal that ended us."""
    leave, received = asyncio.Event(), list[signal.Signals]()

    def heard(number: signal.Signals) -> None:
        received.append(number)
        leave.set()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, heard, number)
    try:
        channel = await Channel.over(sys.stdin.buffer, sink)
    except ValueError:
        print(BY_HAND, file=sys.stderr)  # noqa: T201  # said to a person
        return USAGE, None
    try:
        await Session(create_server_adapter(), channel, redaction).serve(leave)
        code = 0
    except HandshakeFailed as refusal:
        print(f"handshake failed: {refusal}", file=sys.stderr)  # noqa: T201  # the host's log shows it
        code = REFUSED
    channel.close()
    try:
        async with asyncio.timeout(LAST_WORDS):
            await channel.closed()
    except TimeoutError:
        pass
    return code, received[0] if received else None


if __name__ == "__main__":
    sys.exit(main())
