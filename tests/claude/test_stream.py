"""Reading a run's output, whatever is in it."""

import pytest

from paperclip_claude_k8s.claude import StreamReader


@pytest.mark.parametrize("end", [b"", b"]" * 100_000 + b"}"])
def test_a_line_nested_too_deep_is_no_event_and_ends_no_run(end: bytes) -> None:
    reader = StreamReader()
    reader.feed(b'{"type":"x","a":' + b"[" * 100_000 + end + b"\n")
    reader.feed(b'{"type":"result","subtype":"success","result":"Done."}\n')
    assert reader.finish().summary == "Done."
