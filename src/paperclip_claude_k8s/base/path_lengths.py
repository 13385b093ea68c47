"""The longest path that may be named to this process. No file can have a longer path.

The time for some work on a path grows with the square of its length, so it is compared with the limit first.
"""

from paperclip_claude_k8s.base.settings import LIMITS

PATH_EXCESS = f"has more than {LIMITS.path_bytes} bytes"
"""A phrase about a path that is too long."""


def path_is_too_long(path: str) -> bool:
    """Whether a path has more than `Limits.path_bytes` bytes in UTF-8."""
    if len(path) > LIMITS.path_bytes:
        return True
    return len(path.encode("utf-8", "surrogatepass")) > LIMITS.path_bytes
