"""The position in a log, and how a broken stream resumes at exactly that position.

Why there is no offset to resume from
-------------------------------------
The API accepts only a start *time*, and truncates it to whole seconds. So a response after a reconnect starts
with lines that were already delivered, and the question is how many.

*Why not "newer than the last timestamp"?* Lines share timestamps: a runtime stamps everything that it takes
from a pipe in one read with one time. A cut can fall between two lines of equal time; dropping everything
up to that time would drop lines that were never delivered. *Why not the host's clock?* The stamps come from
the node, and clocks differ and jump; a position made of the log's own stamps is independent of them. *Why
not the content?* Two equal lines may both be new, and then both have to be delivered.

Counting is exact. The kubelet reads one file, in order, and leaves out what is older than the start time. The
delivered lines are a prefix of that file. So a response since S consists of all delivered lines with a time
at or after S, followed by the new ones. The number of the delivered lines is kept as one counter per second,
which is enough because S is always a whole second. S lies two seconds before the second of the newest line,
because stdout and stderr may be stored slightly out of order.

An example
----------
Delivered so far, newest last (times in seconds)::

    7.9 a    8.1 b    8.1 b    9.2 c    10.4 d    10.4 d

The stream breaks. The newest second is 10, so the next request asks for lines since 8. The counts
{8: 2, 9: 1, 10: 2}, the first line of each second, and the last lines themselves are known. The response::

    8.1 b    8.1 b    9.2 c    10.4 d    10.4 d    10.4 d    11.0 e

Its first line is the first known line of second 8, so nothing was rotated away. 2 + 1 + 2 = 5 lines are
skipped and compared on the way: the fifth must be the last line delivered. The third `d` is new although it
has the time and text of the line before it; `e` is new too. "Newer than 10.4" would have lost a `d`, and so
would "not seen before".

When the count does not fit
---------------------------
Rotation can remove the beginning of the file, even inside a line. After the node's clock is set back, lines
that were delivered long ago have times after S, and their counts may have been dropped. In these cases the
first line is not the expected one, or the count is unknown, and a bounded read searches what the server has
for the tail of what was delivered: the last lines, by time and digest, in order (`resume.Scan`). If the tail
is found, the lines up to its end are skipped, again by counting. If several reads agree that it is missing,
lines after it may be lost, and a gap is reported.

A position lives in memory only. A process that adopts a run reads its log from the beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from paperclip_claude_k8s.base.times import NANO
from paperclip_claude_k8s.podlog.log_lines import Line, LineBatch, LineKey, lines_of

OVERLAP = 2
"""A request starts this many seconds before the newest line, because lines may be slightly out of order."""
ENTIRE_LOG = 10**10
"""A number of seconds further back than any log reaches."""
TAIL_BYTES = 256 * 1024
"""Size of the last lines that are kept to recognise them; each follower holds that much memory."""
LARGE_BATCH = 64 * 1024
"""Bytes. A larger batch is reduced to digests immediately if it has at most `FEW_LINES` lines."""
FEW_LINES = 4
"""Number of lines up to which the digests of a large batch cost little."""
HUGE_BATCH = 2 * 1024 * 1024
"""Bytes. A larger batch is reduced to digests, however many lines it has."""
ENDING_BYTES = 64 * 1024
"""Size of the end of a long line that is kept, to recognise the rest of that line after a rotation."""
STAMP_BYTES = 31
"""Usual length of a stamp."""
MAX_SECONDS = 100
"""Largest number of seconds whose lines are counted. There are more than a few only after the node's clock
was set back; a server that exceeds this number invents the times."""


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """How to resume a log: the start time of the request, and which lines of the response are known."""

    since: int | None
    """Whole second at which the request starts; None is the beginning of the log."""
    count: int | None
    """Number of lines to skip; None if it is unknown and a scan has to determine it."""
    opening: LineKey | None = None
    """The first line of the response, if nothing was rotated away."""
    tail: tuple[LineKey, ...] = ()
    """The last of the lines to skip, in order."""
    lost: bool = False
    """The server no longer has the last delivered line, so lines after it may be missing."""
    first_lines_if_not_lost: frozenset[LineKey] = frozenset()
    """If the response starts with one of these, nothing was lost after all: a server may return an empty log
    by mistake."""

    @property
    def since_time(self) -> int | None:
        """The start time of the request in nanoseconds."""
        return None if self.since is None else self.since * NANO


class _SecondCount(NamedTuple):
    """The delivered lines of one second."""

    lines: int
    first: LineKey


class _Recent(NamedTuple):
    """A delivered batch, kept to recognise its lines: as sent, or as keys and the end of its last line."""

    second: int
    size: int
    raw: Sequence[bytes]
    digested: Sequence[LineKey] = ()
    ending: bytes = b""

    @classmethod
    def of(cls, batch: LineBatch, first: LineKey | None) -> "_Recent":
        """`first`: the key of the first line, if known already: the digest of a long line takes time."""
        size = len(batch.text) + STAMP_BYTES * batch.count
        if size <= LARGE_BATCH or (batch.count > FEW_LINES and size <= HUGE_BATCH):
            return cls(batch.second, size, batch.raw)
        ending = batch.last().text[-ENDING_BYTES:]
        keys = batch.line_keys() if first is None else [first, *batch.line_keys(1)]
        return cls(batch.second, len(ending), (), keys, ending)

    def line_keys(self) -> Sequence[LineKey]:
        return self.digested or [line.key() for line in lines_of(self.raw)]

    def time_of_last(self) -> int:
        return self.digested[-1].time if self.digested else lines_of(self.raw[-1:])[0].time

    def end_of_last(self) -> bytes:
        return self.ending or (lines_of(self.raw[-1:])[0].text if self.raw else b"")


class Position:
    """What was delivered, as far back as a resume may need it. Its size does not grow with the log."""

    def __init__(self) -> None:
        self.beginning: LineKey | None = None
        """The first line ever delivered."""
        self._newest_second: int | None = None
        self._newest_dropped_second: int | None = None
        """The latest second whose count was dropped."""
        self._seconds: dict[int, _SecondCount] = {}
        self._recent: list[_Recent] = []
        self._recent_size = 0

    @property
    def last_time(self) -> int | None:
        """Time of the last line delivered."""
        return self._recent[-1].time_of_last() if self._recent else None

    def add(self, batch: LineBatch) -> None:
        """Advance over lines of a response that are done: delivered, or processed as lines of the relay."""
        second = batch.second
        known, first = self._seconds.get(second), None
        if known is None:
            first = batch.first().key()
            self._seconds[second] = _SecondCount(batch.count, first)
        else:
            self._seconds[second] = known._replace(lines=known.lines + batch.count)
        if self._newest_second is None:
            self.beginning = first
        recent = _Recent.of(batch, first)
        self._recent.append(recent)
        self._recent_size += recent.size
        newest = self._newest_second
        if newest is None or second > newest or second < newest - OVERLAP:
            self._newest_second = newest = second  # later, or the node's clock was set back
        self._prune(newest - OVERLAP)

    def _prune(self, since: int) -> None:
        too_many = len(self._seconds) > MAX_SECONDS
        if too_many or min(self._seconds) < since:
            old = [second for second in self._seconds if too_many or second < since]  # if too many, all
            self._newest_dropped_second = max(
                old if self._newest_dropped_second is None else [*old, self._newest_dropped_second]
            )
            for second in old:
                del self._seconds[second]
        while len(self._recent) > 1 and (self._recent[0].second < since or self._recent_size > TAIL_BYTES):
            self._recent_size -= self._recent.pop(0).size

    def ends_like(self, lines: Sequence[LineKey]) -> bool:
        """Whether the last lines of a log are the last lines delivered.

        False if the last one occurs twice among them: the second of two equal lines may be new.
        """
        delivered = self._recent_keys()
        known = min(len(delivered), len(lines))
        if not known or delivered[-known:] != list(lines[-known:]):
            return False
        return list(lines).count(delivered[-1]) == 1

    def plan(self, further_back: int = 0) -> ResumePlan:
        """How to resume here. `further_back`: start this many seconds earlier than usual."""
        if self._newest_second is None:
            return ResumePlan(since=None, count=0)
        since = max(self._newest_second - OVERLAP - further_back, 0)
        request = since or None  # second 0 is that of a log without timestamps
        tail = tuple(key for key in self._recent_keys() if key.time >= since * NANO)
        if self._newest_dropped_second is not None and self._newest_dropped_second >= since:
            return ResumePlan(request, count=None, tail=tail)
        counts = [count for second, count in self._seconds.items() if second >= since]
        first = counts[0].first  # the counts are in the order in which their seconds were first delivered
        return ResumePlan(request, sum(count.lines for count in counts), first, tail)

    def may_continue_with(self, rest: Line) -> bool:
        """Whether `rest` may be the end of the last line delivered, whose beginning was rotated away."""
        if not self._recent or not rest.text:
            return False
        last = self._recent[-1].end_of_last()
        if len(rest.text) < len(last):
            return last.endswith(rest.text)
        return len(last) == ENDING_BYTES and rest.text.endswith(last)

    def _recent_keys(self) -> list[LineKey]:
        return [key for recent in self._recent for key in recent.line_keys()]
