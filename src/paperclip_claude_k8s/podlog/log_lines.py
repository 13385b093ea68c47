"""Bytes of a log response → batches of stamped lines.

The kubelet sends each line as `2026-01-01T00:00:07.123456789Z text`. The time is in the zone of the node,
with up to nine digits of fraction; it becomes an integer of UTC nanoseconds here, because text does not
compare across zones and a float loses nanoseconds.

The runtime stores a line as records of at most 16 KiB. Kubelets since about v1.26 write a stamp only before
the first record of a line, older kubelets before every record. Both become the line that was written. A line
is complete only at its newline, so chunks may be cut anywhere.

Nearly every chunk holds whole lines of one second. Such a chunk becomes one `LineBatch` with a single slice
per line (`LineReader.feed`); other chunks are parsed line by line (`LineReader._parse_each`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.times import NANO

STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
SECOND_BYTES = 20
"""Length of the date, the time and the dot: what the stamps of one second have in common."""
ZONE_AT = SECOND_BYTES + 9
"""Offset of the zone in a stamp with nine digits of fraction, the usual number."""
RECORD_BYTES = 16 * 1024
"""Largest number of bytes of a line that a runtime stores in one record."""
LINE_LIMIT = LIMITS.log_line_bytes
"""Longer lines are counted but not kept, so that memory is bounded whatever the container writes."""
LONG_LINE_BYTES = 1024 * 1024
"""Lines from this size on are not copied more often than necessary."""
LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
"""The last second of the year 9999, in Unix time. A stamp with a zone can be later, and is then rejected."""
TRUST_WIDTH_AFTER = 1000
"""After this many lines with stamps of one width the rest of the response is assumed to have the same width:
one kubelet uses one format."""


@lru_cache(maxsize=256)
def _unix_second(text: bytes, zone: bytes) -> int:
    iso = (text + (b"+00:00" if zone == b"Z" else zone)).decode()
    return int(datetime.fromisoformat(iso).timestamp())


def stamp_time(stamp: re.Match[bytes]) -> int | None:
    """Nanoseconds of a match of `STAMP`; None if its digits are not a valid date from 1970 to 9999."""
    text, fraction, zone = stamp.groups()
    try:
        second = _unix_second(text, zone)
    except ValueError:
        return None
    if not 0 <= second <= LAST_SECOND:
        return None
    return second * NANO + int((fraction or b"0").ljust(9, b"0"))


def read_stamp(raw: bytes, at: int = 0) -> tuple[int, int] | None:
    """The time stamped at this offset, and the offset of the text after it; None if there is no stamp."""
    stamp = STAMP.match(raw, at)
    if stamp is None:
        return None
    time = stamp_time(stamp)
    return None if time is None else (time, stamp.end())


class LineKey(NamedTuple):
    """Identifies a line by its time and a digest of its text. Equal lines have equal keys."""

    time: int
    digest: bytes

    @classmethod
    def of(cls, time: int, text: bytes) -> "LineKey":
        return cls(time, blake2b(text, digest_size=16).digest())


class Line(NamedTuple):
    """One line as the container wrote it, without its newline."""

    time: int
    text: bytes

    def key(self) -> LineKey:
        return LineKey.of(self.time, self.text)


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Consecutive lines of one second. They stay together to avoid work per line."""

    second: int
    text: bytes
    """The lines as written, each with its newline."""
    raw: Sequence[bytes]
    """The same lines as the server sent them, with stamps and without newlines."""
    dropped: int = 0
    """Size of a line above `LINE_LIMIT`; then `text` is empty and `raw` contains only the stamp."""

    @property
    def count(self) -> int:
        return len(self.raw)

    def line_keys(self, start: int = 0, stop: int | None = None) -> list[LineKey]:
        return [line.key() for line in lines_of(self.raw[start:stop])]

    def first(self) -> Line:
        return lines_of(self.raw[:1])[0]

    def last(self) -> Line:
        return lines_of(self.raw[-1:])[0]

    def only_first(self) -> "LineBatch":
        return LineBatch(self.second, self.first().text + b"\n", self.raw[:1], self.dropped)

    def without_first(self, count: int) -> "LineBatch | None":
        """The batch without its first `count` lines; None if nothing remains."""
        if not count:
            return self
        raw = self.raw[count:]
        return (
            LineBatch(self.second, b"".join([line.text + b"\n" for line in lines_of(raw)]), raw)
            if raw
            else None
        )


@dataclass(frozen=True, slots=True)
class UnstampedText:
    """A line without a timestamp: the rest of a line that began earlier, or text that is not a log line."""

    text: bytes


def lines_of(raw: Sequence[bytes]) -> list[Line]:
    """Parse raw lines that are known to start with stamps."""
    return [line for line in map(read_line, raw) if line]


def first_line(block: bytes) -> bytes:
    """The first line with its newline, or the whole block if it has no newline."""
    return block[: block.find(b"\n") + 1] or block


def read_line(raw: bytes) -> Line | None:
    """Parse a raw line without its newline; None if it does not start with a stamp."""
    stamp = read_stamp(raw)
    if stamp is None:
        return None
    time, start = stamp
    text = raw[start:]
    return Line(time, join_records(time, text) or text)


def join_records(time: int, text: bytes) -> bytes | None:
    """Remove the stamps before the later records of a long line; None if there are none.

    Text of the agent may look like a stamp where a record would begin. Real stamps are recognised by two
    properties: no record is older than the start of its line, and every record has a stamp.
    """
    pieces, at = [text[:RECORD_BYTES]], RECORD_BYTES
    while at < len(text):
        stamp = read_stamp(text, at)
        if stamp is None or stamp[0] < time:
            return None
        start = stamp[1]
        pieces.append(text[start : start + RECORD_BYTES])
        at = start + RECORD_BYTES
    return b"".join(pieces) if len(pieces) > 1 else None


def batch_of(raw: bytes) -> LineBatch | UnstampedText:
    """A batch of one raw line, which comes without its newline."""
    line = read_line(raw)
    if line is None:
        return UnstampedText(raw)
    return LineBatch(line.time // NANO, line.text + b"\n", (raw,))


def oversize_batch(head: bytes, size: int) -> LineBatch | UnstampedText:
    """The batch of a line above the limit. `head`: at least its stamp; `size`: its raw size, no newline."""
    stamp = STAMP.match(head)
    time = stamp_time(stamp) if stamp else None
    if stamp is None or time is None:
        return UnstampedText(head[:RECORD_BYTES])
    return LineBatch(time // NANO, b"", (stamp.group(),), dropped=size - stamp.end() + 1)


class LineReader:
    """Splits one response into batches. Text after the last newline is kept until its line is complete."""

    def __init__(self, line_limit: int = LINE_LIMIT) -> None:
        self._limit = line_limit
        self._partial: list[bytes] = []
        self._partial_size = 0
        """Also counts bytes above the limit, which are not kept."""
        self._second = 0
        """Second of the lines that `_is_uniform` examined last."""
        self._width = 0
        """Length of the stamps of this response."""
        self._width_checked = 0
        """Consecutive lines with stamps of that length."""
        self._stamps_lines_only = False
        """Whether a long line proved that this kubelet writes no stamps before later records."""

    @property
    def partial_line(self) -> bytes:
        """The last line so far, which has no newline yet."""
        return b"".join(self._partial)

    def feed(self, chunk: bytes) -> list[LineBatch | UnstampedText]:
        """Return the lines that this chunk completes."""
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        lines = chunk.split(b"\n")
        partial_line = lines.pop()
        out: list[LineBatch | UnstampedText] = []
        within_limit = self._partial_size + len(chunk) <= self._limit
        if self._partial_size > self._limit:
            out.append(oversize_batch(self.partial_line, self._partial_size + len(lines.pop(0))))
        elif self._partial_size:
            self._partial.append(lines[0])
            lines[0] = self.partial_line
        self._partial, self._partial_size = [], 0
        self._keep(partial_line)
        if within_limit and self._is_uniform(lines, chunk, end):
            width = self._width
            bodies: list[bytes | memoryview] = [line[width:] for line in lines[1:]]
            first = memoryview(lines[0])[width:] if len(lines[0]) > LONG_LINE_BYTES else lines[0][width:]
            return [LineBatch(self._second, b"\n".join([first, *bodies, b""]), lines)]
        return out + self._parse_each(lines)

    def _keep(self, piece: bytes) -> None:
        self._partial_size += len(piece)
        if self._partial_size <= self._limit:
            self._partial.append(piece)
        elif self._partial_size - len(piece) <= self._limit:  # this piece exceeds the limit: keep the stamp
            self._partial = [(self.partial_line + piece)[:RECORD_BYTES]]

    def _is_uniform(self, lines: list[bytes], chunk: bytes, end: int) -> bool:
        """Whether all lines have stamps of one second and one width, and no stamps inside: the usual case."""
        stamp = STAMP.match(lines[0])
        time = stamp_time(stamp) if stamp else None
        if stamp is None or time is None:
            return False
        if chunk.count(b"\n" + lines[0][:SECOND_BYTES], 0, end) != len(lines) - 1:
            return False
        self._second = time // NANO
        return self._same_width(lines, stamp.end()) and self._only_outer_stamps(lines, time)

    def _same_width(self, lines: list[bytes], width: int) -> bool:
        """Whether every stamp is as long as the first one: then they have the same text from `ZONE_AT` on."""
        if width != self._width:
            self._width, self._width_checked = width, 0
        if self._width_checked < TRUST_WIDTH_AFTER:
            zone = lines[0][ZONE_AT:width]
            if not zone or {line[ZONE_AT:width] for line in lines} != {zone}:
                return False
            self._width_checked += len(lines)
        return True

    def _only_outer_stamps(self, lines: list[bytes], time: int) -> bool:
        """Whether long lines have no stamps before later records. A kubelet writes those always or never."""
        if not self._stamps_lines_only and max(map(len, lines)) > self._width + RECORD_BYTES:
            if any(join_records(time, line[self._width :]) for line in lines):
                return False
            self._stamps_lines_only = True
        return True

    def _parse_each(self, lines: list[bytes]) -> list[LineBatch | UnstampedText]:
        """Parse line by line, then join consecutive lines of one second to batches."""
        out: list[LineBatch | UnstampedText] = []
        group: list[LineBatch] = []
        for raw in lines:
            item = batch_of(raw) if len(raw) <= self._limit else oversize_batch(raw, len(raw))
            if group and (isinstance(item, UnstampedText) or item.dropped or item.second != group[0].second):
                out.append(_joined(group))
                group = []
            if isinstance(item, UnstampedText) or item.dropped:
                out.append(item)
            else:
                group.append(item)
        return [*out, _joined(group)] if group else out


def _joined(batches: list[LineBatch]) -> LineBatch:
    text = b"".join([batch.text for batch in batches])
    return LineBatch(batches[0].second, text, [line for batch in batches for line in batch.raw])
