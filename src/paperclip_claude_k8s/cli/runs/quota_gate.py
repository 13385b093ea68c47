"""The quota gate: an HTTP service that decides whether a run may start. A run sends at most one request."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from paperclip_claude_k8s.base.unique_keys import DuplicateKeyError, object_of
from paperclip_claude_k8s.cli.runs.replies import Error, Stop

QUOTA_TIMEOUT = 10.0
"""Seconds for the whole exchange."""
MAX_BODY_BYTES = 64 * 1024
"""Size of the longest valid body. A longer one is cut, which makes it invalid unless only blanks follow."""
URL_KEYS = ("quotaGateUrl", "quota_gate_url")
"""Keys of the config that may contain the service's URL."""
MEMBERSHIP, CREDIT, NO_CODE = 60001, 60002, -1
"""Codes of the service: membership required, credit required. NO_CODE: the response has no code."""
_LINK = re.compile(r"https://[\w\-.~:/?#\[@!$&'(*+,;=%]+", re.ASCII)
_SENTENCE_END = ".,;:!?'"
"""Characters after a link that belong to the sentence, not to the link."""

_AGENT_INSTRUCTION: Mapping[Error, str] = {
    "membership_required": "The user needs a membership or subscription; other options of this command do not"
    " help, and neither does running it again. Show the user pricing_url, or all of detail.",
    "credit_required": "The user needs more credits or a subscription. Show the user pricing_url, or all of"
    " detail, and do not run the command again before that.",
    "consume_param_error": "Check the options and quotaGateUrl against detail. Do not tell the user to buy"
    " anything. A new attempt is a new run.",
}


@dataclass(frozen=True, slots=True)
class QuotaResponse:
    """The service's response. If there is none, `status` is None, and `body` is the reason."""

    status: int | None
    body: bytes


def find_refusal(response: QuotaResponse) -> Stop | None:
    """Why the run may not be submitted; None if it may. Anything but a clear approval is a refusal.

    An approval is a 2xx response whose `code`, at the top level or in `meta`, is the integer 0 or the text
    "0" (every code may be a text). Refusals are, for example: no code, null, true, false, 0.0, a body that is
    not a JSON object, one in which an object has a key twice, and two codes of which one is not 0.
    """
    content = _part_with_code(_read_object(response.body))
    is_ok = response.status is not None and 200 <= response.status < 300
    code = _read_code(content.get("code"))
    if is_ok and code == 0:
        return None
    detail = _read_detail(content, response)
    error: Error = "consume_param_error"
    if code in {MEMBERSHIP, CREDIT}:
        error = "membership_required" if code == MEMBERSHIP else "credit_required"
    link = _LINK.search(detail)
    pricing = {"pricing_url": link[0].rstrip(_SENTENCE_END)} if link else {}
    return _refusal(error, detail, code, **pricing)


def refusal_without_response() -> Stop:
    """The refusal of a run whose process was killed before the response: no second request is sent."""
    return _refusal(
        "consume_param_error",
        "the process that sent this run's request to the quota gate was killed before the response; start a"
        " new run",
        NO_CODE,
    )


def _refusal(error: Error, detail: str, code: int, **fields: str) -> Stop:
    common_fields = {
        "failure_stage": "consume_quota",
        "api_code": code,
        "agent_instruction": _AGENT_INSTRUCTION[error],
    }
    return Stop(error, detail, **common_fields, **fields)


async def request_approval(
    url: str, run_id: str, fields: Mapping[str, Any], seconds: float = QUOTA_TIMEOUT
) -> QuotaResponse:
    """POST `{run_id, …fields}` once. The function never retries, follows no redirect, and raises nothing.

    `seconds`: time limit for the whole exchange.
    """
    import aiohttp  # noqa: PLC0415  # slow to import, and most runs have no quota gate

    from paperclip_claude_k8s.base.http import open_session, proxy_for, read_beginning  # noqa: PLC0415  # it loads aiohttp

    headers = {"Idempotency-Key": run_id, "Accept": "application/json"}
    try:
        async with (
            open_session(proxy_for(url, os.environ), total=seconds) as session,
            session.post(
                url, json={"run_id": run_id, **fields}, headers=headers, allow_redirects=False
            ) as response,
        ):
            # JSON that was cut is invalid, and thus a refusal
            return QuotaResponse(response.status, await read_beginning(response.content, MAX_BODY_BYTES))
    except TimeoutError:
        return QuotaResponse(None, f"no response within {seconds:g}s".encode())
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return QuotaResponse(None, f"the gate cannot be reached ({type(error).__name__})".encode())


def gate_url(config: Mapping[str, Any]) -> str | None:
    """The service's URL; None if the config has none. Raises `Stop` if it is invalid."""
    url = next((config[key] for key in URL_KEYS if config.get(key)), None)
    return check_url(str(url)) if url else None


def check_url(url: str) -> str:
    """Return a valid URL. Raises `Stop` otherwise, without quoting the URL, which may contain a token."""
    with suppress(ValueError):  # of urlsplit, for an IPv6 address without its last bracket
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return url
    raise Stop("usage", "quotaGateUrl: expected an http or https address")


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body, object_pairs_hook=object_of)
    except DuplicateKeyError as fault:
        return {"error": f"the quota gate's response has the key {fault.key!r} twice"}
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _part_with_code(content: dict[str, Any]) -> dict[str, Any]:
    """`meta` or the whole object, whichever has a `code`; if both have a code, the part with a refusal."""
    meta = content.get("meta")
    parts = [part for part in (meta, content) if isinstance(part, dict) and "code" in part]
    refusing = [part for part in parts if _read_code(part["code"]) != 0]
    return next(iter(refusing or parts), content)


def _read_code(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else NO_CODE


def _read_detail(content: Mapping[str, Any], response: QuotaResponse) -> str:
    for key in ("detail", "msg", "message", "error"):
        if content.get(key):
            return str(content[key])
    if response.status is None:
        return f"the quota gate gave no response: {response.body.decode()}"
    missing = "reason" if "code" in content else "code, and a run may start only after an explicit code 0"
    return f"the quota gate answered HTTP {response.status} without a {missing}"
