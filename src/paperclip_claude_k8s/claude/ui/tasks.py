"""Events about background tasks, sub-agents and hooks: one line each, empty if there is nothing to show."""

import re
from collections.abc import Callable, Mapping

from paperclip_claude_k8s.claude.ui.values import (
    LONG_CHARS,
    Json,
    amount_of,
    counted,
    duration,
    first_text,
    joined,
    labelled,
    number_of,
    object_of,
    short,
    text_of,
    whole,
)

_TASK_OUTPUT = re.compile(r"/tasks/[A-Za-z0-9_-]{1,64}\.output\Z")
"""End of the path of one of the CLI's own files. Such a path is not shown: the Pod's files are deleted."""

_SUMMARY_WITH_LABEL = 'Background command "'
"""Start of a summary that needs no label, such as `Background command "make" completed`."""


def _kind_of_task(event: Json) -> str:
    if text_of(event, "task_type") == "local_bash":
        return "background command"
    agent = short(text_of(event, "subagent_type"))
    if agent or text_of(event, "task_type") == "local_agent":
        return joined(" ", ("sub-agent", agent))
    return joined(" ", ("task", short(text_of(event, "task_id"))))


def _task_started(event: Json) -> str:
    return labelled(f"{_kind_of_task(event)} started", short(text_of(event, "description")))


def _task_progress(event: Json) -> str:
    detail = short(text_of(event, "description")) or short(text_of(event, "last_tool_name"))
    return labelled(_kind_of_task(event), detail) + _usage_suffix(event)


def _task_updated(event: Json) -> str:
    """Nothing for a completed task: its `task_notification` follows."""
    patch = object_of(event, "patch")
    status = short(text_of(patch, "status"))
    if status == "completed":
        return ""
    detail = joined(": ", (status, short(text_of(patch, "error"))))
    return f"{_kind_of_task(event)}: {detail}" if detail else ""


def _task_notification(event: Json) -> str:
    status = short(text_of(event, "status")) or "ended"
    output = short(text_of(event, "output_file"))
    summary = short(text_of(event, "summary"), LONG_CHARS)
    label = "" if summary.startswith(_SUMMARY_WITH_LABEL) else f"{_kind_of_task(event)} {status}"
    line = labelled(label, summary) + _usage_suffix(event)
    return f"{line}, output in {output}" if output and not _TASK_OUTPUT.search(output) else line


def _usage_suffix(event: Json) -> str:
    usage = object_of(event, "usage")
    if not usage:
        return ""
    facts = (
        counted(amount_of(usage, "tool_uses"), "tool use"),
        counted(amount_of(usage, "total_tokens"), "token"),
        duration(amount_of(usage, "duration_ms")),
    )
    return f" ({joined(', ', facts)})"


def _hook_started(event: Json) -> str:
    return f"hook {_hook_name(event)} started"


def _hook_progress(event: Json) -> str:
    return labelled(f"hook {_hook_name(event)}", _hook_output(event))


def _hook_response(event: Json) -> str:
    outcome, code = short(text_of(event, "outcome")) or "ended", number_of(event, "exit_code")
    how = f" (exit code {whole(code)})" if code else ""
    return labelled(f"hook {_hook_name(event)}: {outcome}{how}", _hook_output(event))


def _hook_name(event: Json) -> str:
    return short(first_text(event, "hook_name", "hook_event")) or "(unnamed)"


def _hook_output(event: Json) -> str:
    return short(first_text(event, "output", "stdout", "stderr"), LONG_CHARS)


DESCRIBERS: Mapping[str, Callable[[Json], str]] = {
    "hook_progress": _hook_progress,
    "hook_response": _hook_response,
    "hook_started": _hook_started,
    "task_notification": _task_notification,
    "task_progress": _task_progress,
    "task_started": _task_started,
    "task_updated": _task_updated,
}
"""Each subtype of these events, and the function that returns its line."""
