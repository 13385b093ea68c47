"""Turns lines of the agent's stdout into items, and remembers what connects them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.accounting import RunUsage
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
from paperclip_claude_k8s.claude.ui import entries_of
from paperclip_claude_k8s.claude.ui.messages import SUB_AGENT
from paperclip_claude_k8s.claude.ui.stdout_lines import Plain, read_line
from paperclip_claude_k8s.claude.ui.values import (
    Entry,
    Json,
    counted,
    duration,
    number_of,
    short,
    text_of,
)

MAX_TYPE_CHARS = 30
"""Characters of a sub-agent's type that are shown before each of its lines."""
MAX_PROMPT_LINES = 6
"""Lines of a sub-agent's prompt that are shown."""
MAX_DEPTH = 5
"""Levels of sub-agents that are indented further."""
_TEXT_KINDS = {
    "assistant": "answer",
    "thinking": "thinking",
    "user": "prompt",
    "system": "note",
    "stderr": "error",
    "stdout": "plain",
}
_TASK_FIELDS = ("task_type", "subagent_type")
_BRIEF_STARTS = ("Async agent launched", "Command running in background")
_Value = TypeVar("_Value")


class _Recent(Generic[_Value]):
    """Remembers the newest values by their id."""

    def __init__(self) -> None:
        self._values: dict[str, _Value] = {}

    def get(self, key: str) -> _Value | None:
        return self._values.get(key)

    def put(self, key: str, value: _Value) -> None:
        if len(key) <= LIMITS.id_chars:
            self._values[key] = value
            if len(self._values) > LIMITS.remembered_ids:
                del self._values[next(iter(self._values))]


class ItemReader:
    """Reads the stdout of one run in order. Its memory is bounded, whatever the agent prints."""

    def __init__(self) -> None:
        self._calls: _Recent[Item] = _Recent()
        self._prompts: _Recent[int] = _Recent()
        """Hashes of the prompts of sub-agents, which may have megabytes, by call id."""
        self._agents: _Recent[SubAgent] = _Recent()
        self._agent_count = 0
        self._tasks: _Recent[Json] = _Recent()
        self._last_call = ""
        """The id of the call that was the last item; empty if another item followed."""
        self._session = ""
        self._answers: _Recent[bool] = _Recent()
        """Hashes of the main agent's texts."""
        self._turns = 0
        self._error = ""
        """The last error of the main agent."""
        self._result: Entry | None = None
        self._milliseconds = 0.0

    def read(self, line: str) -> list[Item]:
        """The items of one line; none if it shows nothing. Never raises."""
        given = read_line(line)
        if isinstance(given, Plain) and not given.status:  # nearly all lines of a busy command
            self._last_call = "" if given.text else self._last_call
            return [Item("plain", given.text)] if given.text else []
        event: Json = given if isinstance(given, dict) else {}
        if text_of(event, "type") == "system" and text_of(event, "task_id"):
            given = event = self._with_task(event)
        if text_of(event, "type") == "result":
            self._turns += 1
            self._milliseconds = number_of(event, "duration_ms") or 0
        time = text_of(event, "timestamp")[: LIMITS.id_chars]
        items: list[Item] = []
        for entry in entries_of(given):
            if not self._completes_call(items, entry):
                items += [replace(item, time=time) if time else item for item in self._items_of(entry)]
        for item in items:
            self._remember(item)
        return items

    def finish(self, usage: RunUsage) -> list[Item]:
        """The end of the run, with its own tokens and cost. A note if there was no result."""
        if self._result is None:
            return [Item("note", "the output ends without a result")] if self._session else []
        # the durations of several turns are not that of the run
        facts = [duration(self._milliseconds)] if self._milliseconds and self._turns == 1 else []
        facts += _usage_texts(usage)
        result, self._result = self._result, None
        if not result["isError"]:
            return [Item("done", " · ".join(["done", *facts]))]
        return [Item("failed", " · ".join([_failure_text(result, self._error), *facts]), failed=True)]

    def _with_task(self, event: Json) -> Json:
        """The event of a task, with the kind of task that only its first event tells."""
        task_id = text_of(event, "task_id")
        if text_of(event, "subtype") == "task_started":
            known = {key: short(text_of(event, key)) for key in _TASK_FIELDS}
            if agent := self._agents.get(text_of(event, "tool_use_id")):
                known["subagent_type"] = agent.label
            self._tasks.put(task_id, known)
        return {**event, **(self._tasks.get(task_id) or {})}

    def _completes_call(self, items: list[Item], entry: Entry) -> bool:
        """Add a change or a checklist to the item of its call. False for every other entry."""
        if not items or items[-1].kind != "call" or entry["kind"] not in {"diff", "system"}:
            return False
        if entry["kind"] == "diff":
            body = [] if entry["changeType"] == "file_header" else [(entry["changeType"], entry["text"])]
        elif "toolUseId" in entry or items[-1].name == "TodoWrite":
            body = [("todo", line) for line in entry["text"].split("\n")]
        else:
            return False
        items[-1] = replace(items[-1], body=(*items[-1].body, *body))
        return True

    def _items_of(self, entry: Entry) -> Iterator[Item]:
        agent = self._agent_of(entry)
        match entry:
            case {"delta": True}:
                return
            case {"kind": "init"}:
                yield from self._session_items(entry)
            case {"kind": "tool_call", "name": name, "input": given}:
                yield self._call(entry, name, given, agent)
            case {"kind": "tool_result"}:
                yield self._output(entry, agent)
            case {"kind": "result"}:
                yield from self._result_items(entry)
            case {"kind": kind, "text": text}:
                if agent is not None and kind == "user" and self._is_prompt(agent, text):
                    return  # the call shows it
                yield Item(_TEXT_KINDS.get(kind, "note"), text, agent=agent)  # type: ignore[arg-type]

    def _agent_of(self, entry: Entry) -> SubAgent | None:
        """The sub-agent that the entry is from; it gets its number with its call, or else its first entry."""
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

    def _is_prompt(self, agent: SubAgent, text: str) -> bool:
        return self._prompts.get(agent.call_id) == hash(text)

    def _session_items(self, entry: Entry) -> Iterator[Item]:
        """The session at its beginning, and a note when a further turn of it begins."""
        session = short(entry["sessionId"])
        if session == self._session:
            yield Item("note", "a further turn begins")
        else:
            self._session = session
            yield Item("session", f"session {session} · {short(entry['model'])}")

    def _call(self, entry: Entry, name: str, given: Any, agent: SubAgent | None) -> Item:  # noqa: ANN401
        call_id = entry.get("toolUseId", "")
        shown_name, body = readable_name(name), tuple[tuple[str, str], ...]()
        if starts_agent(name):
            prompt = agent_prompt(name, given)
            self._prompts.put(call_id, hash(prompt))
            started = self._new_agent(call_id, agent_type(name, given), agent)
            shown_name, body = f"{name} {started.label}", tuple(_prompt_lines(prompt))
        brief = name in BRIEF_RESULTS
        return Item("call", argument_text(name, given), shown_name, call_id, body, brief=brief, agent=agent)

    def _output(self, entry: Entry, agent: SubAgent | None) -> Item:
        call_id, text, failed = entry["toolUseId"], entry["content"], entry["isError"]
        call = self._calls.get(call_id)
        name = call.name if call else readable_name(entry.get("toolName", ""))
        brief = not failed and (text.startswith(_BRIEF_STARTS) or (call is not None and call.brief))
        return Item(
            "output",
            text,
            name or "a tool",
            call_id,
            failed=failed,
            brief=brief,
            call_text=call.text if call else "",
            below_call=bool(call_id) and call_id == self._last_call,
            agent=agent,
        )

    def _result_items(self, entry: Entry) -> Iterator[Item]:
        """The answer, if no message has shown it. How the turn ended is told at the end of the run."""
        self._result = entry
        answer = entry["text"].strip()
        if answer and not entry["isError"] and not self._answers.get(_key(answer)):
            yield Item("answer", entry["text"])

    def _remember(self, item: Item) -> None:
        self._last_call = item.call_id if item.kind == "call" else ""
        if item.kind == "call":
            self._calls.put(item.call_id, replace(item, text=short(item.text), body=()))
        elif item.kind == "answer" and item.agent is None:
            self._answers.put(_key(item.text.strip()), True)
        elif item.kind == "error" and item.agent is None:
            self._error = item.text


def _key(text: str) -> str:
    return str(hash(text))


def _prompt_lines(prompt: str) -> Iterator[tuple[str, str]]:
    shown = excerpt(prompt, MAX_PROMPT_LINES, 0)
    yield from (("prompt", line) for line in shown.first if prompt.strip())
    if shown.left_out:
        yield "truncation", counted(shown.left_out, "more line")


def _usage_texts(usage: RunUsage) -> list[str]:
    texts = []
    if usage.usage is not None:
        cached = usage.usage.cached_input_tokens
        more = f" and {cached:,} from the cache" if cached else ""
        texts.append(f"{usage.usage.input_tokens:,} tokens in{more}, {usage.usage.output_tokens:,} out")
    return [*texts, "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"]


def _failure_text(result: Entry, shown: str) -> str:
    """How the run failed, without a text that `shown`, the last error, has told already."""
    subtype = result["subtype"]
    label = f" ({short(subtype)})" if subtype not in {"", "success"} else ""
    texts = (text.strip() for text in (result["text"], *result["errors"]))
    why = short("; ".join(text for text in texts if text and text not in shown), LIMITS.text_chars)
    return f"failed{label}{': ' if why else ''}{why}"
