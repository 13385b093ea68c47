"""The position in a log, and how a broken stream is taken up again at exactly that place.

Why there is no offset to go on from
------------------------------------
The API can only be asked for lines *since a time*, and it cuts the time to whole seconds. So an answer after
a reconnect begins with lines that were delivered already, and the question is how many.

*Why not "newer than the last timestamp"?* Because lines share timestamps: a runtime stamps all it took from
a pipe in one read with one time, so a cut falls between two lines of equal time, and dropping everything up
to that time drops lines never seen. *Why not the host's clock?* Because the times are the node's, and clocks
differ and jump; a position built from the log's own stamps does not care. *Why not the content?* Because two
equal lines are two lines.

What is exact is counting. The kubelet reads one file, in one order, and leaves out what is older than the
time asked for. Delivered lines are a beginning of that file, so an answer since S is first all delivered
lines with a time at or after S, then the new ones. How many the former are is kept as one number per second:
that is enough, since S is always a whole second. S lies two seconds before the second of the newest line, as
stdout and stderr may be stored a little out of order.

An example
----------
Delivered so far, newest last (times in seconds)::

    7.9 a    8.1 b    8.1 b    9.2 c    10.4 d    10.4 d

The stream breaks. The newest second is 10, so we ask since 8. Kept are the counts {8: 2, 9: 1, 10: 2}, the
first line of each second, and the last lines themselves. The answer::

    8.1 b    8.1 b    9.2 c    10.4 d    10.4 d    10.4 d    11.0 e

Its first line is the first line kept of second 8, so nothing was rotated away. 2 + 1 + 2 = 5 lines are passed
over, and compared on the way: the fifth must be the last line delivered. The third `d`, of the same time and
text as the one before, is new, and so is `e`. "Newer than 10.4" would have lost a `d`; "not seen before" too.

When the count does not fit
---------------------------
Rotation can take away the beginning of the file, even inside a line, and a clock that is set back makes old
lines count as recent. Then the first line is not the expected one, or no count is known, and one bounded read
looks for the tail of what was delivered (the last lines, by time and digest, in order) in what the server has
(`resume.Scan`). Found: the lines up to there are passed over, again by counting. Not found, twice: what came
after our last line may be gone, and that is told as a gap.

After a restart of this process
-------------------------------
A `Cursor` is the serialisable form: counts, first lines, up to a thousand last lines as (time, digest). It
holds totals but no running digest, which cannot be stored; a log followed from a stored position is compared
with the relay's totals by bytes and lines only. An adopted run has its log read from the beginning anyway.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from paperclip_claude_k8s.podlog.log_lines import Key, Line, Run, lines_of
from paperclip_claude_k8s.podlog.stamps import NANO

OVERLAP = 2
"""Seconds before the newest one from which a stream is taken up again: room for lines out of order."""
EVER = 10**10
"""Further back than any log reaches, seconds."""
TAIL_BYTES = 256 * 1024
"""How much of the last lines is kept to recognise them by; more would cost every quiet run memory."""
BULKY = 64 * 1024
"""A run above this is kept as digests at once if it has few lines, so that this costs next to nothing."""
FEW = 4
"""Lines up to which a bulky run has few."""
HUGE = 2 * 1024 * 1024
"""A run above this is kept as digests in any case."""
ENDING_BYTES = 64 * 1024
"""How much of the end of a long line is kept, to know the rest of it again after a rotation."""
STAMP_BYTES = 31
"""What a stamp takes in front of a line, nearly always."""
STORED_KEYS = 1000
"""Last lines in a stored position; keeps it below 100 KB."""


class Second(NamedTuple):
    """The lines of one second that were delivered."""

    lines: int
    first: Key


@dataclass(frozen=True, slots=True)
class Plan:
    """How to take a log up again: from when to ask, and what of the answer was delivered already."""

    since: int | None
    """Whole second to ask from; None is the beginning."""
    count: int | None
    """Lines to pass over; None when nobody knows, and a scan has to find out."""
    opening: Key | None = None
    """The first line of the answer, if nothing was rotated away."""
    tail: tuple[Key, ...] = ()
    """The last of the lines to pass over, in order."""
    lost: bool = False
    """The server no longer has our last line: what follows it may be incomplete."""
    disproof: frozenset[Key] = frozenset()
    """First lines that show that nothing is lost: a server may answer with nothing though it has a log."""

    @property
    def since_time(self) -> int | None:
        """Nanoseconds for the request."""
        return None if self.since is None else self.since * NANO


@dataclass(frozen=True, slots=True)
class Cursor:
    """A stored position: everything a later process needs to go on without losing or repeating a line."""

    head: int | None
    pruned: int | None
    seconds: tuple[tuple[int, Second], ...]
    tail: tuple[Key, ...]
    container: str | None
    bytes: int
    lines: int
    missing: int

    def to_json(self) -> str:
        """One JSON object, below 100 KB."""
        seconds = [[second, count, *_plain(first)] for second, (count, first) in self.seconds]
        fields = {name: getattr(self, name) for name in _PLAIN}
        return json.dumps({**fields, "seconds": seconds, "tail": [_plain(key) for key in self.tail]})

    @classmethod
    def from_json(cls, text: str) -> "Cursor":
        """Read what `to_json` wrote. Raises `ValueError` for anything else."""
        try:
            fields = json.loads(text)
            seconds = tuple((s, Second(count, _key(*first))) for s, count, *first in fields["seconds"])
            tail = tuple(_key(*key) for key in fields["tail"])
            return cls(seconds=seconds, tail=tail, **{name: fields[name] for name in _PLAIN})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stored log position: {error!r}") from error


_PLAIN = ("head", "pruned", "container", "bytes", "lines", "missing")


def _plain(key: Key) -> list[int | str]:
    return [key.time, key.digest.hex()]


def _key(time: int, digest: str) -> Key:
    return Key(time, bytes.fromhex(digest))


class _Kept(NamedTuple):
    """Delivered lines by which a place is known again: as sent, or as keys and the end of the last line."""

    second: int
    size: int
    raw: Sequence[bytes]
    keys: Sequence[Key] = ()
    ending: bytes = b""

    def recall(self) -> Sequence[Key]:
        return self.keys or [line.key() for line in lines_of(self.raw)]

    def time_of_last(self) -> int:
        return self.keys[-1].time if self.keys else lines_of(self.raw[-1:])[0].time


def _kept(run: Run) -> _Kept:
    size = len(run.text) + STAMP_BYTES * run.count
    if size <= BULKY or (run.count > FEW and size <= HUGE):
        return _Kept(run.second, size, run.raw)
    ending = run.last().text[-ENDING_BYTES:]
    return _Kept(run.second, len(ending), (), run.recall(), ending)


class Position:
    """What was delivered, as far back as a resume can need it. Memory does not grow with the log."""

    def __init__(self) -> None:
        self.beginning: Key | None = None
        """The first line ever delivered; not known in a trail that was restored."""
        self._head: int | None = None
        self._pruned: int | None = None
        self._seconds: dict[int, Second] = {}
        self._kept: list[_Kept] = []
        self._size = 0

    @property
    def last_time(self) -> int | None:
        """Time of the last line delivered."""
        return self._kept[-1].time_of_last() if self._kept else None

    def add(self, run: Run) -> None:
        """Lines of an answer that are dealt with: delivered, or read as marks."""
        second = run.second
        if self._head is None:
            self.beginning = run.first().key()
        known = self._seconds.get(second)
        if known is None:
            self._seconds[second] = Second(run.count, run.first().key())
        else:
            self._seconds[second] = known._replace(lines=known.lines + run.count)
        kept = _kept(run)
        self._kept.append(kept)
        self._size += kept.size
        if self._head is None or second > self._head or second < self._head - OVERLAP:
            self._head = second  # later, or a clock that was set back
        self._prune(self._head - OVERLAP)

    def _prune(self, since: int) -> None:
        if min(self._seconds) < since:
            gone = [second for second in self._seconds if second < since]
            self._pruned = max(gone if self._pruned is None else [*gone, self._pruned])
            for second in gone:
                del self._seconds[second]
        while len(self._kept) > 1 and (self._kept[0].second < since or self._size > TAIL_BYTES):
            self._size -= self._kept.pop(0).size

    def ends_like(self, lines: Sequence[Key]) -> bool:
        """Whether these last lines are those delivered last, and no later ones that look like them."""
        ours = [key for kept in self._kept for key in kept.recall()]
        known = min(len(ours), len(lines))
        return known > 0 and ours[-known:] == list(lines[-known:]) and list(lines).count(ours[-1]) == 1

    def plan(self, further_back: int = 0) -> Plan:
        """How to go on from here, asking up to so many seconds further back than usual."""
        if self._head is None:
            return Plan(None, 0)
        since = max(self._head - OVERLAP - further_back, 0)
        tail = tuple(key for kept in self._kept for key in kept.recall() if key.time >= since * NANO)
        if self._pruned is not None and self._pruned >= since:
            return Plan(since, None, None, tail)
        recent = [seen for second, seen in self._seconds.items() if second >= since]
        return Plan(since, sum(seen.lines for seen in recent), recent[0].first, tail)

    def ends_with(self, rest: Line) -> bool:
        """Whether this may be the rest of the last line delivered, begun in a file that was rotated away."""
        if not self._kept or not rest.text:
            return False
        kept = self._kept[-1]
        last = kept.ending or (lines_of(kept.raw[-1:])[0].text if kept.raw else b"")
        if len(rest.text) < len(last):
            return last.endswith(rest.text)
        return len(last) == ENDING_BYTES and rest.text.endswith(last)

    def cursor(self, container: str | None, counts: tuple[int, int, int]) -> Cursor:
        """The position to store, with `counts` of bytes, lines, and bytes known to be missing."""
        keys = [key for kept in self._kept for key in kept.recall()]
        seconds = tuple(self._seconds.items())
        tail = tuple(keys[-STORED_KEYS:])
        return Cursor(self._head, self._pruned, seconds, tail, container, *counts)

    @classmethod
    def restore(cls, cursor: Cursor) -> "Position":
        trail = cls()
        trail._head, trail._pruned = cursor.head, cursor.pruned
        trail._seconds = dict(cursor.seconds)
        if cursor.tail:
            trail._kept.append(_Kept(cursor.tail[-1].time // NANO, 0, (), cursor.tail))
        return trail
