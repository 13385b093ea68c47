"""Messages: texts of the agent and its sub-agents, their tool calls, and the results of these calls."""

from collections.abc import Iterator
from typing import Any

from paperclip_claude_k8s.claude.ui.cli_words import without_markup
from paperclip_claude_k8s.claude.ui.edits import change_entries
from paperclip_claude_k8s.claude.ui.values import (
    BLANKS,
    Entry,
    Json,
    counted,
    first_text,
    items_of,
    joined,
    object_of,
    short,
    size_label,
    text_of,
    utf16_length,
)

SYNTHETIC = "<synthetic>"
"""The model of messages that the CLI wrote itself: the text of an API error, or output of a local command."""
SUB_AGENT = "subAgent"
"""Key with `{type, task}` in a sub-agent's entry, until `with_agent_name` removes it. Both may be empty."""
_LOCAL_COMMAND = ("<local-command-stdout>", "</local-command-stdout>")
_MAX_LABEL_CHARS = 60
"""Largest number of characters of a label: a sub-agent's type or task, or the type of some content."""


def assistant_entries(event: Json) -> list[Entry]:
    message = object_of(event, "message")
    synthetic = text_of(message, "model") == SYNTHETIC
    kind = _synthetic_kind(event) if synthetic else "assistant"
    entries = [entry for block in _blocks(message) for entry in _assistant_block(block, kind)]
    error = _error_suffix(event)
    if synthetic:
        entries = [{**entry, "text": f"Claude Code: {entry['text']}{error}"} for entry in entries]
    elif text_of(event, "error"):
        entries.append({"kind": "stderr", "text": f"Claude Code reports an error{error}"})
    withdrawn = len(items_of(event, "supersedes"))
    if withdrawn:
        text = f"this replaces {counted(withdrawn, 'earlier message')}"
        entries.append({"kind": "system", "text": text})
    return _with_sub_agent(event, entries)


def user_entries(event: Json) -> list[Entry]:
    """Tool results, the prompt of a sub-agent, and messages that the CLI writes in the role of the user."""
    from_cli = event.get("isSynthetic") is True or event.get("isMeta") is True
    entries = [entry for block in _blocks(object_of(event, "message")) for entry in _user_block(block)]
    if from_cli:
        entries = [_as_cli_message(entry) for entry in entries]
    return _with_sub_agent(event, entries)


def _synthetic_kind(event: Json) -> str:
    return "stderr" if text_of(event, "error") else "system"


def _error_suffix(event: Json) -> str:
    error = short(text_of(event, "error"))
    return f" ({error})" if error else ""


def _as_cli_message(entry: Entry) -> Entry:
    if entry["kind"] != "user":
        return entry
    return {"kind": "system", "text": f"Claude Code tells the agent: {without_markup(entry['text'])}"}


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in items_of(message, "content") if isinstance(block, dict)]


def _assistant_block(block: Json, kind: str) -> Iterator[Entry]:
    """The entries of one block of an assistant message. A synthetic message has only texts."""
    block_type = text_of(block, "type")
    if block_type == "text" or kind != "assistant":
        text = text_of(block, "text")
        if text.strip(BLANKS):
            yield {"kind": kind, "text": text}
    elif block_type == "thinking":
        text = text_of(block, "thinking")
        if text.strip(BLANKS):
            yield {"kind": "thinking", "text": text}
    elif block_type == "redacted_thinking":
        yield {"kind": "thinking", "text": "[redacted thinking]"}
    elif block_type.endswith("tool_use"):
        yield from _call_entries(block)
    elif block_type.endswith("tool_result"):
        yield _result_of_tool(block)
    else:
        yield {"kind": "assistant", "text": _part_text(block)}


def _user_block(block: Json) -> Iterator[Entry]:
    """The entries of one block of a user message."""
    block_type = text_of(block, "type")
    if block_type.endswith("tool_result"):
        yield _result_of_tool(block)
        return
    text = text_of(block, "text") if block_type == "text" else _part_text(block)
    opening, closing = _LOCAL_COMMAND
    bare = text.strip(BLANKS)
    if bare.startswith(opening):
        output = bare.removeprefix(opening).removesuffix(closing).strip(BLANKS)
        if output:
            yield {"kind": "system", "text": output}
    elif bare:
        yield {"kind": "user", "text": text}


def _call_entries(block: Json) -> list[Entry]:
    """The call, and the change that it makes to a file or to the list of tasks."""
    name = first_text(block, "name") or "tool"
    given = block.get("input")
    call: Entry = {"kind": "tool_call", "name": name, "input": {} if given is None else given}
    call_id = first_text(block, "id", "tool_use_id")
    changes = change_entries(name, object_of(block, "input"), call_id)
    return [{**call, "toolUseId": call_id} if call_id else call, *changes]


def _result_of_tool(block: Json) -> Entry:
    """The result of a tool. For a server tool, the block type names the tool: `web_search_tool_result`."""
    content = block.get("content")
    failed = isinstance(content, dict) and bool(text_of(content, "error_code"))
    entry: Entry = {
        "kind": "tool_result",
        "toolUseId": text_of(block, "tool_use_id"),
        "content": without_markup(_content_text(content)),
        "isError": block.get("is_error") is True or failed,
    }
    server_tool = text_of(block, "type").removesuffix("tool_result").removesuffix("_")
    return {**entry, "toolName": server_tool} if server_tool else entry


def _content_text(content: Any) -> str:  # noqa: ANN401  # any output of a tool
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = (part if isinstance(part, str) else _part_text(part) for part in parts if part is not None)
    return joined("\n", texts)


def _part_text(part: Any) -> str:  # noqa: ANN401  # any output of a tool
    """The text of one part. A part without text is described in brackets, with its size if known."""
    if not isinstance(part, dict):
        return ""
    text = text_of(part, "text")
    if text:
        return text
    source = object_of(part, "source")
    kind = short(first_text(source, "media_type") or first_text(part, "mimeType", "type"), _MAX_LABEL_CHARS)
    data = text_of(source, "data") or text_of(part, "data")
    facts = (
        kind or "unnamed content",
        size_label(utf16_length(data) * 3 // 4) if data else "",  # bytes of base64
        short(first_text(part, "title", "tool_name", "name", "file_id")),
        short(first_text(part, "url") or first_text(source, "url")),
        short(first_text(part, "error_code")),
    )
    details = "\n".join(text for key in ("stdout", "stderr") if (text := text_of(part, key).strip(BLANKS)))
    return joined("\n", ("" if kind == "text" else f"[{joined(', ', facts)}]", details))


def _with_sub_agent(event: Json, entries: list[Entry]) -> list[Entry]:
    """Add to each entry of a sub-agent: the id of the call that started it, its type and its task."""
    parent = text_of(event, "parent_tool_use_id")
    if not parent:
        return entries
    kind, task = first_text(event, "subagent_type"), first_text(event, "task_description")
    known = {"type": short(kind, _MAX_LABEL_CHARS), "task": short(task, _MAX_LABEL_CHARS)}
    return [{**entry, "parentToolUseId": parent, SUB_AGENT: known} for entry in entries]


def with_agent_name(entry: Entry) -> Entry:
    """The entry as the host gets it: its text or name contains what `SUB_AGENT` says about the sub-agent."""
    known = entry.get(SUB_AGENT)
    if known is None:
        return entry
    entry = {key: value for key, value in entry.items() if key != SUB_AGENT}
    agent = joined(" ", ("sub-agent", known["type"]))
    if entry["kind"] == "tool_call":
        return {**entry, "name": f"{entry['name']} ({agent})"}
    if "text" not in entry or entry["kind"] == "diff":
        return entry
    return {**entry, "text": f"[{joined(' · ', (agent, known['task']))}] {entry['text']}"}
