r"""Finds the agent's output in a recording: a captured stdout, a container's log, or a host's log.

| recording | what a line looks like |
|---|---|
| stdout of the CLI | `{"type":"system",...}` |
| `kubectl logs --timestamps` | `2026-01-01T10:00:00.123456789Z LINE` |
| `kubectl logs --prefix` | `[pod/NAME/claude] LINE` |
| the container's log | the relay's marked lines between those of stdout, which begin with the byte 0x1e |
| what a host received | the adapter's lines between those of the agent: `[paperclip] TEXT` |
| log of the Paperclip server | `{"ts":"2026-01-01T10:00:00Z","stream":"stdout","chunk":"LINE\n"}` |

A prefix is removed, and a line counts as one of the server's log, only if the first line of the file is of
that kind, because an agent may print anything. For the same reason, nothing proves that
the adapter wrote a line that begins with `[paperclip]`.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.claude.events import read_json
from paperclip_claude_k8s.claude.partial_line import PartialLine
from paperclip_claude_k8s.podlog.marks import MARK_BYTE

Stream: TypeAlias = Literal["stdout", "stderr", "status"]
"""`stdout` or `stderr` of the agent; `status` for the adapter's own lines."""
STATUS_START = b"[paperclip] "
"""What the adapter's own lines begin with."""
_POD = re.compile(rb"\[pod/[^\]\s]{1,300}\] ")
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d) ")
_MARKED = re.compile(rb"\x1e[0-9a-f]{8} ([ben])(?: (.*))?", re.DOTALL)
"""A mark of the relay: b is a bookmark, e a line of stderr, n follows a last line without a newline."""
_MARK_AT_END = re.compile(rb"\x1e[0-9a-f]{8} n\n?$")
CHUNK_FIELD_BYTES = 400
"""In a line of the server's log, the field `chunk` begins within this many bytes."""
MARK_BYTES = 16
"""A mark at the end of a line is shorter than this."""


class RecordingFormat:
    """Reads the lines of one recording. The first line decides which of the formats all lines have."""

    def __init__(self) -> None:
        self._prefixes: list[re.Pattern[bytes]] | None = None
        self._is_server_log = False
        self._cut_line = PartialLine()
        """The beginning of a line of stdout. In a server's log, a chunk may end within a line."""

    def read(self, line: bytes) -> Iterator[tuple[Stream, bytes]]:
        """The parts of the agent's output on this line, or the adapter's line without its newline."""
        bare = self._without_prefixes(line)
        if bare.startswith(STATUS_START):
            yield "status", bare.removeprefix(STATUS_START).rstrip(b"\r\n")
        elif bare.startswith(MARK_BYTE):
            marked = _MARKED.match(bare)
            if marked is not None and marked[1] == b"e":
                yield "stderr", marked[2] or b"\n"
        elif self._is_server_log and (chunk := _chunk_of_server(bare)) is not None:
            yield from self._whole_lines(*chunk)
        else:
            at_end = _MARK_AT_END.search(bare, max(len(bare) - MARK_BYTES, 0))
            yield "stdout", bare if at_end is None else bare[: at_end.start()] + b"\n"

    def finish(self) -> Iterator[tuple[Stream, bytes]]:
        """The last line, if it is not complete."""
        if self._cut_line:
            yield "stdout", self._cut_line.take()

    def _whole_lines(self, stream: Stream, chunk: bytes) -> Iterator[tuple[Stream, bytes]]:
        """The complete lines of stdout up to the end of this chunk; a chunk of another stream as it is."""
        if stream != "stdout":
            yield stream, chunk
            return
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._cut_line.add(line)
            yield "stdout", self._cut_line.take() + b"\n"
        self._cut_line.add(rest)

    def _without_prefixes(self, line: bytes) -> bytes:
        is_first = self._prefixes is None
        if is_first and not line.strip():
            return line
        found = []
        for prefix in (_POD, _TIME) if self._prefixes is None else self._prefixes:
            if match := prefix.match(line):
                line = line[match.end() :]
                found.append(prefix)
        if is_first:
            self._prefixes, self._is_server_log = found, _chunk_of_server(line) is not None
        return line


def _chunk_of_server(line: bytes) -> tuple[Stream, bytes] | None:
    """The stream and the output in a line of the server's log; None for any other line."""
    if b'"chunk"' not in line[:CHUNK_FIELD_BYTES] or not line.startswith(b"{"):
        return None
    entry = read_json(line)
    if not isinstance(entry, dict) or "type" in entry or not isinstance(entry.get("chunk"), str):
        return None
    stream: Stream = "stderr" if get_text(entry, "stream") == "stderr" else "stdout"
    text = get_text(entry, "chunk")
    if text.startswith(STATUS_START.decode()):
        return "status", text.removeprefix(STATUS_START.decode()).rstrip("\n").encode("utf-8", "replace")
    return stream, text.encode("utf-8", "replace")
