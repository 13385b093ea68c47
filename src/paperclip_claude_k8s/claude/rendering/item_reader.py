"""Turns lines of the agent's stdout into items, and remembers what connects them."""

from collections.abc import Iterator
from dataclasses import replace

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.claude.rendering.connections import Connections, Recent
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.rows import FIRST_LINES, LAST_LINES
from paperclip_claude_k8s.claude.ui import entries_of
from paperclip_claude_k8s.claude.ui.stdout_lines import Piece, Plain, read_line
from paperclip_claude_k8s.claude.ui.values import (
    Entry,
    Json,
    counted,
    description_of,
    duration,
    number_of,
    short,
    text_of,
)

_TEXT_KINDS = {
    "assistant": "answer",
    "thinking": "thinking",
    "user": "prompt",
    "system": "note",
    "stderr": "error",
    "stdout": "plain",
}
"""Kind of an entry → kind of its item."""
_CLI_PREFIX = "Claude Code: "
"""Prefix of the texts of messages that the Claude CLI itself wrote."""
MAX_NOTE_LINES = FIRST_LINES + LAST_LINES
"""A terminal shows all lines of a note with at most this many."""


class ItemReader:
    """Reads the stdout of one run in order. Its memory is bounded, whatever the agent prints."""

    def __init__(self) -> None:
        self._connections = Connections()
        self._last_call = ""
        """The id of the call that was the last item; empty if another item followed."""
        self._session = ""
        self._answers: Recent[bool] = Recent()
        """Hashes of the texts of the main agent and the CLI that were shown: a result may repeat them."""
        self._result_count = 0
        self._turns = 0.0
        """Turns of the agent in all results so far."""
        self._error = ""
        """The last error of the main agent."""
        self._result: Entry | None = None
        self._milliseconds = 0.0
        """Duration in the last result."""

    def read(self, line: str) -> list[Item]:
        """The items of one line; none if it shows nothing. Never raises."""
        given = read_line(line)
        if isinstance(given, Plain) and not given.status:  # nearly all lines of a busy command
            self._last_call = "" if given.text else self._last_call
            return [Item("plain", given.text)] if given.text else []
        event: Json = given if isinstance(given, dict) else {}
        if text_of(event, "type") == "system":
            given = event = self._connections.connected_event(event)
            if not event:
                return []
        if text_of(event, "type") == "result":
            self._result_count += 1
            self._turns += number_of(event, "num_turns") or 0
            self._milliseconds = number_of(event, "duration_ms") or 0
        time = text_of(event, "timestamp")[: LIMITS.id_chars]
        items: list[Item] = []
        for entry in self._entries_of(given, event):
            if not self._add_to_call(items, entry):
                items += [replace(item, time=time) if time else item for item in self._items_of(entry)]
        for item in items:
            self._remember(item)
        return items

    def _entries_of(self, given: Json | Piece | Plain, event: Json) -> Iterator[Entry]:
        """The entries of a line. A result may repeat a text of the CLI, which is then shown only once.

        A text that fits into a note is remembered here. A longer message of the CLI becomes an answer, which
        is shown whole and remembered as such.
        """
        for entry in entries_of(given):
            cli_text = _text_of_cli(event, entry)
            if cli_text and cli_text.count("\n") < MAX_NOTE_LINES:
                self._answers.put(_key(cli_text.strip()), True)
            elif cli_text and entry["kind"] == "system" and text_of(event, "type") == "assistant":
                entry = {**entry, "kind": "assistant", "text": cli_text}  # noqa: PLW2901
            yield entry

    def finish(self, usage: RunUsage) -> list[Item]:
        """The last item: how the run ended, with the run's tokens and cost, or that there was no result."""
        if self._result is None:
            return [Item("note", "the output ends without a result")] if self._session else []
        facts = [counted(self._turns, "turn")] if self._turns else []
        # each result has the duration of its turns only
        facts += [duration(self._milliseconds)] if self._milliseconds and self._result_count == 1 else []
        facts += _usage_texts(usage)
        result, self._result = self._result, None
        if not result["isError"]:
            return [Item("done", " · ".join(["done", *facts]))]
        return [Item("failed", " · ".join([_failure_text(result, self._error), *facts]), failed=True)]

    def _add_to_call(self, items: list[Item], entry: Entry) -> bool:
        """Add the entry to its call's item if it is a change or a checklist. Return whether it was added."""
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
        agent = self._connections.agent_of(entry)
        match entry:
            case {"delta": True}:
                return
            case {"kind": "init"}:
                yield from self._session_items(entry)
            case {"kind": "tool_call", "name": name, "input": given}:
                yield self._connections.call_item(entry, name, given, agent)
            case {"kind": "tool_result"}:
                yield self._connections.output_item(entry, agent, self._last_call)
            case {"kind": "result"}:
                yield from self._result_items(entry)
            case {"kind": kind, "text": text}:
                if agent is not None and kind == "user" and self._connections.is_prompt(agent, text):
                    return  # the call shows it
                yield Item(_TEXT_KINDS.get(kind, "note"), text, agent=agent)  # type: ignore[arg-type]

    def _session_items(self, entry: Entry) -> Iterator[Item]:
        """The session when it begins, or a note that it continues after a result."""
        session = short(entry["sessionId"])
        if session == self._session:
            yield Item("note", "the session continues")
        else:
            self._session = session
            yield Item("session", f"session {session} · {short(entry['model'])}")

    def _result_items(self, entry: Entry) -> Iterator[Item]:
        """The answer, if no message has shown it. How the turn ended is shown at the end of the run."""
        self._result = entry
        answer = entry["text"].strip()
        if answer and not entry["isError"] and not self._answers.get(_key(answer)):
            yield Item("answer", entry["text"])

    def _remember(self, item: Item) -> None:
        self._last_call = item.call_id if item.kind == "call" else ""
        self._connections.remember(item)
        if item.kind == "answer" and item.agent is None:
            self._answers.put(_key(item.text.strip()), True)
        elif item.kind == "error" and item.agent is None:
            self._error = item.text


def _text_of_cli(event: Json, entry: Entry) -> str:
    """The text of a message or of a notice that the CLI itself wrote; empty for any other entry."""
    kind, subtype = text_of(event, "type"), text_of(event, "subtype")
    if kind == "assistant" and entry["kind"] == "system" and entry["text"].startswith(_CLI_PREFIX):
        return str(entry["text"].removeprefix(_CLI_PREFIX))
    return description_of(event) if (kind, subtype) == ("system", "informational") else ""


def _key(text: str) -> str:
    return str(hash(text))


def _usage_texts(usage: RunUsage) -> list[str]:
    texts = []
    if usage.usage is not None:
        cached = usage.usage.cached_input_tokens
        more = f" and {cached:,} from the cache" if cached else ""
        texts.append(f"{usage.usage.input_tokens:,} tokens in{more}, {usage.usage.output_tokens:,} out")
    return [*texts, "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"]


def _failure_text(result: Entry, last_error: str) -> str:
    """How the run failed, without texts that the last shown error contains."""
    subtype = result["subtype"]
    label = f" ({short(subtype)})" if subtype not in {"", "success"} else ""
    texts = (text.strip() for text in (result["text"], *result["errors"]))
    why = short("; ".join(text for text in texts if text and text not in last_error), LIMITS.text_chars)
    return f"failed{label}{': ' if why else ''}{why}"
