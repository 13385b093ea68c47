"""The quota gate: one question before a new run's Job is made, by the run's id (seed 000)."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from paperclip_claude_k8s.cli.runs.replies import Error, Stop

if TYPE_CHECKING:
    import aiohttp

PATIENCE = 10.0
"""Seconds for the whole answer."""
BODY_BYTES = 64 * 1024
"""Of the answer that are read."""
KEYS = ("quotaGateUrl", "quota_gate_url")
"""Of the config: the gate's address."""
MEMBERSHIP, CREDIT, NO_NUMBER = 60001, 60002, -1
_LINK = re.compile(r"https://[\w\-.~:/?#\[@!$&'(*+,;=%]+", re.ASCII)
_TRAILING = ".,;:!?'"

_ADVICE: Mapping[Error, str] = {
    "membership_required": "The user needs a membership or subscription; other options of this command do not"
    " help, and neither does running it again. Show the user pricing_url, or all of detail.",
    "credit_required": "The user needs more credits or a subscription. Show the user pricing_url, or all of"
    " detail, and do not run it again before.",
    "consume_param_error": "Check the options and quotaGateUrl against detail. Do not tell the user to buy"
    " anything. A new attempt is a new run.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the gate answered; status None: nothing, and `body` says why."""

    status: int | None
    body: bytes


def refusal(told: Told) -> Stop | None:
    """Why the run may not be submitted; None: it may. Without a clear yes it is a no.

    A clear yes is a 2xx answer whose `code`, at the top or in `meta`, is the integer 0 or its text "0" (a
    gate that writes its codes as text is understood throughout). No code, null, true, false, 0.0, an answer
    that is no JSON object, and two codes of which one is not 0 are no yes.
    """
    where = _saying(_mapping(told.body))
    good = told.status is not None and 200 <= told.status < 300
    code = _code(where.get("code"))
    if good and code == 0:
        return None
    detail = _detail(where, told)
    error: Error = "consume_param_error"
    if code in {MEMBERSHIP, CREDIT}:
        error = "membership_required" if code == MEMBERSHIP else "credit_required"
    link = _LINK.search(detail)
    pricing = {"pricing_url": link[0].rstrip(_TRAILING)} if link else {}
    return _stop(error, detail, code, **pricing)


def unanswered() -> Stop:
    """A shell was killed while it asked: the gate is never asked twice for one run, so nobody will know."""
    return _stop(
        "consume_param_error",
        "the shell that asked the quota gate for this run was killed before it heard the answer; start a new"
        " run",
        NO_NUMBER,
    )


def _stop(error: Error, detail: str, code: int, **more: str) -> Stop:
    stage = {"failure_stage": "consume_quota", "api_code": code, "agent_instruction": _ADVICE[error]}
    return Stop(error, detail, **stage, **more)


async def ask(url: str, run_id: str, about: Mapping[str, Any], patience: float = PATIENCE) -> Told:
    """One POST of `{run_id, …about}`; never repeated, and no redirect followed. Raises nothing."""
    import aiohttp  # noqa: PLC0415  # only where there is a gate

    from paperclip_claude_k8s.base.http import open_session, proxy_for  # noqa: PLC0415  # it loads aiohttp

    headers = {"Idempotency-Key": run_id, "Accept": "application/json"}
    try:
        async with (
            open_session(proxy_for(url, os.environ), total=patience) as session,
            session.post(
                url, json={"run_id": run_id, **about}, headers=headers, allow_redirects=False
            ) as answer,
        ):
            return Told(answer.status, await _body_of(answer.content))
    except TimeoutError:
        return Told(None, f"no answer within {patience:g}s".encode())
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Told(None, f"it cannot be reached ({type(error).__name__})".encode())


async def _body_of(content: "aiohttp.StreamReader") -> bytes:
    """All of it, but one byte above the limit at most: what is cut is no JSON, and therefore no yes."""
    body = b""
    while len(body) <= BODY_BYTES and (piece := await content.read(BODY_BYTES + 1 - len(body))):
        body += piece
    return body


def url_of(config: Mapping[str, Any]) -> str | None:
    """Raises `Stop` for an address that is none."""
    given = next((config[key] for key in KEYS if config.get(key)), None)
    return checked_url(str(given)) if given else None


def checked_url(url: str) -> str:
    """Raises `Stop`; the address is not quoted, it may hold a token."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Stop("usage", "quotaGateUrl: expected an http or https address")
    return url


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _saying(answer: dict[str, Any]) -> dict[str, Any]:
    """The part of the answer that holds its code; of two codes, the one that refuses."""
    meta = answer.get("meta")
    parts = [part for part in (meta, answer) if isinstance(part, dict) and "code" in part]
    refusing = [part for part in parts if _code(part["code"]) != 0]
    return next(iter(refusing or parts), answer)


def _code(told: object) -> int:
    if isinstance(told, str) and re.fullmatch(r"-?[0-9]{1,18}", told.strip()):
        return int(told)
    return told if isinstance(told, int) and not isinstance(told, bool) else NO_NUMBER


def _detail(where: Mapping[str, Any], told: Told) -> str:
    for key in ("detail", "msg", "message", "error"):
        if where.get(key):
            return str(where[key])
    if told.status is None:
        return f"the quota gate gave no answer: {told.body.decode()}"
    lacking = "reason" if "code" in where else "code, and only an explicit code 0 lets a run through"
    return f"the quota gate answered HTTP {told.status} without a {lacking}"
