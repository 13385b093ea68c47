"""The bytes of a watch → what it tells."""

from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import orjson

from paperclip_claude_k8s.cluster.model import Bookmark, Seen
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.transport import Chunks

S = TypeVar("S")


async def lines(answer: Chunks) -> AsyncGenerator[bytes, None]:
    """Whole lines of any length; an unfinished one at the end is no event."""
    rest = b""
    while block := await answer.read():
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


def watch_event(line: bytes, read: Callable[[Any], S]) -> Seen[S] | Bookmark:
    """One line of a watch.

    Raises:
        ClusterError: an ERROR event, with its code (410: the version is too old), or what is no event.
    """
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        event = None
    thing = event.get("object") if isinstance(event, dict) else None
    if not isinstance(thing, dict):
        raise ClusterError(None, "BrokenAnswer", "a watch told something that is no event")
    match event.get("type"):
        case "ERROR":
            code = thing.get("code")
            raise ClusterError(
                code if isinstance(code, int) else None,
                str(thing.get("reason") or ""),
                str(thing.get("message") or "the watch failed"),
            )
        case "BOOKMARK":
            return Bookmark(str((thing.get("metadata") or {}).get("resourceVersion") or ""))
        case kind:
            return Seen(read(thing), gone=kind == "DELETED")
