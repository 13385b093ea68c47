"""Follow the agent's log during a run, and learn the state of its container from the log's streams.

The streams show what the API reports late or not at all. An opened stream means that the container has
started. A stream that ends by itself means that the container may have ended: if the agent then stays
silent, Job and Pod are read once, because a watch that hangs would hide the end. The end of a stream alone
proves nothing.
"""

from functools import partial

from paperclip_claude_k8s.base.aio import PeriodicTask, loop_time
from paperclip_claude_k8s.cluster.model import PodSnapshot
from paperclip_claude_k8s.ports import StartSignals
from paperclip_claude_k8s.run.agent_log import StreamEvents
from paperclip_claude_k8s.run.live_run import LiveRun
from paperclip_claude_k8s.run.read_now import read_now

TIMER_SLACK = 0.1
"""Seconds by which a timer may be early without being set again."""


def follow_log(run: LiveRun, pod: PodSnapshot) -> None:
    """Begin to follow the Pod's log, without waiting for the API to report the container's start."""
    if run.log_task is not None:
        run.log_task.cancel()  # it follows an earlier Pod, which was deleted before its agent started
    read_if_silent = run.add_periodic("log's end", partial(_read_if_silent, run))
    events = StreamEvents(
        opened=partial(_on_opened, run),
        closed=partial(_on_closed, run),
        ended=partial(_on_ended_or_refused, run, read_if_silent, by_itself=True),
        refused=partial(_on_ended_or_refused, run, read_if_silent),
    )
    run.log_pod_uid = pod.uid
    following = run.agent_log.follow(pod, events, start_announced=run.start_marks is not None)
    run.log_task = run.group.create_task(following, name="log")
    if run.start_marks is not None and not run.job_watch.known.agent_began:
        run.start_task("start mark", _wait_for_start_mark(run, *run.start_marks))


async def remove_start_mark(run: LiveRun) -> None:
    """Remove a start mark that was not found in time, because the API reported the start earlier."""
    if run.start_marks is not None and run.log_pod_uid and not run.start_mark_seen:
        starts, volume = run.start_marks
        await starts.remove(volume, run.log_pod_uid)


async def _wait_for_start_mark(run: LiveRun, starts: StartSignals, volume: str) -> None:
    await starts.wait_for_start(volume, run.log_pod_uid)
    run.start_mark_seen = True
    run.agent_log.container_started()


def _on_opened(run: LiveRun) -> None:
    run.log_stopped = False
    run.log_ended.clear()
    run.job_watch.set_log_opened()
    if run.exit_wait is not None:
        run.exit_wait.stream_opened()


def _on_closed(run: LiveRun) -> None:
    if run.exit_wait is not None:
        run.exit_wait.stream_closed()


def _on_ended_or_refused(run: LiveRun, read_if_silent: PeriodicTask, *, by_itself: bool = False) -> None:
    run.log_stopped = True
    if by_itself:
        run.log_ended.set()
    if run.running_since is not None:
        read_if_silent.call_in(_seconds_until_read(run))


async def _read_if_silent(run: LiveRun) -> float | None:
    """Read Job and Pod if the agent is still silent; returns the seconds until the next try.

    None: they were read, or the log could be opened again; the next end of a stream schedules this again.
    """
    left = _seconds_until_read(run)
    if not run.log_stopped:
        return None
    if left > TIMER_SLACK:
        return left
    await read_now(run.job_watch, run.ports.cluster)
    run.silent_since = loop_time() + run.ports.settings.timings.log_quiet
    return None


def _seconds_until_read(run: LiveRun) -> float:
    """Seconds until the agent has been silent for long enough after the end of its log."""
    silent_since = max(run.narrator.last_output or 0.0, run.silent_since)
    now = loop_time()
    return max(silent_since + run.ports.settings.timings.log_quiet - now, 0.0)
