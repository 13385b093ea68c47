"""Removes the credentials of a request from its response, which may quote the request's headers."""

import base64

import aiohttp

MIN_SECRET_CHARS = 4
"""Shorter values are not redacted: they occur in any text by chance."""
_HEADERS = ("Authorization", "Proxy-Authorization")


def without_login(answer: bytes, request: aiohttp.RequestInfo) -> bytes:
    """`answer`, a part of the response, without the tokens and passwords that the request contained."""
    for header in _HEADERS:
        scheme, _, secret = request.headers.get(header, "").partition(" ")
        if len(secret) < MIN_SECRET_CHARS:
            continue
        if scheme == "Basic":
            answer = answer.replace(base64.b64decode(secret), b"***")
        answer = answer.replace(secret.encode(), b"***")
    return answer
