"""Bytes of a log answer → stamped lines.

The runtime stores a line as records of at most 16 KiB. Kubelets since about v1.26 put a timestamp before
the first record of a line only, older ones before every record: both come out as the line that was written.
A line is only believed at its newline, so that chunks may be cut anywhere.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from paperclip_claude_k8s.podlog.stamps import NANO, SECOND_BYTES, STAMP, moment, read_stamp

RECORD_BYTES = 16 * 1024
"""What a runtime stores of a line in one record."""
LINE_LIMIT = 32 * 1024 * 1024
"""A longer line is not kept, only counted: memory stays bounded whatever a container writes."""
TRUSTED_AFTER = 1000
"""Lines with stamps of one width after which an answer is believed to keep it: one kubelet, one format."""


class Key(NamedTuple):
    """What identifies a line in a log, together with how often it was seen: when, and a digest of what."""

    time: int
    digest: bytes

    @classmethod
    def of(cls, time: int, text: bytes) -> "Key":
        return cls(time, blake2b(text, digest_size=16).digest())


class Line(NamedTuple):
    """One line as the container wrote it, without its newline."""

    time: int
    text: bytes

    def key(self) -> Key:
        return Key.of(self.time, self.text)


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive lines of one second, kept together so that nothing is done line by line without need."""

    second: int
    count: int
    text: bytes
    """The lines as written, each with its newline."""
    raw: bytes
    """The same as the server sent them."""
    dropped: int = 0
    """Bytes of a line above the limit; then `text` is empty and `raw` holds nothing but the stamp."""

    def lines(self) -> list[Line]:
        return lines_of(self.raw)

    def first(self) -> Line:
        return lines_of(self.raw[: self.raw.index(b"\n") + 1])[0]

    def only_first(self) -> "Run":
        line = self.first()
        return Run(self.second, 1, line.text + b"\n", self.raw[: self.raw.index(b"\n") + 1], self.dropped)

    def after(self, count: int) -> "Run | None":
        """The run without its first `count` lines; None when nothing is left."""
        if not count:
            return self
        if count >= self.count:
            return None
        raw = self.raw.split(b"\n", count)[count]
        text = b"".join([line.text + b"\n" for line in lines_of(raw)])
        return Run(self.second, self.count - count, text, raw)


@dataclass(frozen=True, slots=True)
class Stray:
    """A line without a timestamp: the rest of a line that began earlier, or not log text at all."""

    text: bytes


def lines_of(raw: bytes) -> list[Line]:
    """Raw lines, each with its newline, that are known to carry stamps."""
    return [line for line in map(read_line, raw.split(b"\n")[:-1]) if line]


def read_line(raw: bytes) -> Line | None:
    """A raw line without its newline, or None when no timestamp stands in front."""
    stamp = read_stamp(raw)
    if stamp is None:
        return None
    time, start = stamp
    text = raw[start:]
    return Line(time, join_records(time, text) or text)


def join_records(time: int, text: bytes) -> bytes | None:
    """Take out the stamps before later records of a long line; None when there are none.

    A stamp in the text itself may stand where a record would begin: records are not older than their line,
    and every one of them has its stamp.
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


def run_of(raw: bytes) -> Run | Stray:
    """One raw line without its newline as a run of its own."""
    line = read_line(raw)
    if line is None:
        return Stray(raw)
    return Run(line.time // NANO, 1, line.text + b"\n", raw + b"\n")


def oversize(head: bytes, size: int) -> Run | Stray:
    """A line above the limit: its raw size without newline, and at least the stamp it begins with."""
    stamp = STAMP.match(head)
    time = moment(stamp) if stamp else None
    if stamp is None or time is None:
        return Stray(head[:RECORD_BYTES])
    return Run(time // NANO, 1, b"", stamp.group() + b"\n", dropped=size - stamp.end() + 1)


class LineReader:
    """Cuts one answer into runs. Chunks go in as they come; what has no newline yet stays inside."""

    def __init__(self, line_limit: int = LINE_LIMIT) -> None:
        self._limit = line_limit
        self._rest: list[bytes] = []
        self._held = 0
        self._width = 0
        self._proven = 0
        self._whole_records = False

    @property
    def torso(self) -> bytes:
        """The line that has begun and not ended."""
        return b"".join(self._rest)

    def feed(self, chunk: bytes) -> list[Run | Stray]:
        """The lines that this chunk completes."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._keep(chunk)
            return []
        out: list[Run | Stray] = []
        start = 0
        if self._held > self._limit:
            start = chunk.index(b"\n") + 1
            out.append(oversize(self.torso, self._held + start - 1))
            self._rest.clear()
        self._rest.append(chunk[start:end])
        block = b"".join(self._rest)
        self._rest, self._held = [], 0
        self._keep(chunk[end:])
        if block:
            out.extend(self._uniform(block) or self._mixed(block))
        return out

    def _keep(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held <= self._limit:
            self._rest.append(piece)
        elif self._held - len(piece) <= self._limit:
            self._rest = [(self.torso + piece)[:RECORD_BYTES]]

    def _uniform(self, block: bytes) -> list[Run | Stray]:
        """A block whose lines all have stamps of one second and one width, the usual case; else nothing."""
        stamp = STAMP.match(block)
        time = moment(stamp) if stamp else None
        if stamp is None or time is None or len(block) > self._limit:
            return []
        lines = block.split(b"\n")
        lines.pop()
        width = stamp.end()
        if block.count(b"\n" + block[:SECOND_BYTES]) != len(lines) - 1 or not self._same_width(lines, width):
            return []
        if not self._whole_records and max(map(len, lines)) > width + RECORD_BYTES:
            if any(join_records(time, line[width:]) for line in lines):
                return []
            self._whole_records = True
        lines = [line[width:] for line in lines]
        lines.append(b"")
        return [Run(time // NANO, len(lines) - 1, b"\n".join(lines), block)]

    def _same_width(self, lines: list[bytes], width: int) -> bool:
        """Whether every stamp ends where the first one does."""
        if width != self._width:
            self._width, self._proven = width, 0
        if self._proven < TRUSTED_AFTER:
            mark = lines[0][SECOND_BYTES + 9 : width]
            if {line[SECOND_BYTES + 9 : width] for line in lines} != {mark} or not mark:
                return False
            self._proven += len(lines)
        return True

    def _mixed(self, block: bytes) -> list[Run | Stray]:
        """A block line by line; neighbours of one second become one run again."""
        out: list[Run | Stray] = []
        group: list[Run] = []
        for raw in block.split(b"\n")[:-1]:
            item = run_of(raw) if len(raw) <= self._limit else oversize(raw, len(raw))
            if group and (isinstance(item, Stray) or item.dropped or item.second != group[0].second):
                out.append(_merged(group))
                group = []
            if isinstance(item, Stray) or item.dropped:
                out.append(item)
            else:
                group.append(item)
        if group:
            out.append(_merged(group))
        return out


def _merged(runs: list[Run]) -> Run:
    if len(runs) == 1:
        return runs[0]
    text = b"".join([run.text for run in runs])
    raw = b"".join([run.raw for run in runs])
    return Run(runs[0].second, len(runs), text, raw)
