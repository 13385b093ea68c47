"""Converts settings, as forms and people write them, to exact types; a ValueError says what is expected."""

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from paperclip_claude_k8s.base.path_lengths import path_is_too_long
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.input_bounds import find_excess
from paperclip_claude_k8s.host.pod_template_reader import read_pod_template

Variables: TypeAlias = dict[str, str | JsonMap]
"""Name → value, or a reference such as `{"secretKeyRef": {"name": "s", "key": "k"}}`."""
_REFERENCE_KINDS = frozenset({"secretKeyRef", "configMapKeyRef"})
_REFERENCE_PARTS = {
    "name": re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"),
    "key": re.compile(r"[-._a-zA-Z0-9]{1,253}"),
}
"""Required parts of a reference, with what Kubernetes accepts."""
MAX_NUMBER = 2**31 - 1
"""Largest number of a setting: Kubernetes stores numbers of seconds and ids of users in 32 bits."""


def _validator(expected: str, test: Callable[[Any], bool]) -> BeforeValidator:
    """Return a validator that accepts what passes `test`, and trims text."""

    def read(value: object) -> object:
        if not test(value):
            raise ValueError(expected)
        return value.strip() if isinstance(value, str) else value

    return BeforeValidator(read)


def _is_number_in_range(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


def _is_whole_number(value: object) -> bool:
    return isinstance(value, (int, float)) and _is_number_in_range(value) and float(value).is_integer()


def _is_path(value: object) -> bool:
    return isinstance(value, str) and not path_is_too_long(value.strip())


def _are_kubeconfigs(value: object) -> bool:
    if not isinstance(value, str) or len(value) > LIMITS.kubeconfig_files * (LIMITS.path_bytes + 1):
        return False
    files = [file for file in value.strip().split(os.pathsep) if file]
    return len(files) <= LIMITS.kubeconfig_files and not any(map(path_is_too_long, files))


def _parse_json(text: str, expected: str) -> object:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(expected) from None
    if excess := find_excess(parsed):
        raise ValueError(f"{expected}; its JSON text {excess}")
    return parsed


def _read_string_list(value: object) -> object:
    expected = 'a list of strings, such as ["--verbose"]'
    if isinstance(value, str):
        value = _parse_json(value, expected) if value.lstrip().startswith("[") else value.split()
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(expected)
    return tuple(value)


def _read_pairs(text: str, expected: str) -> JsonMap:
    lines = (line.strip() for line in text.splitlines())
    parts = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if not all(separator and key.strip() for key, separator, _ in parts):
        raise ValueError(expected)
    return {key.strip(): value.strip() for key, _, value in parts}


def _scalar_text(value: object, expected: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise ValueError(expected)  # noqa: TRY004  # pydantic reads ValueError, not TypeError
    return str(value)


def read_text_map(value: object) -> dict[str, str]:
    """Return an object of strings. It is given as an object, as JSON text or as `key=value` lines."""
    expected = "an object of strings, its JSON text, or key=value lines"
    return {
        key: _scalar_text(item, expected)
        for key, item in _read_map(value, expected).items()
        if item is not None
    }


def read_variables(value: object) -> Variables:
    """Return environment variables, given as for `read_text_map`.

    An object may also have, as the value of a variable, a reference to a Secret or ConfigMap of the
    namespace, as Kubernetes spells it, with or without `valueFrom`. The returned reference is without it.
    """
    expected = (
        'an object of strings, its JSON text, or key=value lines; a value may be {"valueFrom": '
        '{"secretKeyRef": {"name": "a Secret", "key": "a key in it"}}}, or the same with configMapKeyRef'
    )
    return {
        key: _read_reference(item, expected) if isinstance(item, Mapping) else _scalar_text(item, expected)
        for key, item in _read_map(value, expected).items()
        if item is not None
    }


def is_reference(value: object) -> bool:
    """Whether `read_variables` accepts this value of a variable as a reference to a Secret or ConfigMap."""
    try:
        return isinstance(value, Mapping) and bool(_read_reference(value, ""))
    except ValueError:
        return False


def _read_map(value: object, expected: str) -> JsonMap:
    if isinstance(value, str):
        value = (
            _parse_json(value, expected) if value.lstrip().startswith("{") else _read_pairs(value, expected)
        )
    if not isinstance(value, Mapping):
        raise ValueError(expected)  # noqa: TRY004
    return {str(key): item for key, item in value.items()}


def _read_reference(value: Mapping[str, Any], expected: str) -> JsonMap:
    source = value["valueFrom"] if set(value) == {"valueFrom"} else value
    if not isinstance(source, Mapping) or len(source) != 1:
        raise ValueError(expected)
    ((kind, reference),) = source.items()
    if kind not in _REFERENCE_KINDS or not isinstance(reference, Mapping):
        raise ValueError(expected)
    has_parts = all(
        isinstance(reference.get(part), str) and pattern.fullmatch(reference[part])
        for part, pattern in _REFERENCE_PARTS.items()
    )
    others = set(reference) - set(_REFERENCE_PARTS)
    if not has_parts or others - {"optional"} or not isinstance(reference.get("optional", False), bool):
        raise ValueError(expected)
    return {str(kind): dict(reference)}


def _read_objects(value: object) -> object:
    expected = "a list of objects, or its JSON text"
    value = _parse_json(value, expected) if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(expected)
    return tuple(dict(item) for item in value)


def _read_servers(value: object) -> object:
    """Return MCP servers by name, also from a whole `.mcp.json`.

    A server that is null stays null: it removes an inherited server.
    """
    expected = "an object of MCP servers by name, each an object with command or url, or null"
    value = _parse_json(value, expected) if isinstance(value, str) else value
    if isinstance(value, Mapping) and set(value) == {"mcpServers"}:
        value = value["mcpServers"]
    if not isinstance(value, Mapping) or not all(map(_is_server, value.values())):
        raise ValueError(expected)
    return {str(name): dict(server) if server else None for name, server in value.items()}


def _is_server(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, Mapping) and any(isinstance(value.get(key), str) for key in ("command", "url"))


def _read_auto_flag(value: object) -> object:
    """Return True, False, or None for "auto"; a form writes these values as text."""
    values = {"auto": None, "true": True, "false": False}
    if isinstance(value, str) and value.strip() in values:
        return values[value.strip()]
    if not isinstance(value, bool) and value is not None:
        raise ValueError("true, false or auto")
    return value


def choice(*names: str) -> BeforeValidator:
    """Return a validator that accepts only these names, spelled exactly."""
    return _validator("one of " + ", ".join(names), lambda value: value in names)


Str: TypeAlias = Annotated[str, _validator("a string", lambda value: isinstance(value, str))]
HostPath: TypeAlias = Annotated[str, _validator(f"a path of at most {LIMITS.path_bytes} bytes", _is_path)]
Kubeconfigs: TypeAlias = Annotated[
    str,
    _validator(
        f"a path, or at most {LIMITS.kubeconfig_files} with {os.pathsep!r} between them, of at most "
        f"{LIMITS.path_bytes} bytes each",
        _are_kubeconfigs,
    ),
]
Flag: TypeAlias = Annotated[bool, _validator("true or false", lambda value: isinstance(value, bool))]
AutoFlag: TypeAlias = Annotated[bool | None, BeforeValidator(_read_auto_flag)]
Whole: TypeAlias = Annotated[int, _validator("a whole number, 0 or more", _is_whole_number)]
Seconds: TypeAlias = Annotated[float, _validator("a number of seconds, 0 or more", _is_number_in_range)]
Dollars: TypeAlias = Annotated[float, _validator("a number of US dollars, 0 or more", _is_number_in_range)]
TextMap: TypeAlias = Annotated[dict[str, str], BeforeValidator(read_text_map)]
Environment: TypeAlias = Annotated[Variables, BeforeValidator(read_variables)]
TextList: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_read_string_list)]
PodTemplate: TypeAlias = Annotated[JsonMap, BeforeValidator(read_pod_template)]
Servers: TypeAlias = Annotated[dict[str, JsonMap | None], BeforeValidator(_read_servers)]
Objects: TypeAlias = Annotated[tuple[JsonMap, ...], BeforeValidator(_read_objects)]
