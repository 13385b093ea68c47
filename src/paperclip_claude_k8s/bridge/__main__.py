"""`python -m paperclip_claude_k8s.bridge`: the bridge process, which the npm package starts."""

import asyncio
import logging
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from paperclip_claude_k8s import create_server_adapter
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.bridge.channel import Channel
from paperclip_claude_k8s.bridge.host_session import HandshakeFailed, HostSession
from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter

EXIT_USAGE = 2
EXIT_HANDSHAKE_FAILED = 3
FLUSH_TIMEOUT = 2.0
"""Seconds for writing the last messages; a host that stopped reading must not delay the exit."""
LOG_LEVEL = "CLAUDE_K8S_LOG_LEVEL"
"""Environment variable: the lowest level of log records on stderr, such as DEBUG; INFO by default."""
METRICS_PORT = "CLAUDE_K8S_METRICS_PORT"
"""Environment variable: the port on the loopback interface on which `/metrics` is served for Prometheus."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_log = logging.getLogger("paperclip_claude_k8s.bridge")
HOW_TO_START = (
    "this program can only be started by the npm package that `claude-k8s node-shim --out DIR` writes"
)


def main() -> int:
    """Serve the host until it closes stdin, or until a signal.

    Exit codes: 0: the host closed stdin. 2: there are arguments, or stdin or stdout is neither a pipe nor a
    socket. 3: the handshake failed. After a signal the process ends with that signal.
    """
    if sys.argv[1:] or not (_is_pipe(0) and _is_pipe(1)):
        print(HOW_TO_START, file=sys.stderr)  # noqa: T201  # for a person
        return EXIT_USAGE
    formatter = RedactingFormatter()
    formatter.install(os.environ.get(LOG_LEVEL, ""))
    with _protocol_only_stdout() as sink:
        code, stop_signal = asyncio.run(_serve(sink, formatter))
    if stop_signal is not None:
        signal.signal(stop_signal, signal.SIG_DFL)
        os.kill(os.getpid(), stop_signal)
    return code


def _is_pipe(descriptor: int) -> bool:
    """Whether this is a pipe or a socket, which can be waited for, unlike /dev/null or a file."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextmanager
def _protocol_only_stdout() -> Iterator[IO[bytes]]:
    """Yield the pipe to the host, for the protocol only: all that is printed to stdout goes to stderr."""
    host_pipe = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(host_pipe, "wb", buffering=0) as sink:
        yield sink


async def _serve(sink: IO[bytes], formatter: RedactingFormatter) -> tuple[int, signal.Signals | None]:
    """Return the exit code, and the signal that was received, if any."""
    stopping, received = asyncio.Event(), list[signal.Signals]()

    def on_signal(stop_signal: signal.Signals) -> None:
        received.append(stop_signal)
        stopping.set()

    for stop_signal in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(stop_signal, on_signal, stop_signal)
    try:
        channel = await Channel.over(sys.stdin.buffer, sink)
    except ValueError:  # a regular file, which `main` should have refused already
        print(HOW_TO_START, file=sys.stderr)  # noqa: T201  # for a person
        return EXIT_USAGE, None
    try:
        adapter = create_server_adapter()
        _serve_metrics(adapter, os.environ.get(METRICS_PORT, ""))
        await HostSession(adapter, channel, formatter).serve(stopping)
        code = 0
    except HandshakeFailed as failure:
        print(f"handshake failed: {failure}", file=sys.stderr)  # noqa: T201  # for the host's log
        code = EXIT_HANDSHAKE_FAILED
    channel.close()
    try:
        async with asyncio.timeout(FLUSH_TIMEOUT):
            await channel.closed()
    except TimeoutError:
        pass
    return code, received[0] if received else None


def _serve_metrics(adapter: Adapter, port: str) -> None:
    """Serve `/metrics` on this port of loopback; "" serves nothing. A failure is logged, and runs go on."""
    if not port:
        return
    try:
        from paperclip_claude_k8s.instrumentation import PrometheusMetrics  # noqa: PLC0415  # an extra

        adapter.on_event(PrometheusMetrics(int(port)))
    except (ImportError, OSError, ValueError, OverflowError) as error:
        _log.error("%s=%s: metrics are not served: %s", METRICS_PORT, port, error)


if __name__ == "__main__":
    sys.exit(main())
