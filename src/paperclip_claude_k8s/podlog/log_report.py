"""What a follower says: notices while it runs, a report at the end. Times are UTC nanoseconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Totals:
    """What the relay counted in the container: the proof that the log is complete."""

    bytes: int
    lines: int
    sha256: str = ""
    """Hex digest of stdout; empty when the relay could not compute one, then the counts decide."""
    kept: int | None = None
    """How many of the bytes are in the relay's file; None where it says nothing of a file."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that were written and could not be had: rotated away, or the log is gone."""

    since: int | None
    """Time of the last line before the gap; None when there was none."""
    until: int | None
    """Time of the first line after it; None when the gap reaches to the end of the log."""
    bytes: int | None = None
    """How much of stdout is missing; None where nobody counted, and then nothing at all may be missing."""
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class GapFilled:
    """A gap that was filled in order from the relay's file: nothing is missing."""

    since: int | None
    until: int | None
    bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The stream was lost and is being opened again; said at most once per minute."""

    why: str
    attempts: int
    """How many tries since this was said the last time."""


@dataclass(frozen=True, slots=True)
class NotLogText:
    """Text inside the answer that no container wrote, such as the kubelet's own error sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class ContainerChanged:
    """The container was started again: what the earlier one wrote last may be missing."""

    earlier: str
    now: str


@dataclass(frozen=True, slots=True)
class SinkFailed:
    """What takes the lines raised, for the first time: a bug of the program around the follower."""

    error: Exception


@dataclass(frozen=True, slots=True)
class FileUnusable:
    """No gap can be filled from the relay's file, or not up to the log's end."""

    why: str


Notice = Gap | GapFilled | Reconnecting | NotLogText | ContainerChanged | SinkFailed | FileUnusable


@dataclass(frozen=True, slots=True)
class LogReport:
    """How the following went."""

    complete: bool | None
    """True: the relay's totals are met. False: they are not, a gap was seen, or the sink raised. None: nobody
    can tell."""
    bytes: int
    """Of stdout, handed on; those that a raising sink was handed are among them. `lines` counts the same."""
    lines: int
    reconnects: int
    gaps: tuple[Gap, ...]
    sink_failures: int
    """Calls of the sink that raised."""
    first_sink_error: Exception | None
    sha256: str | None
    """Hex digest of the stdout delivered; None when the follower began from a stored position."""
    file_trouble: str | None = None
    """Why the relay's file could not be used at the end, where there should be one."""
