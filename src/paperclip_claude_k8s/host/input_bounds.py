"""Limits on what a host passes in, checked first: deep or numerous values cost stack and time."""

import math
from collections.abc import Mapping

from paperclip_claude_k8s.base.settings import LIMITS


def find_excess(value: object) -> str | None:
    """Why a value is more than a config or a context may contain, as a phrase; None if it is not.

    Tuples count as lists, and what is not JSON as one value.
    """
    level: list[object] = [value]
    count = 0
    for _ in range(LIMITS.input_depth + 1):
        below: list[object] = []
        for item in level:
            count += 1
            if isinstance(item, Mapping):
                below += item.values()
            elif isinstance(item, (list, tuple)):
                below += item
            elif isinstance(item, int) and not _fits_a_float(item):
                return "contains a number that is too large"
        if count + len(below) > LIMITS.input_values:
            return f"has more than {LIMITS.input_values} values"
        if not below:
            return None
        level = below
    return f"is nested deeper than {LIMITS.input_depth} levels"


def _fits_a_float(number: int) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False
