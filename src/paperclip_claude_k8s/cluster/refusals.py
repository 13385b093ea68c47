"""Makes a `ClusterError` of a network error, of a refusal, and of a response that no API server gave."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import orjson

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.cluster.foreign_answers import (
    REDIRECTS,
    TRANSIENT,
    is_page,
    redirect_error,
    web_page_error,
)
from paperclip_claude_k8s.cluster.logins import MIN_SECRET_CHARS, without_login
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.proxies import LOGINS, NEEDS_LOGIN, Proxy

QUOTED_CHARS = 256
"""How much is quoted of a body that is not a Kubernetes `Status`: enough to recognise a proxy's page."""
MAX_BODY_BYTES = 1024 * 1024
"""How much is read of a refusal; the longest real one names every field of one object."""
BAD_REQUEST = 400
_SUCCESS = range(200, 300)
WITHHELD = "the message is withheld because it may quote a secret that was sent"
_USERINFO = re.compile(r"://[^/\s]*@")
"""Name and password in the address of a server or a proxy."""
MAX_RETRY_AFTER = 3600.0
"""Longest wait in seconds that a server can request; callers have shorter limits of their own."""


class network_errors_translated:  # noqa: N801  # reads as a phrase after `with`
    """Raises exceptions of aiohttp and the network as `ClusterError` without a status.

    A class and not a generator, because each followed log waits in such a block, and a suspended generator
    takes more memory.
    """

    def __init__(self, request: object) -> None:
        """`str(request)` begins the message."""
        self._request = request

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        translation = _translate(error)
        if translation is not None:
            reason, message = translation
            raise ClusterError(None, reason, f"{self._request}: {message}") from None


def is_tls_error(error: aiohttp.ClientError) -> bool:
    """Whether one side did not accept a certificate of the other, or TLS failed in another way."""
    return isinstance(error, aiohttp.ClientSSLError) or isinstance(error.__cause__, ssl.SSLError)


def may_be_about_certificates(error: aiohttp.ClientError) -> bool:
    """Whether a certificate may have been refused: with TLS 1.3, servers often just close the connection."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return is_tls_error(error)
    return isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)


def _translate(error: BaseException | None) -> tuple[str, str] | None:
    """Reason and message for an error of the network; None for any other exception."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "Timeout", "no connection to the server within the time limit"
        case TimeoutError():
            return "Timeout", "the server did not answer in time"
        case aiohttp.ClientConnectorCertificateError():
            where = _host_and_port(error.host, error.port)
            why = f"the certificate of {where} is not trusted: {error.certificate_error}"
            return "Certificate", why
        case aiohttp.ClientConnectorError():
            reason = "Certificate" if isinstance(error, aiohttp.ClientSSLError) else "Unreachable"
            where = _host_and_port(error.host, error.port)
            return reason, f"no connection to {where}: {_os_message(error.os_error)}"
        case aiohttp.ClientError() | OSError():
            return "Broken", f"the connection broke: {_why_broken(error)}"
    return None


def _why_broken(error: Exception) -> str:
    """The error's text, without the URL of the request, which may contain a token."""
    match error:
        case aiohttp.ClientResponseError():
            text = f"{error.status} {error.message}"
        case aiohttp.InvalidURL():
            text = "the address is not valid"
        case _:
            text = str(error) or type(error).__name__
    return _USERINFO.sub("://***@", text)


def _host_and_port(host: str, port: object) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _os_message(error: OSError) -> str:
    """The system's message for the error's number, because asyncio puts another text into the exception.

    Errors of name resolution have negative numbers and a message of their own.
    """
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


async def read_refusal(
    request: str, response: aiohttp.ClientResponse, confidential: object, proxy: Proxy | None = None
) -> ClusterError:
    """Build the error for a response that is not 2xx, or is a web page.

    Its message is that of the `Status` in the body, or else the beginning of the body (e.g. a proxy's page),
    without the credential that was sent.
    `confidential` is the body of the request if it must not be quoted, else None. `proxy`: a proxy that may
    have answered itself; None for an https server, because a proxy cannot read requests to it.
    """
    return _masked(await _refusal(request, response, confidential, proxy), response)


def page_error(request: str, response: aiohttp.ClientResponse, body: bytes, *, hidden: bool) -> ClusterError:
    """The error for a web page, without the credential that was sent. `hidden`: nothing of it is quoted."""
    shown = without_login(body, response.request_info)
    error = web_page_error(request, response.url, response.status, shown, confidential=hidden)
    return _masked(error, response)


def _masked(error: ClusterError, response: aiohttp.ClientResponse) -> ClusterError:
    """The error with the sent credential masked once more: JSON or an address may have escaped it before."""
    reason, message = (
        without_login(text.encode("utf-8", "replace"), response.request_info).decode()
        for text in (error.reason, error.message)
    )
    return ClusterError(error.status, reason, message, retry_after=error.retry_after)


async def _refusal(
    request: str, response: aiohttp.ClientResponse, confidential: object, proxy: Proxy | None
) -> ClusterError:
    """The error for `read_refusal`, which may still quote the credential in another spelling."""
    if response.status in REDIRECTS:
        location = response.headers.get("Location", "")
        shown = without_login(location.encode("utf-8", "replace"), response.request_info).decode()
        return redirect_error(request, response.url, response.status, shown)
    body = without_login(await _read_beginning(response), response.request_info)
    is_web_page = is_page(response.content_type, body)
    is_of_proxy = is_web_page or response.status == NEEDS_LOGIN
    if proxy is not None and is_of_proxy and response.status not in _SUCCESS:
        logins = response.headers.getall(LOGINS, [])
        return proxy.refusal(request, response.status, response.reason, logins)
    if is_web_page and response.status not in TRANSIENT:
        return page_error(request, response, body, hidden=confidential is not None)
    try:
        status_object = orjson.loads(body)
    except orjson.JSONDecodeError:
        status_object = None
    if isinstance(status_object, dict) and status_object.get("kind") == "Status":
        reason, message = get_text(status_object, "reason"), get_text(status_object, "message")
    else:
        status_object = {}
        reason, message = "", f"{request}: {body.decode('utf-8', 'replace').strip()[:QUOTED_CHARS]}"
    if confidential is not None:
        message = _redacted(message, response.status, status_object, confidential)
    reason = reason or response.reason or "Refused"
    return ClusterError(response.status, reason, message, retry_after=_retry_after(response, status_object))


async def _read_beginning(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while len(body) < MAX_BODY_BYTES and (block := await response.content.readany()):
        body += block
    return bytes(body[:MAX_BODY_BYTES])


def _redacted(message: str, code: int, status_object: Mapping[str, Any], sent: object) -> str:
    """The message without the values that were sent.

    The whole message is withheld after a 400, because decoders quote the input near a syntax error, and if
    the response is not a `Status`, because a proxy may echo the request.
    """
    if code == BAD_REQUEST or not status_object:
        return WITHHELD
    for value in sorted(_secret_values(sent), key=len, reverse=True):
        message = message.replace(value, "***")
    return message


def _secret_values(sent: object) -> Iterator[str]:
    """The values of a Secret's manifest, or of a JSON patch of a Secret, as they were sent."""
    if isinstance(sent, list):  # an operation has one value, or an object of them
        given = [operation.get("value") for operation in sent]
    else:
        given = [get_object(sent, part) for part in ("data", "stringData")] if isinstance(sent, dict) else []
    for value in given:
        for text in value.values() if isinstance(value, dict) else [value]:
            if isinstance(text, str) and len(text) >= MIN_SECRET_CHARS:
                yield text


def _retry_after(response: aiohttp.ClientResponse, status_object: Mapping[str, Any]) -> float | None:
    """Seconds to wait, from the header or else the Status; None if that is not a whole number of seconds."""
    seconds = response.headers.get("Retry-After")
    if seconds is None:
        seconds = get_object(status_object, "details").get("retryAfterSeconds")
    text = str(seconds).strip() if isinstance(seconds, (int, str)) else ""
    return min(float(text[:9]), MAX_RETRY_AFTER) if text.isdecimal() else None
