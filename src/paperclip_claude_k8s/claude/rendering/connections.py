"""Connects what belongs together: a call and its result, a call and its sub-agent, the events of one task."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.rendering.calls import (
    BRIEF_RESULTS,
    agent_prompt,
    agent_type,
    argument_text,
    readable_name,
    starts_agent,
)
from paperclip_claude_k8s.claude.rendering.excerpts import excerpt
from paperclip_claude_k8s.claude.rendering.items import Item, SubAgent
from paperclip_claude_k8s.claude.ui.messages import SUB_AGENT
from paperclip_claude_k8s.claude.ui.values import Entry, Json, counted, short, text_of

MAX_TYPE_CHARS = 30
"""Characters of a sub-agent's type that are shown before each of its lines."""
MAX_PROMPT_LINES = 6
"""Lines of a sub-agent's prompt that are shown."""
MAX_DEPTH = 5
"""Levels of sub-agents that are indented; deeper sub-agents are indented like those of this level."""
_TASK_FIELDS = ("task_type", "subagent_type")
_REASON_FIELDS = ("message", "decision_reason", "decision_reason_type")
_NOTHING: Json = {}
_BRIEF_STARTS = ("Async agent launched", "Command running in background")
"""Beginnings of outputs that only confirm that something was started: the first line is enough."""
_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """The newest values by id, except values whose id is longer than `Limits.id_chars`."""

    def __init__(self) -> None:
        self._values: dict[str, _Value] = {}

    def get(self, key: str) -> _Value | None:
        return self._values.get(key)

    def put(self, key: str, value: _Value) -> None:
        if len(key) <= LIMITS.id_chars:
            self._values[key] = value
            if len(self._values) > LIMITS.remembered_ids:
                del self._values[next(iter(self._values))]


class Connections:
    """Remembers calls, sub-agents and tasks of one run by their ids, in bounded memory."""

    def __init__(self) -> None:
        self._calls: Recent[Item] = Recent()
        self._answered: Recent[bool] = Recent()
        """Ids of calls whose result was seen."""
        self._prompts: Recent[int] = Recent()
        """Call id → hash of the sub-agent's prompt. A prompt may have megabytes."""
        self._reports: Recent[int] = Recent()
        """Call id → hash of the sub-agent's last text."""
        self._agents: Recent[SubAgent] = Recent()
        self._agent_count = 0
        self._tasks: Recent[Json] = Recent()

    def connected_event(self, event: Json) -> Json:
        """A `system` event, with facts from earlier events, and without facts that its call or result shows.

        `_NOTHING` if it must not be shown at all.
        """
        subtype = text_of(event, "subtype")
        if subtype == "background_tasks_changed":
            return _NOTHING  # the start and the end of each task are shown
        if text_of(event, "task_id"):
            return self._task_event(event)
        if subtype == "permission_denied" and self._result_follows(event):
            return {key: value for key, value in event.items() if key not in _REASON_FIELDS}
        return event

    def _task_event(self, event: Json) -> Json:
        """The event of a task, with the kind of the task, which only `task_started` names."""
        task_id, subtype = text_of(event, "task_id"), text_of(event, "subtype")
        if subtype == "task_started":
            known = {key: short(text_of(event, key)) for key in ("tool_use_id", *_TASK_FIELDS)}
            if agent := self._agents.get(known["tool_use_id"]):
                known["subagent_type"] = agent.label
            self._tasks.put(task_id, known)
            if self._calls.get(known["tool_use_id"]):
                return _NOTHING  # the call says what started
        task = {**event, **(self._tasks.get(task_id) or {})}
        if subtype == "task_updated" and self._result_follows(task):
            return _NOTHING
        if subtype == "task_notification" and (self._result_follows(task) or self._is_report(task)):
            return {**task, "summary": ""}
        return task

    def _is_report(self, event: Json) -> bool:
        """Whether the summary is the text that the sub-agent of the task wrote last."""
        return self._reports.get(text_of(event, "tool_use_id")) == hash(text_of(event, "summary").strip())

    def _result_follows(self, event: Json) -> bool:
        """Whether the event belongs to a call whose result is still to come and will tell how it ended."""
        call_id = text_of(event, "tool_use_id")
        return self._calls.get(call_id) is not None and not self._answered.get(call_id)

    def agent_of(self, entry: Entry) -> SubAgent | None:
        """The sub-agent that wrote the entry; None for the main agent.

        Sub-agents are numbered when they are called, or at their first entry if the call was not seen.
        """
        parent = entry.get("parentToolUseId", "")
        if not parent:
            return None
        return self._agents.get(parent) or self._new_agent(parent, entry[SUB_AGENT]["type"], None)

    def _new_agent(self, call_id: str, kind: str, outer: SubAgent | None) -> SubAgent:
        self._agent_count += 1
        depth = min((outer.depth if outer else 0) + 1, MAX_DEPTH)
        agent = SubAgent(self._agent_count, short(kind, MAX_TYPE_CHARS), depth, call_id)
        self._agents.put(call_id, agent)
        return agent

    def is_prompt(self, agent: SubAgent, text: str) -> bool:
        return self._prompts.get(agent.call_id) == hash(text)

    def remember(self, item: Item) -> None:
        if item.kind == "call":
            self._calls.put(item.call_id, replace(item, text=short(item.text), body=()))
        elif item.kind == "answer" and item.agent is not None:
            self._reports.put(item.agent.call_id, hash(item.text.strip()))

    def call_item(self, entry: Entry, name: str, given: Any, agent: SubAgent | None) -> Item:  # noqa: ANN401
        call_id = entry.get("toolUseId", "")
        name = short(name)
        shown_name = readable_name(name)
        body: tuple[tuple[str, str], ...] = ()
        if starts_agent(name):
            prompt = agent_prompt(name, given)
            self._prompts.put(call_id, hash(prompt))
            started = self._new_agent(call_id, agent_type(name, given), agent)
            shown_name, body = f"{name} {started.label}", tuple(_prompt_lines(prompt))
        brief = name in BRIEF_RESULTS
        return Item("call", argument_text(name, given), shown_name, call_id, body, brief=brief, agent=agent)

    def output_item(self, entry: Entry, agent: SubAgent | None, last_call: str) -> Item:
        call_id, text, failed = entry["toolUseId"], entry["content"], entry["isError"]
        call = self._calls.get(call_id)
        self._answered.put(call_id, True)
        name = call.name if call else readable_name(short(entry.get("toolName", "")))
        brief = not failed and (text.startswith(_BRIEF_STARTS) or (call is not None and call.brief))
        return Item(
            "output",
            text,
            name or "a tool",
            call_id,
            failed=failed,
            brief=brief,
            call_text=call.text if call else "",
            below_call=bool(call_id) and call_id == last_call,
            agent=agent,
        )


def _prompt_lines(prompt: str) -> Iterator[tuple[str, str]]:
    shown = excerpt(prompt, MAX_PROMPT_LINES, 0)
    yield from (("prompt", line) for line in shown.first if prompt.strip())
    if shown.left_out:
        yield "truncation", counted(shown.left_out, "more line")
