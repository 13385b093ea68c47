"""Decides which lines of a response were delivered before. Nothing here waits or does I/O.

`Replay` is the usual case. It skips the number of lines that the plan gives, and compares the first one and
the last ones with what was delivered; a difference raises `Misaligned`. `position` explains the rule.

`Scan` is the other case: it reads one whole response and searches for the tail of what was delivered. It
has one of four results. Example: the tail is `x y z`, each letter a line.

    a b c x y z n    TailFound        skip 6 lines, `n` is new
    a b ? y z n      TailInterleaved  skip 5 lines; the undelivered line `?` before `z` counts as lost
    n o              TailMissing      no delivered line: rotated away; all lines are new, some may be lost
    a b x y          ResponseCut      ended before `z` could come: proves nothing, read again
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from paperclip_claude_k8s.podlog.log_lines import LineBatch, LineKey
from paperclip_claude_k8s.podlog.position import ResumePlan

CONTEXT = 64
"""Number of lines compared around the last delivered line if the tail is not found in one piece."""


class Misaligned(Exception):
    """The response differs from the plan. A scan is needed before anything is delivered."""


class Replay:
    """Skips the lines of one response that were delivered before, and checks that they are the same lines."""

    def __init__(self, plan: ResumePlan) -> None:
        self._count = plan.count or 0
        self._opening = plan.opening
        self._tail = plan.tail
        self._first_lines_if_not_lost = plan.first_lines_if_not_lost
        self._before_tail = self._count - len(plan.tail)
        """Lines to skip whose content is no longer known."""
        self._skipped = 0
        self._left_out_rest = False
        """Whether the rest of an earlier line was left out at the start of the response."""

    @property
    def done(self) -> bool:
        """Whether everything that follows is new."""
        return self._skipped >= self._count

    def skip_delivered(self, batch: LineBatch) -> LineBatch | None:
        """Return the new part of a batch, None if there is none. Raises `Misaligned`."""
        if self._first_lines_if_not_lost:
            if batch.first().key() in self._first_lines_if_not_lost:
                raise Misaligned
            self._first_lines_if_not_lost = frozenset()
        if self.done:
            return batch
        extra = self._rest_of_earlier_line(batch)
        skipped = min(batch.count - extra, self._count - self._skipped)
        if self._skipped == 0 or self._skipped + skipped > self._before_tail:
            self._compare(batch.line_keys(extra, extra + skipped))
        self._skipped += skipped
        return batch.without_first(extra + skipped)

    def _rest_of_earlier_line(self, batch: LineBatch) -> int:
        """Return 1 if the response starts with one line too many, else 0.

        If the start time lies within a long line, an old kubelet sends the rest of that line with a stamp. If
        the first line is unexpected for another reason, `_compare` notices that by the lines after it.
        """
        if self._skipped or self._left_out_rest or batch.first().key() == self._opening:
            return 0
        self._left_out_rest = True
        return 1

    def _compare(self, keys: Sequence[LineKey]) -> None:
        for at, key in enumerate(keys, self._skipped):
            if at >= self._before_tail:
                expected = self._tail[at - self._before_tail]
            elif at == 0 and self._opening:
                expected = self._opening
            else:
                continue
            if key != expected:
                raise Misaligned


@dataclass(frozen=True, slots=True)
class TailFound:
    """The response contains the last delivered line. `plan` skips up to and including it."""

    plan: ResumePlan


@dataclass(frozen=True, slots=True)
class TailInterleaved:
    """The last delivered line is there, but some lines before it were never delivered.

    Earlier responses did not show them, because the node's clock had been set back. Accepted only if further
    scans agree.
    """

    plan: ResumePlan

    def confirms(self, earlier: "TailInterleaved | TailMissing") -> bool:
        return self == earlier


@dataclass(frozen=True, slots=True)
class TailMissing:
    """The response lacks the last delivered line, and nothing shows that it was cut.

    Accepted only if further scans, none of them shorter, agree.
    """

    opening: LineKey | None
    count: int

    def confirms(self, earlier: "TailInterleaved | TailMissing") -> bool:
        if isinstance(earlier, TailInterleaved):
            return False
        return earlier.opening in (None, self.opening) and earlier.count <= self.count


@dataclass(frozen=True, slots=True)
class ResponseCut:
    """The response ended before the last delivered line could come."""


ScanResult = TailFound | TailInterleaved | TailMissing | ResponseCut


class Scan:
    """Searches one whole response for the tail of what was delivered.

    Keeps only the first lines of the response, about as many as the tail has, and the last `CONTEXT` lines.
    """

    def __init__(self, plan: ResumePlan, beginning: LineKey | None) -> None:
        """`beginning`: the first line ever delivered. A response that starts with it lacks none before it."""
        self._plan = plan
        self._known_openings = {key for key in (plan.opening, beginning) if key}
        self._tail = plan.tail
        self._borders = _borders(plan.tail)
        self._matched = 0
        self._tail_end = 0
        """Number of lines up to the end of the tail; 0 until the tail is found."""
        self._count = 0
        self._head: list[LineKey] = []
        self._recent: deque[LineKey] = deque(maxlen=CONTEXT)
        self._best_match = (0, 0)
        """Of the lines equal to the last delivered one, the best: how many lines up to it match the tail, and
        its number in the response."""

    def feed(self, batch: LineBatch) -> None:
        for key in batch.line_keys():
            self._feed_line(key)

    def _feed_line(self, key: LineKey) -> None:
        self._count += 1
        if len(self._head) <= len(self._tail):
            self._head.append(key)
        if not self._tail_end:
            self._matched = _advance(self._tail, self._borders, self._matched, key)
            self._tail_end = self._count if self._matched == len(self._tail) else 0
        self._recent.append(key)
        if key == self._tail[-1]:
            common = _common_end(self._tail, self._recent)
            if common > self._best_match[0]:
                self._best_match = (common, self._count)

    def result(self) -> ScanResult:
        """What the response, which has ended, shows about the last delivered line."""
        if self._tail_end:
            return self._found(self._tail_end, len(self._tail))
        from_beginning = bool(self._head) and self._head[0] in self._known_openings
        for skipped in (0, 1):  # the first line may be the rest of a line that began in an earlier file
            rest = self._head[skipped:]
            overlap = 0 if from_beginning else _overlap(self._tail, rest)
            if overlap < self._matched or (overlap < len(rest) and _contains(self._tail, rest)):
                return ResponseCut()
            if overlap:
                return self._found(skipped + overlap, overlap)
        if self._best_match[0]:
            found = self._found(self._best_match[1], self._best_match[0])
            return TailInterleaved(replace(found.plan, lost=True))
        if from_beginning:
            return ResponseCut()
        return TailMissing(self._head[0] if self._head else None, self._count)

    def _found(self, end: int, known: int) -> TailFound:
        return TailFound(replace(self._plan, count=end, opening=self._head[0], tail=self._tail[-known:]))


def _common_end(one: Sequence[LineKey], other: Sequence[LineKey]) -> int:
    """How many keys two sequences have in common at their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _borders(pattern: Sequence[LineKey]) -> list[int]:
    """For each prefix of the pattern, its longest proper prefix that is also its end (Knuth-Morris-Pratt)."""
    borders = [0] * len(pattern)
    matched = 0
    for at in range(1, len(pattern)):
        while matched and pattern[at] != pattern[matched]:
            matched = borders[matched - 1]
        matched += pattern[at] == pattern[matched]
        borders[at] = matched
    return borders


def _advance(pattern: Sequence[LineKey], borders: Sequence[int], matched: int, key: LineKey) -> int:
    """Length of the longest prefix of the pattern that the text ends with after one more key."""
    if matched == len(pattern):
        matched = borders[matched - 1]
    while matched and key != pattern[matched]:
        matched = borders[matched - 1]
    return matched + (key == pattern[matched])


def _overlap(text: Sequence[LineKey], beginning: Sequence[LineKey]) -> int:
    """Length of the longest end of `text` that `beginning` starts with."""
    if not beginning:
        return 0
    borders, matched = _borders(beginning), 0
    for key in text:
        matched = _advance(beginning, borders, matched, key)
    return matched


def _contains(text: Sequence[LineKey], part: Sequence[LineKey]) -> bool:
    """Whether `part` is not empty and occurs in `text`."""
    if not part:
        return False
    borders, matched = _borders(part), 0
    for key in text:
        matched = _advance(part, borders, matched, key)
        if matched == len(part):
            return True
    return False
