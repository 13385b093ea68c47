"""Kubernetes resource quantities, in the forms that settings use."""

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** (power + 1) for power, unit in enumerate("kMGTPE")},
    **{f"{unit}i": Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGTPE")},
}
_QUANTITY = re.compile(r"^([0-9]{1,18}(?:\.[0-9]{1,18})?)([a-zA-Z]{0,2})$")


def _parse(value: object, example: str) -> Decimal:
    match = _QUANTITY.match(str(value).strip()) if isinstance(value, (str, int, float)) else None
    if match is None or isinstance(value, bool) or match[2] not in _SUFFIXES:
        raise ValueError(f'a Kubernetes quantity such as "{example}"')
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def parse_cpu(value: object) -> Decimal:
    """Return a quantity of CPU in cores: "500m" is 0.5. A ValueError says what is expected."""
    return _parse(value, "500m")


def parse_bytes(value: object) -> int:
    """Return a quantity in bytes: "8Gi" is 8 * 1024³. A ValueError says what is expected."""
    return int(_parse(value, "8Gi"))
