"""What was delivered and what is missing, compared with what the relay counted.

The relay counts the bytes and lines of stdout in the container. It writes its counts into the log as
bookmarks, and totals with a digest into the container's termination message. At each of them this must hold:

    bytes delivered + bytes known to be missing = bytes counted by the relay

If more was counted, the difference is a gap of known size. Where the position in the log was lost, a
*possible* gap is recorded first; the next count decides whether anything is missing there. The log is
complete if everything that the totals count was delivered and the digest is the same (`matches`).
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

from paperclip_claude_k8s.base.json_sizes import small_enough_to_parse
from paperclip_claude_k8s.podlog.log_report import Gap, Totals
from paperclip_claude_k8s.podlog.marks import Bookmark

MAX_GAPS = 100
"""Largest number of gaps in the list. Each reconnect causes one at most, unless the agent forges marks."""
ENDING_BYTES = 256
"""Bytes of the delivered output that are kept to recognise the same position in the relay's file."""


@dataclass(frozen=True, slots=True)
class _PossibleGap:
    """A period whose lines may be missing; the relay's next count decides."""

    since: int | None
    until: int | None


class Counts:
    """Counts the delivered stdout and keeps its digest and its last bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self.lines = 0
        self.missing = 0
        """Bytes that are known to be missing."""
        self.gaps: list[Gap] = []
        self.ending = b""
        """The last bytes delivered, as far as nothing is missing after them."""
        self.event_lines = True
        """Whether the last block began with `{`; then every line is expected to be a JSON object."""
        self._digest = hashlib.sha256()
        self._missing_lines = 0
        self._possible_gaps: list[_PossibleGap] = []
        self._checked_at: int | None = None
        """Time of the last comparison with the relay's counts."""
        self._inconsistent = False
        """The relay counted less than was delivered: its counts are useless from then on."""
        self._unended = False
        """Whether the last line delivered has no newline."""

    @property
    def position(self) -> int | None:
        """Offset of the next byte in the container's stdout; None while a possible gap is open."""
        return None if self._possible_gaps or self._inconsistent else self.bytes + self.missing

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def copy_digest(self) -> "hashlib._Hash":
        """A copy of the running digest, to compute what more output would make of it."""
        return self._digest.copy()

    def add(self, block: bytes, lines: int) -> None:
        """Count output that was delivered."""
        self.bytes += len(block)
        self.lines += lines
        self._unended = not block.endswith(b"\n")
        self._digest.update(block)
        self.ending = (self.ending + block[-ENDING_BYTES:])[-ENDING_BYTES:]
        self.event_lines = block.startswith(b"{")

    def is_partial(self, line: bytes) -> bool:
        """Whether this is only part of a line: JSON objects are expected, and this is not a JSON object."""
        return self.event_lines and not _is_event(line)

    def add_gap(self, gap: Gap) -> Gap:
        """Record a gap of known size."""
        self.missing += gap.bytes or 0
        self._missing_lines += gap.lines or 0
        self._keep(gap)
        return gap

    def add_possible_gap(self, since: int | None, until: int | None) -> None:
        """Record that lines may be missing between these times."""
        self._possible_gaps.append(_PossibleGap(since, until))

    def is_behind(self, bookmark: Bookmark) -> bool:
        """Whether the relay had written more than was delivered or is known to be missing."""
        return not self._inconsistent and bookmark.bytes > self.bytes + self.missing

    def lines_until(self, counted: Bookmark | Totals) -> int:
        """Number of newlines counted by the relay, without those delivered or known to be missing."""
        return counted.lines - (self.lines - self._unended) - self._missing_lines

    def check(self, counted: Bookmark | Totals, time: int | None) -> Gap | None:
        """Compare with what the relay counted; return the gap that this shows, if any.

        `time`: when the relay counted, None for the end of the log. The gap spans the possible gaps. If there
        are none, it begins at the last comparison: at a rotation a kubelet can lose lines even of a stream
        that was never cut.
        """
        missing = counted.bytes - self.bytes - self.missing
        lines = counted.lines - self.lines - self._missing_lines
        found = None
        if missing < 0 and not self._inconsistent:
            self._inconsistent = True  # usually the container was restarted, and its relay counts from zero
            found = self.add_unmeasured_gap()
        elif missing > 0 and not self._inconsistent:
            possible = self._possible_gaps
            since = possible[0].since if possible else self._checked_at
            until = possible[-1].until if possible else time
            found = self.add_gap(Gap(since, until, missing, max(lines, 0)))
        self._possible_gaps.clear()
        self._checked_at = time
        return found

    def add_unmeasured_gap(self) -> Gap | None:
        """Record the possible gaps, which can no longer be measured, as one gap of unknown size."""
        if not self._possible_gaps:
            return None
        gap = Gap(self._possible_gaps[0].since, self._possible_gaps[-1].until)
        self._possible_gaps.clear()
        self._keep(gap)
        return gap

    def _keep(self, gap: Gap) -> None:
        """Append the gap to the list; if the list is full, merge the gap into the last one of the list."""
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(gap)
            return
        last = self.gaps[-1]
        known = None not in {last.bytes, gap.bytes, last.lines, gap.lines}
        size, lines = (last.bytes or 0) + (gap.bytes or 0), (last.lines or 0) + (gap.lines or 0)
        self.gaps[-1] = Gap(last.since, gap.until, size if known else None, lines if known else None)

    def matches(self, totals: Totals | None) -> bool:
        """Whether everything that the relay counted was delivered."""
        if totals is None or totals.bytes != self.bytes:
            return False
        if totals.sha256:
            return totals.sha256 == self.sha256
        # the relay counts newlines, so a last line without one may be missing from its count
        return totals.lines in (self.lines, self.lines - self._unended)


def _is_event(line: bytes) -> bool:
    """Whether this is a whole JSON object, not only the end of one.

    Of a line that is too large to be parsed, only the first and the last character are examined.
    """
    if not line.startswith(b"{") or not small_enough_to_parse(line):
        return line.startswith(b"{") and line.rstrip().endswith(b"}")
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(line), dict)
    return False
