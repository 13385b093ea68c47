"""Which lines of an agent's output are parsed as JSON. Each parsed value may take 100 bytes of memory."""

from paperclip_claude_k8s.base.settings import LIMITS


def small_enough_to_parse(line: bytes) -> bool:
    """Whether the line is small enough to be parsed, in size and in the number of values in it."""
    return len(line) <= LIMITS.event_bytes and has_at_most(LIMITS.event_values, line)


def has_at_most(values: int, line: bytes | bytearray) -> bool:
    """Whether a JSON text has at most this many commas and opening brackets."""
    return len(line) <= values or line.count(b",") + line.count(b"[") + line.count(b"{") <= values
