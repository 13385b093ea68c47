"""Taking an answer up again: which of its lines were delivered. No awaiting; `cursor` explains the rule."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from paperclip_claude_k8s.podlog.log_lines import Key, Run
from paperclip_claude_k8s.podlog.position import Plan

CONTEXT = 64
"""Lines by which our last line is known where the whole tail does not stand in one piece."""


class Misaligned(Exception):
    """The answer is not what was expected of it; a scan has to look before anything is delivered."""


class Replay:
    """Passes over the lines of one answer that were delivered, and checks that they are those."""

    def __init__(self, plan: Plan) -> None:
        self._count = plan.count or 0
        self._opening = plan.opening
        self._tail = plan.tail
        self._disproof = plan.disproof
        self._unseen = self._count - len(plan.tail)
        self._at = 0
        self._excused = False

    @property
    def over(self) -> bool:
        """Whether all that follows is new."""
        return self._at >= self._count

    def fresh(self, run: Run) -> Run | None:
        """The part of a run that is new. Raises `Misaligned`."""
        if self._disproof:
            if run.first().key() in self._disproof:
                raise Misaligned
            self._disproof = frozenset()
        if self.over:
            return run
        old = self._rest_of_an_old_line(run)
        taken = min(run.count - old, self._count - self._at)
        if self._at == 0 or self._at + taken > self._unseen:
            self._compare(run.recall(old, old + taken))
        self._at += taken
        return run.after(old + taken)

    def _rest_of_an_old_line(self, run: Run) -> int:
        """Asked from within a long line, an old kubelet stamps the rest of it: one line to leave out."""
        if self._at or self._excused or run.first().key() == self._opening:
            return 0
        self._excused = True
        return 1

    def _compare(self, keys: Sequence[Key]) -> None:
        for at, key in enumerate(keys, self._at):
            if at >= self._unseen:
                expected = self._tail[at - self._unseen]
            elif at == 0 and self._opening:
                expected = self._opening
            else:
                continue
            if key != expected:
                raise Misaligned


@dataclass(frozen=True, slots=True)
class Found:
    """Our last line stands in the answer: the plan that passes over it."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Scattered:
    """Our last line is there, but lines stand among ours that were never sent: a clock set back hid them.

    Believed when others say the same.
    """

    plan: Plan

    def confirms(self, earlier: "Scattered | NotThere") -> bool:
        return self == earlier


@dataclass(frozen=True, slots=True)
class NotThere:
    """The answer holds nothing of ours. Believed when others, no shorter ones, say so too."""

    opening: Key | None
    count: int

    def confirms(self, earlier: "Scattered | NotThere") -> bool:
        if isinstance(earlier, Scattered):
            return False
        return earlier.opening in (None, self.opening) and earlier.count <= self.count


@dataclass(frozen=True, slots=True)
class TooShort:
    """The answer ended before our last line could come: it was cut."""


Finding = Found | Scattered | NotThere | TooShort


class Scan:
    """Looks for the tail of what was delivered in one whole answer, keeping no more of it than the tail."""

    def __init__(self, plan: Plan, beginning: Key | None) -> None:
        """`beginning` is the first line that was ever delivered: an answer with it has lost nothing yet."""
        self._plan = plan
        self._known = {key for key in (plan.opening, beginning) if key}
        self._tail = plan.tail
        self._borders = _borders(plan.tail)
        self._matched = 0
        self._end = 0
        self._count = 0
        self._head: list[Key] = []
        self._recent: deque[Key] = deque(maxlen=CONTEXT)
        self._likeness = (0, 0)

    def feed(self, run: Run) -> None:
        for key in run.recall():
            self._line(key)

    def _line(self, key: Key) -> None:
        self._count += 1
        if len(self._head) <= len(self._tail):
            self._head.append(key)
        if not self._end:
            self._matched = _advance(self._tail, self._borders, self._matched, key)
            self._end = self._count if self._matched == len(self._tail) else 0
        self._recent.append(key)
        if key == self._tail[-1]:
            alike = _common_end(self._tail, self._recent)
            if alike > self._likeness[0]:
                self._likeness = (alike, self._count)

    def finding(self) -> Finding:
        """What the answer, now at its end, says about our last line."""
        if self._end:
            return self._found(self._end, len(self._tail))
        begun = bool(self._head) and self._head[0] in self._known
        for skipped in (0, 1):  # the first line may be the rest of one that began in an earlier file
            rest = self._head[skipped:]
            overlap = 0 if begun else _overlap(self._tail, rest)
            if overlap < self._matched or (overlap < len(rest) and _inside(self._tail, rest)):
                return TooShort()
            if overlap:
                return self._found(skipped + overlap, overlap)
        if self._likeness[0]:
            found = self._found(self._likeness[1], self._likeness[0])
            return Scattered(replace(found.plan, lost=True))
        if begun:
            return TooShort()
        return NotThere(self._head[0] if self._head else None, self._count)

    def _found(self, end: int, known: int) -> Found:
        return Found(replace(self._plan, count=end, opening=self._head[0], tail=self._tail[-known:]))


def _common_end(one: Sequence[Key], other: Sequence[Key]) -> int:
    """How many keys two sequences have in common at their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _borders(pattern: Sequence[Key]) -> list[int]:
    """Per beginning of the pattern, the longest shorter one it ends with (Knuth-Morris-Pratt)."""
    borders = [0] * len(pattern)
    matched = 0
    for at in range(1, len(pattern)):
        while matched and pattern[at] != pattern[matched]:
            matched = borders[matched - 1]
        matched += pattern[at] == pattern[matched]
        borders[at] = matched
    return borders


def _advance(pattern: Sequence[Key], borders: Sequence[int], matched: int, key: Key) -> int:
    """How much of the pattern's beginning the text ends with after one more key."""
    if matched == len(pattern):
        matched = borders[matched - 1]
    while matched and key != pattern[matched]:
        matched = borders[matched - 1]
    return matched + (key == pattern[matched])


def _overlap(text: Sequence[Key], beginning: Sequence[Key]) -> int:
    """The longest end of `text` that `beginning` begins with."""
    if not beginning:
        return 0
    borders, matched = _borders(beginning), 0
    for key in text:
        matched = _advance(beginning, borders, matched, key)
    return matched


def _inside(text: Sequence[Key], part: Sequence[Key]) -> bool:
    """Whether `part` is something that stands somewhere in `text`."""
    if not part:
        return False
    borders, matched = _borders(part), 0
    for key in text:
        matched = _advance(part, borders, matched, key)
        if matched == len(part):
            return True
    return False
