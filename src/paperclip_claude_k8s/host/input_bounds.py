"""Limits on what a host passes in, checked before all else: deep or numerous values cost stack and time."""

from collections.abc import Mapping

from paperclip_claude_k8s.base.settings import LIMITS

CONFIG_NUMBERS = 2**64
"""Limit of whole numbers in a config: Kubernetes accepts none of this size or larger."""
CONTEXT_NUMBERS = 10**308
"""Limit of whole numbers in a context: one of this size or larger cannot become a floating-point number.
Contexts may contain larger numbers than configs, because JavaScript writes 1e20 as a whole number."""
VARIABLE_CHARS = 128 * 1024
"""Length from which on an id, name or address of a context is too long: Linux starts no program with so long
a variable. All runs wait while these texts are searched for secrets."""
VALUE_CHARS = 32
"""What `count_chars` counts for each key and each value, in addition to the characters of a text."""


def count_chars(value: object) -> int:
    """The characters of all keys and texts in a value, and `VALUE_CHARS` for each key and each value."""
    waiting, count = [value], 0
    while waiting:
        item = waiting.pop()
        count += VALUE_CHARS
        if isinstance(item, str):
            count += len(item)
        elif isinstance(item, Mapping):
            waiting += [*item, *item.values()]
        elif isinstance(item, (list, tuple)):
            waiting += item
    return count


def cannot_be_variable(value: object) -> bool:
    """Whether the value is a text that is too long for a variable of a program."""
    return isinstance(value, str) and len(value) >= VARIABLE_CHARS


def find_excess(value: object, too_large: int = CONFIG_NUMBERS) -> str | None:
    """A phrase if a value is nested too deeply or has too many values or too large numbers; else None.

    `too_large`: the smallest whole number that is too large. A tuple counts as a list, and a value that is
    not JSON counts as one value.
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
            elif isinstance(item, int) and abs(item) >= too_large:
                return f"contains a whole number that has more than {too_large.bit_length() - 1} bits"
        if count + len(below) > LIMITS.input_values:
            return f"has more than {LIMITS.input_values} values"
        if not below:
            return None
        level = below
    return f"is nested deeper than {LIMITS.input_depth} levels"
