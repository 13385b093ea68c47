"""What went wrong with a request, as `ClusterError`: the server's refusals and the network's faults."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import orjson

from paperclip_claude_k8s.cluster.port import ClusterError

QUOTED = 256
"""Characters quoted of a body that is no Status: enough to recognise a proxy's page, too few to leak much."""
BODY_LIMIT = 1024 * 1024
"""Bytes read of a refusal; the longest honest one names every field of one object."""
BAD_REQUEST = 400
WITHHELD = "the server could not read what was sent; its words may quote it and are withheld"
SHORTEST_SECRET = 4
"""Characters: shorter values stand in any text by chance."""


class translated:  # noqa: N801  # reads as a word at `with`
    """The one door for aiohttp's exceptions: each is a `ClusterError` without a status.

    No generator: every followed log waits in here for its next bytes.
    """

    def __init__(self, what: object) -> None:
        """`what` was asked, as `str` tells it."""
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        told = _told(error)
        if told is not None:
            reason, words = told
            raise ClusterError(None, reason, f"{self._what}: {words}") from None


def _told(error: BaseException | None) -> tuple[str, str] | None:
    """Kind and words of what the network did; None for anything else."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "Timeout", "the server could not be connected to in time"
        case TimeoutError():
            return "Timeout", "the server did not answer in time"
        case aiohttp.ClientConnectorCertificateError():
            why = f"the certificate of {error.host}:{error.port} is not trusted: {error.certificate_error}"
            return "Certificate", why
        case aiohttp.ClientConnectorError():
            kind = "Certificate" if isinstance(error, aiohttp.ClientSSLError) else "Unreachable"
            return kind, f"no connection to {error.host}:{error.port}: {_reason(error.os_error)}"
        case aiohttp.ClientError() | OSError():
            return "Broken", f"the connection broke: {str(error) or type(error).__name__}"
    return None


def _reason(error: OSError) -> str:
    """The system's words; asyncio puts its own in their place, and resolvers use negative numbers."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


async def read_refusal(what: str, answer: aiohttp.ClientResponse, confidential: object) -> ClusterError:
    """A `Status` in the server's own words; the beginning of anything else, such as a proxy's page.

    `confidential` is a body that was sent and must not be quoted.
    """
    body = await _beginning(answer)
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    else:
        status = {}
        reason, message = "", f"{what}: {body.decode('utf-8', 'replace').strip()[:QUOTED]}"
    if confidential is not None:
        message = _discreet(message, answer.status, status, confidential)
    reason = reason or answer.reason or "Refused"
    return ClusterError(answer.status, reason, message, retry_after=_retry_after(answer, status))


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while len(body) < BODY_LIMIT and (block := await answer.content.readany()):
        body += block
    return bytes(body[:BODY_LIMIT])


def _discreet(message: str, code: int, status: Mapping[str, Any], sent: object) -> str:
    """Words about a body that must not be quoted: decoders quote the place where they stumbled."""
    if code == BAD_REQUEST or not status:
        return WITHHELD
    for value in sorted(_values(sent), key=len, reverse=True):
        message = message.replace(value, "***")
    return message


def _values(sent: object) -> Iterator[str]:
    """The contents of a Secret, as they were sent."""
    for part in ("data", "stringData"):
        contents = sent.get(part) if isinstance(sent, dict) else None
        for value in contents.values() if isinstance(contents, dict) else ():
            if len(str(value)) >= SHORTEST_SECRET:
                yield str(value)


def _retry_after(answer: aiohttp.ClientResponse, status: Mapping[str, Any]) -> float | None:
    """Seconds, from the header or the Status; None where neither has a plain number of them."""
    details = status.get("details")
    told = answer.headers.get("Retry-After")
    if told is None and isinstance(details, dict):
        told = details.get("retryAfterSeconds")
    text = str(told or "").strip()
    return float(text) if text.isdecimal() else None
