"""Parsing of a watch's response: its lines and events."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.cluster.model import Bookmark, WatchEvent
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.transport import parse_watch_event, split_lines


class Pieces:
    """A response that arrives in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@given(st.lists(st.binary(min_size=1).filter(lambda b: b.strip() and b"\n" not in b)), st.data())
async def test_watch_lines_do_not_depend_on_chunks(lines: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(line + b"\n" for line in lines) + b'{"cut off'
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert [line async for line in split_lines(Pieces(pieces), limit=1000)] == lines


def event(kind: str, subject: Any) -> bytes:
    return json.dumps({"type": kind, "object": subject}).encode()


@pytest.mark.parametrize(("kind", "gone"), [("ADDED", False), ("MODIFIED", False), ("DELETED", True)])
def test_only_a_deleted_event_says_that_its_object_is_gone(kind: str, gone: bool) -> None:  # noqa: FBT001
    assert parse_watch_event(event(kind, {"a": 1}), dict) == WatchEvent({"a": 1}, gone=gone)


def test_watch_bookmark_has_its_version() -> None:
    assert parse_watch_event(event("BOOKMARK", {"metadata": {"resourceVersion": "7"}}), dict) == Bookmark("7")


def test_watch_error_has_code_and_message() -> None:
    status = {
        "kind": "Status",
        "code": 410,
        "reason": "Expired",
        "message": "too old resource version: 1 (7)",
    }
    with pytest.raises(ClusterError, match="Expired: too old resource version") as caught:
        parse_watch_event(event("ERROR", status), dict)
    assert caught.value.status == 410


def test_watch_error_without_message_is_raised() -> None:
    with pytest.raises(ClusterError, match="the watch failed") as caught:
        parse_watch_event(event("ERROR", {"code": "strange"}), dict)
    assert caught.value.status is None


@pytest.mark.parametrize("line", [b"not json", b"[]", b'"x"', b"{}", b'{"type": "ADDED", "object": 7}'])
def test_watch_line_that_is_not_an_event_is_an_error_without_status(line: bytes) -> None:
    with pytest.raises(ClusterError) as caught:
        parse_watch_event(line, dict)
    assert caught.value.status is None
