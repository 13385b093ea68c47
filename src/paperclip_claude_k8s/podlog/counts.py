"""The books: what was delivered, what is missing, and whether that is all there was."""

import hashlib
from dataclasses import dataclass

from paperclip_claude_k8s.podlog.log_report import Gap, Totals
from paperclip_claude_k8s.podlog.marks import Bookmark


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A place where lines may be missing; the relay's next count decides."""

    since: int | None
    until: int | None


class Ledger:
    """Counts stdout against the relay's counts."""

    def __init__(self, delivered: int = 0, lines: int = 0, missing: int = 0) -> None:
        self.bytes = delivered
        self.lines = lines
        self.missing = missing
        self.gaps: list[Gap] = []
        self._digest = None if delivered else hashlib.sha256()
        self._missing_lines = 0
        self._knows_missing_lines = not missing
        self._suspicions: list[Suspicion] = []
        self._checked: int | None = None
        self._shifted = False
        self._unended = False

    @property
    def position(self) -> int | None:
        """Where in the container's stdout the next byte belongs; None while a gap of unknown size is open."""
        return None if self._suspicions or self._shifted else self.bytes + self.missing

    @property
    def sha256(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()

    def fork_digest(self) -> "hashlib._Hash | None":
        """The running digest, to try out what more would make of it."""
        return None if self._digest is None else self._digest.copy()

    def add(self, block: bytes, lines: int) -> None:
        self.bytes += len(block)
        self.lines += lines
        self._unended = not block.endswith(b"\n")
        if self._digest is not None:
            self._digest.update(block)

    def lose(self, gap: Gap) -> Gap:
        """Lines whose size is known are missing."""
        self.missing += gap.bytes or 0
        self._missing_lines += gap.lines or 0
        self.gaps.append(gap)
        return gap

    def suspect(self, since: int | None, until: int | None) -> None:
        """Lines may be missing between these times."""
        self._suspicions.append(Suspicion(since, until))

    def lacks(self, counts: Bookmark) -> bool:
        """Whether the relay had written more by now than was delivered or is known to be missing."""
        return not self._shifted and counts.bytes > self.bytes + self.missing

    def lines_until(self, counts: Bookmark | Totals) -> int | None:
        """How many lines the relay had ended since the last that was delivered or is known to be missing.

        None where what is missing was told before our time, in bytes only.
        """
        if not self._knows_missing_lines:
            return None
        return counts.lines - (self.lines - self._unended) - self._missing_lines

    def check(self, counts: Bookmark | Totals, time: int | None) -> Gap | None:
        """Compare with what the relay had written by now; `time` is when, None for the end of the log.

        What is missing is sought where something was suspected, else since the counts agreed last: a kubelet
        can lose lines at a rotation even of a stream that was never cut.
        """
        missing = counts.bytes - self.bytes - self.missing
        lines = counts.lines - self.lines - self._missing_lines
        found = None
        if missing < 0 and not self._shifted:
            self._shifted = (
                True  # the container was started again and counts anew, or something is very wrong
            )
            found = self.concede()
        elif missing > 0 and not self._shifted:
            since = self._suspicions[0].since if self._suspicions else self._checked
            until = self._suspicions[-1].until if self._suspicions else time
            found = self.lose(Gap(since, until, missing, max(lines, 0)))
        self._suspicions.clear()
        self._checked = time
        return found

    def concede(self) -> Gap | None:
        """What is suspected and will not be known any better is a gap of unknown size."""
        if not self._suspicions:
            return None
        gap = Gap(self._suspicions[0].since, self._suspicions[-1].until)
        self._suspicions.clear()
        self.gaps.append(gap)
        return gap

    def proves(self, totals: Totals | None) -> bool:
        """Whether everything the relay counted was delivered."""
        if totals is None or totals.bytes != self.bytes:
            return False
        if totals.sha256 and self.sha256 is not None:
            return totals.sha256 == self.sha256
        return totals.lines in (self.lines, self.lines - self._unended)
