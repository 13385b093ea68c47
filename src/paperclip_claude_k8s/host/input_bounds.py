"""Limits on what a host passes in, checked first: deep or numerous values cost stack and time."""

from collections.abc import Mapping

from paperclip_claude_k8s.base.settings import LIMITS

_TOO_LARGE = 2**64
"""From here on neither Kubernetes nor most JSON readers accept a whole number."""


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
            elif isinstance(item, int) and abs(item) >= _TOO_LARGE:
                return "contains a whole number that has more than 64 bits"
        if count + len(below) > LIMITS.input_values:
            return f"has more than {LIMITS.input_values} values"
        if not below:
            return None
        level = below
    return f"is nested deeper than {LIMITS.input_depth} levels"
