"""When a waiting command polls its run's status, which polls it reports, and when it gives up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat

from paperclip_claude_k8s.base.aio import FirstResult
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cluster.port import ClusterError

MIN_TOTAL_MS = 3_600_000
"""Shortest sum of a --poll-schedule, one hour. A shorter schedule is extended, as runs may take long."""
EXTEND_STEP_MS, MIN_EXTEND_STEP_MS = 30_000, 1_000
"""Pause before each poll that is appended to a schedule, and its minimum, which spares the API server."""
MAX_CONSECUTIVE_ERRORS = 5
"""The wait ends after this many failed polls in a row. Fewer may be a short outage."""
DEFAULT_TIMEOUT = 600.0
"""Seconds that a call waits by default."""
REPORTED_EVERY = 3
"""Besides the first and the last poll, each poll whose number is a multiple of this is reported."""
_OFF_WORDS = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Settings of polls, which are read from environment variables."""

    progress: bool = True
    """Whether polls are reported on stderr."""
    min_total_ms: int = MIN_TOTAL_MS
    extend_step_ms: int = EXTEND_STEP_MS
    max_errors: int = MAX_CONSECUTIVE_ERRORS

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "PollSettings":
        """Read the variables. Raises `Stop` if one should be a number and is not."""
        step_ms = _read_number(env, "CLAUDE_K8S_POLL_EXTEND_STEP_MS", EXTEND_STEP_MS)
        max_errors = _read_number(env, "CLAUDE_K8S_POLL_MAX_CONSECUTIVE_ERRORS", MAX_CONSECUTIVE_ERRORS)
        return cls(
            progress=env.get("CLAUDE_K8S_PROGRESS", "").strip().lower() not in _OFF_WORDS,
            min_total_ms=_read_number(env, "CLAUDE_K8S_POLL_MIN_TOTAL_MS", MIN_TOTAL_MS),
            extend_step_ms=max(step_ms, MIN_EXTEND_STEP_MS),
            max_errors=max(max_errors, 1),
        )


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """When to poll, in seconds. The first poll is immediate.

    With `pauses`, one more poll follows after each pause. Without `pauses`, a poll follows every `interval`.
    Either way, the wait ends at `timeout`.
    """

    pauses: tuple[float, ...] = ()
    interval: float = 15.0
    timeout: float | None = DEFAULT_TIMEOUT
    settings: PollSettings = field(default_factory=PollSettings)

    @property
    def count(self) -> int | None:
        """Number of polls; None if it is not limited."""
        return len(self.pauses) + 1 if self.pauses else None

    def waits(self) -> Iterator[float]:
        return iter(self.pauses) if self.pauses else repeat(self.interval)


def read_schedule(
    schedule: str | None, interval: float, timeout: float | None, settings: PollSettings
) -> PollSchedule:
    """The schedule from --poll-schedule (milliseconds, comma-separated), --poll-interval and --timeout.

    Raises `Stop` for a value that cannot be used.
    """
    if interval <= 0:
        raise Stop("usage", f"--poll-interval {interval:g}: expected seconds above 0")
    if timeout is not None and timeout <= 0:
        raise Stop("usage", f"--timeout {timeout:g}: expected seconds above 0")
    if schedule is None:
        limit = DEFAULT_TIMEOUT if timeout is None else timeout
        return PollSchedule(interval=interval, timeout=limit, settings=settings)
    pauses = tuple(ms / 1000 for ms in extend_pauses(_read_milliseconds(schedule), settings))
    return PollSchedule(pauses, interval, timeout, settings)


def extend_pauses(pauses: tuple[int, ...], settings: PollSettings) -> tuple[int, ...]:
    """The pauses, with more appended until their sum reaches `min_total_ms`. All in milliseconds."""
    missing = settings.min_total_ms - sum(pauses)
    count = -(-missing // settings.extend_step_ms) if missing > 0 else 0
    return (*pauses, *repeat(settings.extend_step_ms, count))


def is_reported(poll: int, *, last: bool) -> bool:
    """Whether this poll, counted from 1, is reported: the first, every third, and the last one."""
    return poll == 1 or poll % REPORTED_EVERY == 0 or last


def _read_milliseconds(schedule: str) -> tuple[int, ...]:
    parts = [part.strip() for part in schedule.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise Stop(
            "usage",
            f"--poll-schedule {schedule!r}: expected milliseconds separated by commas, such as 5000,10000",
        )
    return tuple(map(int, parts))


def _read_number(env: Mapping[str, str], name: str, default: int) -> int:
    """The variable as a number; words such as `off` are 0. Raises `Stop`."""
    text = env.get(name, "").strip().lower()
    if not text:
        return default
    if text in _OFF_WORDS:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise Stop("usage", f"{name}={text}: expected a whole number, or off")
    return int(text)


class Poller:
    """The polls of one wait. `poll` is given the function that queries the status."""

    def __init__(self, run_id: str, schedule: PollSchedule, live: LiveView) -> None:
        self.schedule = schedule
        self.gave_up: FirstResult[Stop] = FirstResult()
        """Set when the schedule is used up or too many polls in a row failed."""
        self._run_id = run_id
        self._settings = schedule.settings
        self._live = live
        self._pauses = chain([0.0], schedule.waits())
        self._polls = 0
        self._errors = 0
        self._status = "PENDING"

    async def poll(self, query: Callable[[], Awaitable[str]]) -> None:
        """Poll with `query`, which returns a status word, until `gave_up` is set.

        If cancelled, it may be called again, with another query; the schedule continues where it was.
        """
        for pause in self._pauses:
            await asyncio.sleep(pause)
            self._polls += 1
            if not await self._query(query):
                return
            self.report(self._status, last=self._polls == self.schedule.count)
        self.gave_up.offer(Stop("poll_timeout", f"no end after {self._polls} polls"))

    def report(self, status: str, *, last: bool, final: bool = False) -> None:
        """Show the status if the current poll is reported. `final`: the run has ended; no number is shown."""
        if self._settings.progress and is_reported(max(self._polls, 1), last=last):
            elapsed = f"[{int(self._live.elapsed())}s]"
            total = f"/{self.schedule.count}" if self.schedule.count else ""
            number = f"  poll={self._polls}{total}" if self._polls and not final else ""
            self._live.show_progress(
                f"  {elapsed:<5} run={self._run_id}  status={status}  {self._live.counts()}{number}"
            )

    async def _query(self, query: Callable[[], Awaitable[str]]) -> bool:
        """Poll once. Returns False, and sets `gave_up`, if too many polls in a row have failed."""
        try:
            self._status = await query()
        except ClusterError as error:
            self._errors += 1
            if self._errors >= self._settings.max_errors:
                reason = f"{self._errors} polls in a row failed, the last one with: {error}"
                self.gave_up.offer(Stop("poll_aborted", reason))
                return False
        else:
            self._errors = 0
        return True
