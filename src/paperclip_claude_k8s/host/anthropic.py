"""The only client of Anthropic's API: sends a GET request and returns the JSON of the response."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import orjson

from paperclip_claude_k8s.base.http import open_session, proxy_for
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.host.known_secrets import mask_values
from paperclip_claude_k8s.host.redact import redact_text

PUBLIC_API = "https://api.anthropic.com"

_MAX_BODY_BYTES = 1024 * 1024
"""A longer response is an error; a list of a thousand models has about 200 KiB."""
_MAX_MESSAGE_CHARS = 200
_RETRYABLE_CLIENT_ERRORS = frozenset({408, 409, 429})
"""HTTP statuses below 500 after which the same request may succeed later."""


class AnthropicError(Exception):
    """The API gave no usable response. The message contains no credential.

    `status` is the HTTP status, or None if no complete response was read.
    """

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def retryable(self) -> bool:
        """Return whether the same request may succeed later."""
        return self.status is None or self.status >= 500 or self.status in _RETRYABLE_CLIENT_ERRORS

    @property
    def refused(self) -> bool:
        """Return whether the API rejected the credential."""
        return self.status in {401, 403}


@dataclass(frozen=True, slots=True)
class AnthropicApi:
    """Sends each request over a new connection, because requests are rare. `env` names the proxies."""

    timings: Timings
    env: Mapping[str, str]

    async def get(self, url: str, headers: Mapping[str, str]) -> object:
        """Return the JSON body of `GET url`, read within `Timings.model_api`. Redirects are not followed.

        Raises:
            AnthropicError: no response in time, a status other than 200, or a body that is too long or not
            JSON.
        """
        try:
            async with asyncio.timeout(self.timings.model_api):
                status, body = await self._fetch(url, headers)
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError) as error:
            raise AnthropicError(None, f"no response from {url}: {_describe(error, headers)}") from None
        if status != 200:
            raise AnthropicError(status, f"{url} responded with HTTP {status}{_api_message(body, headers)}")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise AnthropicError(status, f"the response of {url} is not JSON") from None

    async def _fetch(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        async with (
            open_session(proxy_for(url, self.env)) as session,
            session.get(
                url, headers={"Accept": "application/json", **headers}, allow_redirects=False
            ) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise ValueError(f"the response is longer than {_MAX_BODY_BYTES} bytes")
            return response.status, bytes(body)


def _api_message(body: bytes, headers: Mapping[str, str]) -> str:
    """Return `: MESSAGE` from a body `{"error": {"message": MESSAGE}}`, "" for any other body."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = parsed.get("error") if isinstance(parsed, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return f": {_redacted(message, headers)}" if isinstance(message, str) and message else ""


def _describe(error: Exception, headers: Mapping[str, str]) -> str:
    return _redacted(str(error), headers) or type(error).__name__


def _redacted(text: str, headers: Mapping[str, str]) -> str:
    return redact_text(mask_values(text, headers.values()))[:_MAX_MESSAGE_CHARS]
