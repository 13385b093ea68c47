"""Reports to the host that a run goes on while its agent prints nothing.

Hosts give up a run that shows no activity. There are three kinds of reports: a keepalive line in the log;
`onRuntimeProgress` instead of that line, for hosts that show progress and keep no process id; and `onSpawn`,
which names a process id.
"""

from datetime import timedelta

from paperclip_claude_k8s.base.aio import PeriodicTask, loop_time
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.host.context import ObjectCallback
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.host_callbacks import call_safely
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.readable_output import Activity

FREQUENT_FOR = 60.0
"""Seconds of silence (keepalive lines) or of the run (progress) after which reports become less frequent."""
MIN_INTERVAL = 5.0
"""Seconds between two reports of what the agent does: each one is an event on the host's page."""
MESSAGE_CHARS, TOOL_CHARS = 180, 80
"""Characters that hosts show of a message, and of a tool's name."""
MIN_OUTAGE = 1.0
"""Seconds without a connection that are reported as an outage; in less, a watch may just be reopened."""


class KeepAlive:
    """Reports at intervals that the Job still runs, and for how long the agent has printed nothing."""

    def __init__(self, job_watch: JobWatch, ports: Ports, narrator: Narrator) -> None:
        self._job_watch = job_watch
        self._timings = ports.settings.timings
        self._narrator = narrator
        self._quiet_since = loop_time()
        self._silence = 0.0
        """Seconds of silence at the next beat, which reports them."""

    def next_pause(self) -> float:
        """Advance `_silence` to the next beat; returns the seconds until the beat is due."""
        early = self._silence < FREQUENT_FOR
        self._silence += self._timings.keepalive if early else self._timings.keepalive_later
        return max(self._quiet_since + self._silence - loop_time(), 0.0)

    async def beat(self) -> float:
        """Report the silence unless the agent printed something; returns the seconds until the next beat."""
        last_output = self._narrator.last_output
        if last_output is not None and last_output > self._quiet_since:
            self._quiet_since, self._silence = last_output, 0.0
        else:
            quiet = f"({self._silence:.0f}s since last output)"
            text = f"keepalive — job {self._job_watch.ref.name} running {quiet}"
            await self._narrator.status(text + _outage_note(self._job_watch, loop_time()))
        return self.next_pause()


def _outage_note(job_watch: JobWatch, now: float) -> str:
    since = job_watch.unreachable_since
    if since is None or now - since < MIN_OUTAGE:
        return ""
    return f"; API server unreachable for {now - since:.0f}s, assuming that the Job still runs"


class Progress:
    """Calls `onRuntimeProgress` more often than every 90 s, because hosts drop progress that is older.

    A host that shows progress counts every log line as activity of the agent, so it gets no keepalive lines.
    """

    def __init__(
        self, on_progress: ObjectCallback, run: str, job_watch: JobWatch, ports: Ports, narrator: Narrator
    ) -> None:
        self._on_progress = on_progress
        self._run = run
        self._job_watch = job_watch
        self._settings = ports.settings
        self._narrator = narrator
        self._began = self._reported_at = loop_time()
        self._reported = Activity()
        self._soon = False
        """The next beat is due because the activity has changed."""

    def activity_changed(self, beat: PeriodicTask) -> None:
        """Report soon what the agent does now, unless a report is due already or would be the same."""
        if (
            self._soon
            or self._narrator.readable is None
            or self._reported == self._narrator.readable.activity
        ):
            return
        self._soon = True
        beat.call_in(max(0.0, self._reported_at + MIN_INTERVAL - loop_time()))

    async def beat(self) -> float:
        """Report now; returns the seconds until the next beat."""
        self._soon, self._reported_at = False, loop_time()
        await call_safely(
            f"onRuntimeProgress of run {self._run}", lambda: self._on_progress(self._progress())
        )
        if self._soon:  # the agent went on while the host was busy
            return MIN_INTERVAL
        early = loop_time() - self._began < FREQUENT_FOR
        return self._settings.timings.keepalive if early else self._settings.timings.keepalive_later

    def _progress(self) -> dict[str, str]:
        last_output, now = self._narrator.last_output, loop_time()
        outage = _outage_note(self._job_watch, now).removeprefix("; ")
        activity = self._narrator.readable.activity if self._narrator.readable is not None else Activity()
        self._reported = activity
        state = f"job {self._job_watch.ref.name} {_describe_state(self._job_watch, last_output, now)}"
        progress = {
            "phase": "adapter_startup" if last_output is None else "run_activity",
            "message": (outage or _describe_activity(activity) or state)[:MESSAGE_CHARS],
        }
        if activity.tool:
            progress["currentToolName"] = activity.tool[:TOOL_CHARS]
        if activity.text:
            progress["lastAssistantSnippet"] = activity.text[:MESSAGE_CHARS]
        if last_output is not None:
            progress["lastEventAt"] = format_time(self._settings.now() - timedelta(seconds=now - last_output))
        return progress


def _describe_activity(activity: Activity) -> str:
    return (
        f"{activity.tool}: {activity.call}"
        if activity.tool and activity.call
        else activity.tool or activity.text
    )


def _describe_state(job_watch: JobWatch, last_output: float | None, now: float) -> str:
    pod = job_watch.known.pod
    if last_output is None:
        return "waits for its Pod" if pod is None else f"Pod {pod.phase or 'Pending'}, no output yet"
    return f"running ({now - last_output:.0f}s since last output)"


class SpawnNotice:
    """Calls `onSpawn` when the agent has started, then every `refresh` seconds unless that is None.

    The host ends runs that had no activity for five minutes; this call counts as activity.
    """

    def __init__(
        self, on_spawn: ObjectCallback, run: str, ports: Ports, pid: int, refresh: float | None
    ) -> None:
        self._on_spawn = on_spawn
        self._run = run
        self._refresh = refresh
        self._spawned = {"pid": pid, "processGroupId": None, "startedAt": format_time(ports.settings.now())}

    async def beat(self) -> float | None:
        await call_safely(f"onSpawn of run {self._run}", lambda: self._on_spawn({**self._spawned}))
        return self._refresh
