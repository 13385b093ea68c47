"""What a follower reports: notices while it runs, and one report at the end.

A notice goes to the sink as soon as its cause is known; `verdict/wording.py` turns it into a log line for
people. The report goes to the caller of `Follower.run`. All times are UTC nanoseconds as stamped by the
node, never the clock of this process; 0 if the server wrote no timestamps.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Totals:
    """What the relay counted in the container. They prove that a log is complete."""

    bytes: int
    lines: int
    sha256: str = ""
    """Hex digest of stdout; empty if the relay could not compute one. Then only the counts are compared."""
    in_file: int | None = None
    """How many of the bytes the relay copied to its file; None if it did not report a file."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that the container wrote and that could not be read."""

    since: int | None
    """Time of the last line before the gap; None if there was none."""
    until: int | None
    """Time of the first line after the gap; None if it extends to the end of the log."""
    bytes: int | None = None
    """Missing bytes of stdout; None if unknown; then it is possible that nothing is missing."""
    lines: int | None = None
    unread: str = ""
    """The error with which the server refused to return these lines; "" if it no longer had them."""


@dataclass(frozen=True, slots=True)
class GapFilled:
    """Lines missing from the log that were read from the relay's file and delivered in order."""

    since: int | None
    until: int | None
    bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The stream broke, or could not be opened, and the follower tries again. At most one per minute."""

    reason: str
    attempts: int
    """Failed attempts since the previous notice of this kind."""


@dataclass(frozen=True, slots=True)
class NotLogText:
    """Text in a response that no container wrote, for example an error message of the kubelet."""

    text: str


@dataclass(frozen=True, slots=True)
class TimestampsMissing:
    """The server ignores `timestamps=true`: lines are counted instead. Reported once."""


@dataclass(frozen=True, slots=True)
class ContainerChanged:
    """The container was restarted; the last lines of the previous one may be missing."""

    earlier: str
    """The runtime's id of the previous container."""
    now: str
    """The runtime's id of the restarted container."""


@dataclass(frozen=True, slots=True)
class SinkFailed:
    """The sink raised for the first time: a bug in the program that uses the follower."""

    error: Exception


@dataclass(frozen=True, slots=True)
class FileUnusable:
    """The relay's file cannot be used to fill gaps, or does not reach the end of the log."""

    reason: str


Notice = (
    Gap
    | GapFilled
    | Reconnecting
    | NotLogText
    | TimestampsMissing
    | ContainerChanged
    | SinkFailed
    | FileUnusable
)


@dataclass(frozen=True, slots=True)
class LogReport:
    """The result of following one log."""

    complete: bool | None
    """True: the delivered output matches the relay's totals. False: it does not, or a gap was found, or the
    sink raised. None: there are no totals to compare with, and no gap was found."""
    bytes: int
    """Bytes of stdout passed to the sink, including calls that raised."""
    lines: int
    """Lines in these bytes."""
    reconnects: int
    """Streams that replaced one that broke, or that continued one that had ended too early."""
    gaps: tuple[Gap, ...]
    sink_failures: int
    """Calls of the sink that raised."""
    first_sink_error: Exception | None
    sha256: str
    """Hex digest of the stdout that was delivered."""
    file_trouble: str | None = None
    """Why the relay's file was unusable at the end of the log; None if it was usable or not expected."""
    filled: int = 0
    """Bytes of the output that are from the relay's file."""
    unproven: int = 0
    """Bytes at the end of the output that are from the relay's file, without totals that prove them."""
    unread: str = ""
    """The error because of which the log could not be read to its end; "" if no error prevented that."""
