"""Reads the log of a server that ignores `timestamps=true`, as some virtual kubelets and proxies do.

Without timestamps, a response is only accepted as a log if it begins with a line of the relay or with an
event of Claude Code: it could also be an error page. Each line then gets the same stamp, with second 0.
Everything that follows works as usual: each request asks for the whole log, all delivered lines count as
lines of that second, and so their number is the position (see `position`).
"""

import re

from paperclip_claude_k8s.podlog.log_lines import STAMP
from paperclip_claude_k8s.podlog.marks import MARK_BYTE

NO_TIME = 0
"""Time of every line of a log without timestamps, in nanoseconds."""
ADDED_STAMP = b"1970-01-01T00:00:00.000000000Z "
"""What is put before each line: a stamp with the time `NO_TIME`."""
_LONGEST_START = 40
"""Number of bytes that are enough to recognise any beginning: a stamp has up to 36."""
_EVENT = re.compile(rb'\{\s*"(?:type|is_error|duration_api_ms)"\s*:')
"""The beginning of an event. Claude Code 2.1.332 writes the type of a `result` event near its end, so that
event is recognised by the keys at its beginning."""


class StampsChanged(Exception):
    """Earlier responses had no timestamps, and this one has some, or is not a log."""


class ServerStamps:
    """Whether a server writes timestamps: learned from its first response, and the same for all others."""

    def __init__(self, nonce: str | None) -> None:
        """`nonce`: the nonce of the relay's marked lines; None if the container has no relay."""
        self.written: bool | None = None
        """None: no line was read yet."""
        self._mark = MARK_BYTE + nonce.encode() + b" " if nonce else None

    def are_missing_in(self, beginning: bytes) -> bool:
        """Whether the response that begins like this lacks timestamps. Raises `StampsChanged`."""
        stamped = STAMP.match(beginning) is not None
        unstamped = not stamped and self._is_log(beginning)
        if self.written is False and not unstamped:
            raise StampsChanged
        if stamped or unstamped:
            self.written = stamped
        return unstamped

    def _is_log(self, beginning: bytes) -> bool:
        marked = self._mark is not None and beginning.startswith(self._mark)
        return marked or _EVENT.match(beginning) is not None


class StampCompletion:
    """Adds the missing timestamps to one response."""

    def __init__(self, stamps: ServerStamps) -> None:
        self._stamps = stamps
        self.needed: bool | None = None
        """Whether this response needs added timestamps; None until its first bytes show that."""
        self.beginning = b""
        """The first bytes, as long as they are too few to show that."""
        self._at_line_start = True

    def complete(self, chunk: bytes) -> bytes:
        """The chunk with a timestamp before each line. Raises `StampsChanged`."""
        if self.needed is None:
            chunk, self.beginning = self.beginning + chunk, b""
            if len(chunk) < _LONGEST_START and b"\n" not in chunk:
                self.beginning = chunk
                return b""
            self.needed = self._stamps.are_missing_in(chunk)
        return self._with_stamps(chunk) if self.needed else chunk

    def _with_stamps(self, chunk: bytes) -> bytes:
        stamped = chunk.replace(b"\n", b"\n" + ADDED_STAMP)
        stamped = ADDED_STAMP + stamped if self._at_line_start else stamped
        self._at_line_start = chunk.endswith(b"\n")
        return stamped.removesuffix(ADDED_STAMP) if self._at_line_start else stamped
