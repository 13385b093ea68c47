"""Signs of life for the host while the agent is quiet (SPEC 9)."""

import asyncio
from datetime import timedelta

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.host.context import OnMap
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.host_callbacks import call_safely
from paperclip_claude_k8s.run.narrate import Narrator

FIRST_MINUTE = 60.0
"""Seconds of silence after which the keepalive slows down."""
OUTAGE = 1.0
"""Seconds out of reach from which an outage is told: a shorter one is a watch that is being opened again."""


class KeepAlive:
    """Says every now and then that the Job still runs, and since when nothing came."""

    def __init__(self, job_watch: JobWatch, ports: Ports, say: Narrator) -> None:
        self._vigil = job_watch
        self._timings = ports.settings.timings
        self._say = say
        self._quiet_since = _clock()
        self._told = 0.0
        """The silence, in seconds, that the next line will tell."""

    def next_pause(self) -> float:
        """Go on to the next beat: seconds until it is due."""
        early = self._told < FIRST_MINUTE
        self._told += self._timings.keepalive if early else self._timings.keepalive_later
        return max(self._quiet_since + self._told - _clock(), 0.0)

    async def beat(self) -> float:
        heard = self._say.last_output
        if heard is not None and heard > self._quiet_since:
            self._quiet_since, self._told = heard, 0.0
        else:
            quiet = f"({self._told:.0f}s since last output)"
            text = f"keepalive — job {self._vigil.ref.name} running {quiet}"
            await self._say.status(text + _unreachable(self._vigil, _clock()))
        return self.next_pause()


def _unreachable(job_watch: JobWatch, now: float) -> str:
    since = job_watch.unreachable_since
    if since is None or now - since < OUTAGE:
        return ""
    return f"; API server out of reach for {now - since:.0f}s, the Job is believed to go on"


class Progress:
    """The same for a host that shows progress by itself, and forgets it after 90 s (HOST.md 3.2).

    No line of output is made up for it: only output counts as activity there (HOST.md 3.4).
    """

    def __init__(
        self, on_progress: OnMap, run: str, job_watch: JobWatch, ports: Ports, say: Narrator
    ) -> None:
        self._on_progress = on_progress
        self._run = run
        self._vigil = job_watch
        self._house = ports.settings
        self._say = say
        self._began = _clock()

    async def beat(self) -> float:
        await call_safely(f"onRuntimeProgress of run {self._run}", lambda: self._on_progress(self._told()))
        early = _clock() - self._began < FIRST_MINUTE
        return self._house.timings.keepalive if early else self._house.timings.keepalive_later

    def _told(self) -> dict[str, str]:
        heard = self._say.last_output
        message = f"job {self._vigil.ref.name} {_how_it_is(self._vigil, heard, _clock())}"
        progress = {"phase": "adapter_startup", "message": message}
        if heard is not None:
            progress["lastEventAt"] = format_time(self._house.now() - timedelta(seconds=_clock() - heard))
        return progress


def _how_it_is(job_watch: JobWatch, heard: float | None, now: float) -> str:
    if unreachable := _unreachable(job_watch, now):
        return unreachable.removeprefix("; ")
    pod = job_watch.known.pod
    if heard is None:
        return "waits for its Pod" if pod is None else f"Pod {pod.phase or 'Pending'}, no output yet"
    return f"running ({now - heard:.0f}s since last output)"


class Spawned:
    """Tells the host that the run lives: at its start, then every `refresh` seconds, unless None.

    Reapers look for runs that nothing touched for five minutes (HOST.md 3.4).
    """

    def __init__(self, on_spawn: OnMap, run: str, ports: Ports, pid: int, refresh: float | None) -> None:
        self._on_spawn = on_spawn
        self._run = run
        self._refresh = refresh
        self._told = {"pid": pid, "processGroupId": None, "startedAt": format_time(ports.settings.now())}

    async def beat(self) -> float | None:
        await call_safely(f"onSpawn of run {self._run}", lambda: self._on_spawn({**self._told}))
        return self._refresh


def _clock() -> float:
    return asyncio.get_running_loop().time()
