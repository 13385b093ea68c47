"""The one door to Anthropic's API: a GET that answers with JSON, soon, or not at all."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
import orjson

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.host.redact import mask_values, redact_text

PUBLIC_API = "https://api.anthropic.com"
USER_AGENT = "paperclip-adapter-claude-k8s"

ProxyOf: TypeAlias = Callable[[str], str | None]
"""Address → the proxy that leads there; None where none is needed."""

_ANSWER_BYTES = 1024 * 1024
"""A list of a thousand models has some 200 KiB."""
_SHOWN_CHARS = 200
_LATER = frozenset({408, 409, 429})


class AnthropicError(Exception):
    """No usable answer. `status` is None where there was none; the text never holds a credential."""

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def retryable(self) -> bool:
        """May the same question be answered later?"""
        return self.status is None or self.status >= 500 or self.status in _LATER

    @property
    def refused(self) -> bool:
        """Was it the credential that was not good enough?"""
        return self.status in {401, 403}


@dataclass(frozen=True, slots=True)
class AnthropicApi:
    """Opens a connection for each question: there is one a minute at most."""

    timings: Timings
    proxy_of: ProxyOf

    async def get(self, url: str, headers: Mapping[str, str]) -> object:
        """The JSON that answers `GET url`, all of it within `Timings.anthropic`; redirects are not followed.

        Raises:
            AnthropicError: a refusal, no answer in time, or one that is not JSON.
        """
        try:
            async with asyncio.timeout(self.timings.anthropic):
                status, body = await self._fetch(url, headers)
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError) as error:
            raise AnthropicError(None, f"{url} gave no answer: {_words(error, headers)}") from None
        if status != 200:
            raise AnthropicError(status, f"{url} answered HTTP {status}{_complaint(body, headers)}")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise AnthropicError(status, f"{url} did not answer with JSON") from None

    async def _fetch(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        own = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(
                url, headers={**own, **headers}, proxy=self.proxy_of(url), allow_redirects=False
            ) as answer,
        ):
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _ANSWER_BYTES:
                    raise ValueError(f"its answer is longer than {_ANSWER_BYTES} bytes")
            return answer.status, bytes(body)


def _complaint(body: bytes, headers: Mapping[str, str]) -> str:
    """The API's own words: `{"error": {"message": …}}`."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = told.get("error") if isinstance(told, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return f": {_shown(message, headers)}" if isinstance(message, str) and message else ""


def _words(error: Exception, headers: Mapping[str, str]) -> str:
    return _shown(str(error), headers) or type(error).__name__


def _shown(text: str, headers: Mapping[str, str]) -> str:
    return redact_text(mask_values(text, headers.values()))[:_SHOWN_CHARS]
