"""Texts for people about notices of the log follower, Kubernetes Events, and states of a Pod."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import assert_never

from paperclip_claude_k8s.base.times import NANO, format_time
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import (
    ContainerSnapshot,
    EventSnapshot,
    PodSnapshot,
    Running,
    Terminated,
    Waiting,
)
from paperclip_claude_k8s.host.redact import redact_text
from paperclip_claude_k8s.podlog.log_report import (
    ContainerChanged,
    FileUnusable,
    Gap,
    GapFilled,
    Notice,
    NotLogText,
    Reconnecting,
    SinkFailed,
    TimestampsMissing,
)

ERROR_CHARS = 300
"""Maximum length of a quoted exception, whose message may contain a whole line of the agent's output."""


def describe_notice(notice: Notice) -> str:
    """The notice as one log line, times in UTC."""
    match notice:
        case SinkFailed(error):
            return (
                f"A bug in the adapter: {error_text(error)}; the run continues, its log counts as incomplete"
            )
        case Gap() | GapFilled():
            return f"Log stream: {_describe_lost_lines(notice)}"
        case _:
            return f"Log stream: {_describe_stream(notice)}"


def _describe_lost_lines(notice: Gap | GapFilled) -> str:
    what, when = _amount(notice.bytes, notice.lines), _between(notice.since, notice.until)
    if isinstance(notice, GapFilled):
        return f"{what} {when} were restored from the shared volume"
    unread = notice.unread
    why = f"the log could not be read: {unread}" if unread else "no longer available from the cluster"
    return f"{what} lost {when}; {why}"


def _describe_stream(
    notice: Reconnecting | NotLogText | TimestampsMissing | ContainerChanged | FileUnusable,
) -> str:
    match notice:
        case Reconnecting(why, attempts):
            tries = f" ({attempts} tries)" if attempts > 1 else ""
            return f"{why} — reconnecting{tries}"
        case NotLogText(text):
            return f"message from the cluster: {text[:500]}"
        case TimestampsMissing():
            return (
                "the cluster sends the log without timestamps, although they were requested; lines are "
                "counted instead, and after a break the log is read from its beginning"
            )
        case ContainerChanged(earlier, now):
            return f"container {earlier} was restarted as {now}; its last lines may be missing"
        case FileUnusable(why):
            return describe_unusable_copy(why)
        case _:
            assert_never(notice)


def error_text(error: Exception) -> str:
    """Type and message of an exception, in one short line without credentials."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return redact_text(text.removesuffix(":"))[:ERROR_CHARS]


def describe_unusable_copy(why: str) -> str:
    """Why the relay's copy of the output cannot be used, and what that means."""
    return (
        f"the copy of the output on the shared volume cannot be used ({why}); only the cluster's log is read"
    )


def describe_unproven_end(size: int) -> str:
    """What it means that the last `size` bytes of the output are from the relay's copy, without totals."""
    return (
        f"the last {size} bytes of the output are from its copy on the shared volume, and the Pod's totals, "
        "which would prove them, are lost; other agents of the volume can change this copy"
    )


def iso_from_nanos(nanos: int | None) -> str | None:
    """Nanoseconds of Unix time as ISO 8601 in UTC with milliseconds; None for None, and for 0 (unknown)."""
    if not nanos:
        return None
    return format_time(datetime.fromtimestamp(nanos / NANO, UTC))


def _amount(size: int | None, lines: int | None) -> str:
    if size is None:
        return "an unknown amount of output"
    return f"{lines} lines ({size} bytes)" if lines is not None else f"{size} bytes"


def _between(since: int | None, until: int | None) -> str:
    if 0 in {since, until}:  # None: the beginning or the end of the log
        return "at an unknown time, because the log has no timestamps,"
    return f"between {iso_from_nanos(since) or 'the beginning'} and {iso_from_nanos(until) or 'the end'}"


ROUTINE = frozenset({"Scheduled", "Pulled", "Created", "Started", "SuccessfulCreate"})
"""Reasons of Events that occur in every successful start and are not reported."""


def notable_events(events: Sequence[EventSnapshot]) -> Iterator[EventSnapshot]:
    """Warnings and every Event that is not routine, in the given order."""
    return (event for event in events if event.type == "Warning" or event.reason not in ROUTINE)


def describe_event(event: EventSnapshot) -> str:
    """`Reason: message`, with the number of repetitions of a warning."""
    again = f" (x{event.count})" if event.count > 1 and event.type == "Warning" else ""
    return f"{event.reason}: {event.message}{again}"


def describe_pod(pod: PodSnapshot) -> str:
    """One line for the log, such as `Pod NAME: phase=P, init/x: done (exit 0), claude: waiting (R)`."""
    details = [f"phase={pod.phase or 'Unknown'}"]
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and not scheduled.is_true and scheduled.reason:
        details.append(f"{scheduled.reason}: {scheduled.message}")
    details += [
        f"init/{container.name}: {_state_text(container)}"
        for container in pod.init_containers
        if container.state
    ]
    details += [
        f"{container.name}: {_state_text(container)}" for container in pod.containers if container.state
    ]
    return f"Pod {pod.name}: {', '.join(details)}"


def _state_text(container: ContainerSnapshot) -> str:
    match container.state:
        case Waiting(reason, message):
            routine = not message or reason in {"ContainerCreating", "PodInitializing"}
            return f"waiting ({reason or 'unknown'}{'' if routine else f': {message}'})"
        case Running():
            return "running"
        case Terminated(exit_code, reason):
            done = exit_code == 0 and container.name != AGENT_CONTAINER
            return "done (exit 0)" if done else f"terminated (exit {exit_code}, {reason or 'no reason'})"
        case None:
            return "no report yet"
