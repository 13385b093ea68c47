"""Which names are valid, as the API server checks them.

A valid name of an object, container, volume or key, used as a file name, never leads out of its folder.
"""

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV = re.compile(r"[ -<>-~]+")
_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")


def is_label(name: str) -> bool:
    """Whether a volume or container may have this name: an RFC 1123 label."""
    return len(name) <= 63 and _LABEL.fullmatch(name) is not None


def is_subdomain(name: str) -> bool:
    """Whether an object may have this name: an RFC 1123 subdomain."""
    return len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None


def is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return (is_subdomain(prefix) or not slash) and len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None


def is_label_value(value: str) -> bool:
    return not value or (len(value) <= 63 and _QUALIFIED.fullmatch(value) is not None)


def is_secret_key(key: str) -> bool:
    valid = len(key) <= 253 and _SECRET_KEY.fullmatch(key) is not None
    return valid and key != "." and not key.startswith("..")


def is_env_name(name: str) -> bool:
    """Whether a variable may have this name: printable ASCII without `=`."""
    return _ENV.fullmatch(name) is not None


def is_path_below(path: str) -> bool:
    """Whether a path is relative, without `..`, and possible on Linux."""
    parts = path.split("/")
    is_possible = "\0" not in path and all(len(part.encode("utf-8", "replace")) <= 255 for part in parts)
    return is_possible and ".." not in parts and not path.startswith("/") and len(path) < 2048


def is_quantity(value: object) -> bool:
    """Whether a value is an amount of a resource, such as `500m`."""
    return _quantity(value) is not None


def is_positive_quantity(value: object) -> bool:
    found = _quantity(value)
    return found is not None and found[1] != "-" and float(found[2]) > 0


def _quantity(value: object) -> re.Match[str] | None:
    text = str(value)
    return _QUANTITY.fullmatch(text) if len(text) < 40 else None
