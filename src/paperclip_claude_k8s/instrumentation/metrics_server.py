"""The HTTP server of `/metrics`. Any user of the machine can connect to it, so connections are limited."""

import ipaddress
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
MAX_CONNECTIONS = 8
"""Largest number of open connections; a further one is closed immediately. Each needs a thread and a file
descriptor of the host."""
SILENCE = 5.0
"""Seconds after which a connection is closed that neither sends nor receives anything."""


class _Handler(WSGIRequestHandler):
    timeout = SILENCE

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # as the base class has it
        """No lines on stderr."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *args: Any) -> None:  # noqa: ANN401  # those of the base class
        super().__init__(*args)
        self._free = threading.Semaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket.socket, client_address: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Report nothing: a client that went away or was too slow does not concern the host."""


def _is_localhost_or_address(host: str) -> bool:
    """Whether a request's Host header is `localhost` or an address, each with or without a port.

    Any other name is refused, because a web site could let its own name resolve to this machine (DNS
    rebinding), and a browser on this machine would then read the page for that site.
    """
    with suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    return False


def _page(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    if not _is_localhost_or_address(environ.get("HTTP_HOST", LOOPBACK)):
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"The Host header is neither localhost nor an address.\n"]
    return _metrics(environ, start_response)


_metrics: "WSGIApplication" = make_wsgi_app(REGISTRY)


def serve(port: int) -> None:
    """Serve `/metrics` on loopback in a thread of its own, until the process ends. Raises `OSError`."""
    server = make_server(LOOPBACK, port, _page, _Server, _Handler)
    threading.Thread(target=server.serve_forever, name="claude-k8s metrics", daemon=True).start()
