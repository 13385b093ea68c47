"""What the bridge and its peer say to each other: one JSON object per line, UTF-8, ended by a newline.

From the peer:

- `hello {protocol, version}`: first, once
- `call {id, method, params}`: many at a time; ids are the peer's
- `ack {id, n, error?}`: callback n of call id was taken, or refused
- `cancel {id, reason?}`: Stop; the call goes on until it has stopped its work
- `leave {id}`: the host has lost its hold on the run; its Job is left to the next one

To the peer:

- `hello {protocol, version, python}`
- `callback {id, n, name, args}`: n counts from 1 in each call
- `result {id, value}`: after every callback of that call was acknowledged
- `error {id, kind, message}`: id null for a line that belongs to no call
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from paperclip_claude_k8s.base.strict_json import strict_json

PROTOCOL = 1
"""Raised whenever a peer of the version before could misunderstand us."""

ErrorKind: TypeAlias = Literal["protocol", "version", "method", "params", "bug", "shutdown"]


class WireInvalid(ValueError):
    """A line that is no message of ours. Says what is wrong and quotes nothing: a line may hold tokens."""


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
    """The message of one line.

    Raises:
        WireInvalid: not JSON, not an object, no known type, or a field that is not what it should be.
    """
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise WireInvalid("a line is not JSON") from None
    if not isinstance(given, dict):
        raise WireInvalid("a line is not a JSON object")
    match given.get("type"):
        case "hello":
            return Hello(given.get("protocol"), _text(given, "version"))
        case "call":
            return Call(_number(given, "id"), _text(given, "method"), _object(given, "params"))
        case "ack":
            error = given.get("error")
            return Ack(_number(given, "id"), _number(given, "n"), None if error is None else str(error))
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
    """One line. Halves of a surrogate pair, which JSON can spell and UTF-8 cannot hold, become U+FFFD."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return strict_json(message) + b"\n"


# Strict, unlike `base.json_readers`: a field of the wrong type is an error of the other side.


def _number(given: Mapping[str, Any], key: str) -> int:
    value = given.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise WireInvalid(f"a {given['type']} needs a whole number as {key}")
    return value


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise WireInvalid(f"a {given['type']} needs a text as {key}")
    return value


def _object(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        raise WireInvalid(f"a {given['type']} needs an object as {key}")
    return value
