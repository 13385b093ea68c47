"""When a waiting shell looks at its run, which looks it tells of, when it gives up (seeds 000, 001)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

from paperclip_claude_k8s.cli.runs.replies import Stop

MIN_TOTAL_MS = 3_600_000
"""A given schedule is extended to an hour: agents' runs take minutes to tens of minutes."""
EXTEND_STEP_MS, LEAST_STEP_MS = 30_000, 1_000
"""Pause of each look that is appended; nobody is asked more often than each second."""
CONSECUTIVE_ERRORS = 5
"""Looks in a row that fail before the wait ends: a single one is a hiccup."""
TIMEOUT = 600.0
"""Seconds that a call waits when nothing else is said."""
EVERY = 3
"""Of the looks after the first, every third is told."""
_OFF = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the environment says about looks."""

    progress: bool = True
    min_total_ms: int = MIN_TOTAL_MS
    extend_step_ms: int = EXTEND_STEP_MS
    errors: int = CONSECUTIVE_ERRORS

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "Tuning":
        """Raises `Stop` for a variable that is no number."""
        return cls(
            progress=env.get("CLAUDE_K8S_PROGRESS", "").strip().lower() not in _OFF,
            min_total_ms=_number(env, "CLAUDE_K8S_POLL_MIN_TOTAL_MS", MIN_TOTAL_MS),
            extend_step_ms=max(_number(env, "CLAUDE_K8S_POLL_EXTEND_STEP_MS", EXTEND_STEP_MS), LEAST_STEP_MS),
            errors=max(_number(env, "CLAUDE_K8S_POLL_MAX_CONSECUTIVE_ERRORS", CONSECUTIVE_ERRORS), 1),
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds between looks; `count` looks in all, or None without end. The first look is at once."""

    pauses: tuple[float, ...] = ()
    interval: float = 15.0
    timeout: float | None = TIMEOUT

    @property
    def count(self) -> int | None:
        return len(self.pauses) + 1 if self.pauses else None

    def waits(self) -> Iterator[float]:
        return iter(self.pauses) if self.pauses else repeat(self.interval)


def read_schedule(given: str | None, interval: float, timeout: float | None, tuning: Tuning) -> Schedule:
    """`given`: milliseconds between looks, with commas. Raises `Stop`."""
    if interval <= 0:
        raise Stop("usage", f"--poll-interval {interval:g}: expected seconds above 0")
    if timeout is not None and timeout <= 0:
        raise Stop("usage", f"--timeout {timeout:g}: expected seconds above 0")
    if given is None:
        return Schedule(interval=interval, timeout=TIMEOUT if timeout is None else timeout)
    pauses = tuple(ms / 1000 for ms in extended(_milliseconds(given), tuning))
    return Schedule(pauses, interval, timeout)


def extended(pauses: tuple[int, ...], tuning: Tuning) -> tuple[int, ...]:
    """With further looks at the end until their sum is long enough; all in milliseconds."""
    lacking = tuning.min_total_ms - sum(pauses)
    more = -(-lacking // tuning.extend_step_ms) if lacking > 0 else 0
    return (*pauses, *repeat(tuning.extend_step_ms, more))


def is_told(look: int, *, last: bool) -> bool:
    """Looks count from 1: the first, every third, and the last one are told."""
    return look == 1 or look % EVERY == 0 or last


def _milliseconds(given: str) -> tuple[int, ...]:
    parts = [part.strip() for part in given.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise Stop(
            "usage", f"--poll-schedule {given!r}: expected milliseconds with commas, such as 5000,10000"
        )
    return tuple(map(int, parts))


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip().lower()
    if not text:
        return default
    if text in _OFF:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise Stop("usage", f"{name}={text}: expected a whole number, or 0")
    return int(text)
