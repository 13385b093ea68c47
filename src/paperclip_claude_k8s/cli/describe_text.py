"""The page that `claude-k8s describe` prints. Pure functions."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_number
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cli.formats import Format, plain_text
from paperclip_claude_k8s.cli.job_rows import age
from paperclip_claude_k8s.cli.text_tables import Column, facts, table, table_with_text, wrapped

INDENT = "  "
"""Stands before each line of a section."""
_PHASES = {
    "created": "Job created",
    "pod_created": "Pod created",
    "scheduled": "Pod has a node",
    "started": "agent started",
    "ended": "agent ended",
}
_CONDITIONS = (
    Column("type", itemgetter("type")),
    Column("status", itemgetter("status")),
    Column("reason", itemgetter("reason")),
)
_MESSAGE = Column("message", itemgetter("message"))
_CONTAINERS = (
    Column("container", itemgetter("name")),
    Column("state", itemgetter("state")),
    Column("exit code", itemgetter("exit_code")),
    Column("reason", itemgetter("reason")),
)


def description_text(reply: Mapping[str, Any], now: datetime, width: int | None, output: Format) -> str:
    """The page as text; "" for a reply that reports an error.

    `now`: the time from which ages are counted. `width`: columns of the terminal, for which long texts are
    wrapped.
    """
    if "error" in reply:
        return ""
    if output is Format.NAME:
        return str(reply["run_id"])
    if "state" not in reply:
        return plain_text(reply)
    return "\n\n".join(_sections(reply, now, None if output is Format.WIDE else width))


def _sections(reply: Mapping[str, Any], now: datetime, width: int | None) -> Iterator[str]:
    text_width = width - len(INDENT) if width is not None else None
    yield facts(_head(reply, now), width)
    if phases := reply.get("phases"):
        yield f"Phases\n{_indented(facts(_phase_rows(phases)))}"
    if containers := reply.get("containers"):
        yield f"Containers\n{_indented(table(containers, _CONTAINERS, Format.TEXT, width=None))}"
    if conditions := reply.get("conditions"):
        yield f"Conditions\n{_indented(table_with_text(conditions, _CONDITIONS, _MESSAGE, width=text_width))}"
    if reply.get("phases"):
        events, columns = reply.get("events") or [], _event_columns(reply, now)
        listed = table_with_text(events, columns, _MESSAGE, width=text_width) if events else "none"
        yield f"Events\n{_indented(listed)}"
    if usage := reply.get("usage"):
        yield f"Usage\n{_indented(facts(_usage_rows(usage)))}"
    if verdict := reply.get("verdict"):
        yield f"Verdict\n{_indented(wrapped(verdict, text_width))}"
    if commands := reply.get("next"):
        yield "Next\n" + "\n".join(f"  {command}" for command in commands)


def _head(reply: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, object]]:
    created = parse_time(reply.get("created"))
    name = reply.get("agent_name")
    agent = f"{reply['agent']} ({name})" if name and name != reply.get("agent") else reply.get("agent")
    yield "Run", reply["run_id"]
    yield "State", reply["state"]
    yield "Agent", agent
    yield "Task", reply.get("task")
    yield "Session", reply.get("session")
    yield "Who works on it", reply.get("held_by")
    yield "Created", f"{reply.get('created')} ({age(created, now)} ago)" if created is not None else None
    yield "Namespace", reply.get("namespace")
    yield "Job", reply.get("job")
    yield "Pod", reply.get("pod")
    yield "Node", reply.get("node")
    yield "Image", reply.get("image")
    yield "API server", reply.get("server")
    yield "Record", reply.get("record")
    yield "Cluster", reply.get("cluster")


def _phase_rows(phases: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    previous: datetime | None = None
    for name, label in _PHASES.items():
        time = parse_time(phases.get(name))
        if time is None:
            continue
        since_previous = f"  +{(time - previous).total_seconds():.0f}s" if previous is not None else ""
        yield label, f"{phases[name]}{since_previous}"
        previous = time


def _event_columns(reply: Mapping[str, Any], now: datetime) -> tuple[Column, ...]:
    short_names = {f"Job/{reply.get('job')}": "Job", f"Pod/{reply.get('pod')}": "Pod"}

    def seen(row: Mapping[str, Any]) -> object:
        ago = age(parse_time(row["seen"]), now)
        return f"{ago} (x{row['count']})" if row["count"] > 1 else ago

    def about(row: Mapping[str, Any]) -> object:
        return short_names.get(row["about"], row["about"])

    names = ("type", "reason")
    return (Column("age", seen), *(Column(name, itemgetter(name)) for name in names), Column("about", about))


def _usage_rows(usage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    names = {"inputTokens": "tokens in", "cachedInputTokens": "from the cache", "outputTokens": "tokens out"}
    for key, name in names.items():
        if isinstance(usage.get(key), int):
            yield name, f"{usage[key]:,}"
    cost = get_number(usage, "costUsd")
    yield "cost", f"${cost:.4f}" if cost is not None else "unknown until the run's result"


def _indented(text: str) -> str:
    return "\n".join(f"{INDENT}{line}" for line in text.split("\n"))
