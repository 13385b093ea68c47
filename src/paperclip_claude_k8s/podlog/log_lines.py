"""Bytes of a log answer → stamped lines.

The runtime stores a line as records of at most 16 KiB. Kubelets since about v1.26 put a timestamp before
the first record of a line only, older ones before every record: both come out as the line that was written.
A line is only believed at its newline, so that chunks may be cut anywhere.
"""

from collections.abc import Sequence
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
    text: bytes
    """The lines as written, each with its newline."""
    raw: Sequence[bytes]
    """The same as the server sent them, one by one, without newlines."""
    dropped: int = 0
    """Bytes of a line above the limit; then `text` is empty and `raw` holds nothing but the stamp."""

    @property
    def count(self) -> int:
        return len(self.raw)

    def recall(self, start: int = 0, stop: int | None = None) -> list[Key]:
        return [line.key() for line in lines_of(self.raw[start:stop])]

    def first(self) -> Line:
        return lines_of(self.raw[:1])[0]

    def last(self) -> Line:
        return lines_of(self.raw[-1:])[0]

    def only_first(self) -> "Run":
        return Run(self.second, self.first().text + b"\n", self.raw[:1], self.dropped)

    def before(self, count: int) -> "Run":
        """The run's first `count` lines, of at least one."""
        if count >= self.count:
            return self
        raw = self.raw[:count]
        return Run(self.second, b"".join([line.text + b"\n" for line in lines_of(raw)]), raw, self.dropped)

    def after(self, count: int) -> "Run | None":
        """The run without its first `count` lines; None when nothing is left."""
        if not count:
            return self
        raw = self.raw[count:]
        return Run(self.second, b"".join([line.text + b"\n" for line in lines_of(raw)]), raw) if raw else None


@dataclass(frozen=True, slots=True)
class UnstampedText:
    """A line without a timestamp: the rest of a line that began earlier, or not log text at all."""

    text: bytes


def lines_of(raw: Sequence[bytes]) -> list[Line]:
    """Raw lines that are known to carry stamps."""
    return [line for line in map(read_line, raw) if line]


def first_line(block: bytes) -> bytes:
    """The first line with its newline, or everything where there is none."""
    return block[: block.find(b"\n") + 1] or block


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


def run_of(raw: bytes) -> Run | UnstampedText:
    """One raw line without its newline as a run of its own."""
    line = read_line(raw)
    if line is None:
        return UnstampedText(raw)
    return Run(line.time // NANO, line.text + b"\n", (raw,))


def oversize(head: bytes, size: int) -> Run | UnstampedText:
    """A line above the limit: its raw size without newline, and at least the stamp it begins with."""
    stamp = STAMP.match(head)
    time = moment(stamp) if stamp else None
    if stamp is None or time is None:
        return UnstampedText(head[:RECORD_BYTES])
    return Run(time // NANO, b"", (stamp.group(),), dropped=size - stamp.end() + 1)


class LineReader:
    """Cuts one answer into runs. Chunks go in as they come; what has no newline yet stays inside."""

    def __init__(self, line_limit: int = LINE_LIMIT) -> None:
        self._limit = line_limit
        self._rest: list[bytes] = []
        self._held = 0
        self._second = 0
        self._width = 0
        self._prove_end = 0
        self._whole_records = False

    @property
    def partial_line(self) -> bytes:
        """The line that has begun and not ended."""
        return b"".join(self._rest)

    def feed(self, chunk: bytes) -> list[Run | UnstampedText]:
        """The lines that this chunk completes."""
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        lines = chunk.split(b"\n")
        partial_line = lines.pop()
        out: list[Run | UnstampedText] = []
        sound = self._held + len(chunk) <= self._limit
        if self._held > self._limit:
            out.append(oversize(self.partial_line, self._held + len(lines.pop(0))))
        elif self._held:
            lines[0] = self.partial_line + lines[0]
        self._rest, self._held = [], 0
        self._keep(partial_line)
        if sound and self._is_uniform(lines, chunk, end):
            width = self._width
            text = b"\n".join([line[width:] for line in lines] + [b""])
            return [Run(self._second, text, lines)]
        return out + self._mixed(lines)

    def _keep(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held <= self._limit:
            self._rest.append(piece)
        elif self._held - len(piece) <= self._limit:
            self._rest = [(self.partial_line + piece)[:RECORD_BYTES]]

    def _is_uniform(self, lines: list[bytes], chunk: bytes, end: int) -> bool:
        """Whether all lines have stamps of one second and one width, and no others inside: the usual case."""
        stamp = STAMP.match(lines[0])
        time = moment(stamp) if stamp else None
        if stamp is None or time is None:
            return False
        if chunk.count(b"\n" + lines[0][:SECOND_BYTES], 0, end) != len(lines) - 1:
            return False
        self._second = time // NANO
        return self._same_width(lines, stamp.end()) and self._only_outer_stamps(lines, time)

    def _same_width(self, lines: list[bytes], width: int) -> bool:
        """Whether every stamp ends where the first one does."""
        if width != self._width:
            self._width, self._prove_end = width, 0
        if self._prove_end < TRUSTED_AFTER:
            zone = lines[0][SECOND_BYTES + 9 : width]
            if not zone or {line[SECOND_BYTES + 9 : width] for line in lines} != {zone}:
                return False
            self._prove_end += len(lines)
        return True

    def _only_outer_stamps(self, lines: list[bytes], time: int) -> bool:
        """Whether long lines have no stamps before their later records; a kubelet does it always or never."""
        if not self._whole_records and max(map(len, lines)) > self._width + RECORD_BYTES:
            if any(join_records(time, line[self._width :]) for line in lines):
                return False
            self._whole_records = True
        return True

    def _mixed(self, lines: list[bytes]) -> list[Run | UnstampedText]:
        """Line by line; neighbours of one second become one run again."""
        out: list[Run | UnstampedText] = []
        group: list[Run] = []
        for raw in lines:
            item = run_of(raw) if len(raw) <= self._limit else oversize(raw, len(raw))
            if group and (isinstance(item, UnstampedText) or item.dropped or item.second != group[0].second):
                out.append(_merged(group))
                group = []
            if isinstance(item, UnstampedText) or item.dropped:
                out.append(item)
            else:
                group.append(item)
        return [*out, _merged(group)] if group else out


def _merged(runs: list[Run]) -> Run:
    text = b"".join([run.text for run in runs])
    return Run(runs[0].second, text, [line for run in runs for line in run.raw])
