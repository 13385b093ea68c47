"""The bridge's line protocol: one JSON object per line, UTF-8, each with a `type`.

From the host:

- `hello {protocol, version}`: the first line, sent once
- `call {id, method, params}`: calls run concurrently; the host chooses the ids, each used once
- `ack {id, n, error?}`: callback n of call id is finished; with `error`, it raised an exception
- `cancel {id, reason?}`: stop the run; the call continues until the agent has stopped
- `leave {id}`: detach from the run without stopping it; its Job continues and the next run adopts it

To the host:

- `hello {protocol, version, python}`
- `callback {id, n, name, args}`: n counts from 1 in each call
- `result {id, value}`: sent after every callback of the call was acknowledged
- `error {id, kind, message}`: id is null if the error belongs to no call

If the line of a call is too long, has too many values or is no JSON, the `error` has the id of the call,
provided that the line begins with `{"type":"call","id":N,`. The lines of the npm package do.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeGuard

import orjson

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.base.strict_json import MAX_DEPTH, is_too_deep, strict_json

PROTOCOL = 1
"""Incremented with every change that a peer of the previous version could misunderstand."""

ERROR_CHARS = 1000
"""Largest number of characters in the `error` of an ack, and in a message that reports a bug."""
_MAX_ID = 2**53
"""The largest id: JavaScript has no exact whole numbers above it."""
_START_OF_CALL = re.compile(rb'\s*\{\s*"type"\s*:\s*"call"\s*,\s*"id"\s*:\s*(-?\d{1,16})\s*[,}]')
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')

ErrorKind: TypeAlias = Literal["protocol", "version", "method", "params", "bug", "shutdown"]


class WireInvalid(ValueError):
    """A line is not a valid message. `call`: the id in the line, if the line was meant to be a call.

    The text says why and does not quote the line, which may contain tokens.
    """

    def __init__(self, reason: str, call: int | None = None) -> None:
        super().__init__(reason)
        self.call = call


@dataclass(frozen=True, slots=True)
class Hello:
    protocol: object
    version: str


@dataclass(frozen=True, slots=True)
class Call:
    id: int
    method: str
    params: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ack:
    id: int
    n: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    id: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    id: int


Message: TypeAlias = Hello | Call | Ack | Cancel | Leave


def read_message(line: bytes) -> Message:
    """Parse one line.

    Raises:
        WireInvalid: not JSON, not an object, of an unknown type, or with a missing or wrong field.
    """
    try:
        given = _parsed(line)
    except WireInvalid as fault:
        raise WireInvalid(str(fault), call_at_start(line)) from None
    try:
        return _message(given)
    except WireInvalid as fault:
        call = given.get("id") if given.get("type") == "call" else None
        raise WireInvalid(str(fault), call if _is_id(call) else None) from None


def call_at_start(line: bytes) -> int | None:
    """Return the id if the line begins like a call, even if the rest is invalid; None if it does not."""
    found = _START_OF_CALL.match(line[:200])
    return int(found[1]) if found else None


def _parsed(line: bytes) -> dict[str, Any]:
    limits = Limits()
    if len(line) > limits.bridge_line_bytes:
        raise WireInvalid(f"a line is longer than {limits.bridge_line_bytes} bytes")
    if _has_more_values(line, limits.bridge_line_values):
        raise WireInvalid(f"a line has more than {limits.bridge_line_values} commas and brackets")
    try:
        parsed = json.loads(line)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise WireInvalid("a line is not JSON") from None
    if not isinstance(parsed, dict):
        raise WireInvalid("a line is not a JSON object")
    return parsed


def _has_more_values(line: bytes, limit: int) -> bool:
    """Return whether more than `limit` commas and opening brackets are outside of strings."""

    def count(text: bytes) -> int:
        return sum(map(text.count, (b",", b"[", b"{")))

    return count(line) > limit and count(_STRING.sub(b"", line)) > limit  # the first test is fast


def _too_deep() -> WireInvalid:
    return WireInvalid(f"a line is nested deeper than {MAX_DEPTH} levels")


def _message(given: dict[str, Any]) -> Message:
    if is_too_deep(given):
        raise _too_deep()
    match given.get("type"):
        case "hello":
            return Hello(given.get("protocol"), _text(given, "version"))
        case "call":
            return Call(_number(given, "id"), _text(given, "method"), _object(given, "params"))
        case "ack":
            error = given.get("error")
            text = None if error is None else str(error)[:ERROR_CHARS]
            return Ack(_number(given, "id"), _number(given, "n"), text)
        case "cancel":
            return Cancel(_number(given, "id"), str(given.get("reason") or ""))
        case "leave":
            return Leave(_number(given, "id"))
    raise WireInvalid("a line has no known type; known are hello, call, ack, cancel and leave")


def hello(version: str, python: str) -> dict[str, Any]:
    return {"type": "hello", "protocol": PROTOCOL, "version": version, "python": python}


def callback(call: int, n: int, name: str, args: tuple[Any, ...]) -> dict[str, Any]:
    return {"type": "callback", "id": call, "n": n, "name": name, "args": args}


def result(call: int, value: object) -> dict[str, Any]:
    return {"type": "result", "id": call, "value": value}


def error(call: int | None, kind: ErrorKind, message: str) -> dict[str, Any]:
    return {"type": "error", "id": call, "kind": kind, "message": message}


def encode(message: Mapping[str, Any]) -> bytes:
    """Encode a message as one line. Lone surrogates, which UTF-8 cannot encode, become U+FFFD."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return strict_json(message) + b"\n"


# Strict, unlike `base.json_readers`: a field of the wrong type is an error that the host made.


def _number(given: Mapping[str, Any], key: str) -> int:
    value = given.get(key)
    if not _is_id(value):
        raise WireInvalid(f"a {given['type']} needs a whole number as {key}")
    return value


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_ID


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise WireInvalid(f"a {given['type']} needs a string as {key}")
    return value


def _object(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        raise WireInvalid(f"a {given['type']} needs an object as {key}")
    return value
