"""What is shown of a tool's call: a readable name, the arguments, and the prompt of a sub-agent."""

import json
import re
from collections.abc import Mapping
from typing import Any

_MCP = re.compile(r"mcp__([A-Za-z0-9_.-]{1,60}?)__(.{1,100})", re.DOTALL)

MAIN_FIELDS: Mapping[str, str] = {
    "Agent": "description",
    "Bash": "command",
    "BashOutput": "bash_id",
    "Edit": "file_path",
    "Glob": "pattern",
    "Grep": "pattern",
    "KillShell": "shell_id",
    "LS": "path",
    "MultiEdit": "file_path",
    "NotebookEdit": "notebook_path",
    "Read": "file_path",
    "Skill": "skill",
    "Task": "description",
    "TodoWrite": "",
    "WebFetch": "url",
    "WebSearch": "query",
    "Write": "file_path",
}
"""Tool → the field of its input that names what it works on, which is shown without the field's name."""
_NOT_ARGUMENTS: Mapping[str, frozenset[str]] = {
    "Agent": frozenset({"prompt", "subagent_type"}),
    "Bash": frozenset({"description"}),
    "Edit": frozenset({"old_string", "new_string", "replace_all"}),
    "MultiEdit": frozenset({"edits"}),
    "NotebookEdit": frozenset({"new_source"}),
    "Task": frozenset({"prompt", "subagent_type"}),
    "TodoWrite": frozenset({"todos"}),
    "Write": frozenset({"content"}),
}
"""Tool → fields not shown as arguments: they are shown below the call, or repeat the main argument."""
BRIEF_RESULTS = frozenset({"Edit", "MultiEdit", "NotebookEdit", "TodoWrite", "Write"})
"""Tools whose successful result only confirms what the call shows, so its first line is enough."""
_AGENT_TOOLS = frozenset({"Agent", "Task"})


def readable_name(name: str) -> str:
    """`mcp__rig__echo` as `echo (MCP rig)`; any other name as it is."""
    found = _MCP.fullmatch(name)
    return f"{found[2]} (MCP {found[1]})" if found else name


def argument_text(name: str, given: Any) -> str:  # noqa: ANN401  # any input of a tool
    """The main argument, and the other ones as `(key=value, ...)`. The text may have several lines."""
    if not isinstance(given, dict):
        return _value_text(given)
    main_field = MAIN_FIELDS.get(name, "")
    hidden = _NOT_ARGUMENTS.get(name, frozenset()) | {main_field}
    main = _value_text(given[main_field]) if main_field in given else ""
    named = (_named_value(key, value) for key, value in given.items() if key not in hidden)
    others = ", ".join(text for text in named if text)
    if not main:
        return others
    return f"{main} ({others})" if others else main


def _named_value(key: str, value: object) -> str:
    if key == "run_in_background" and isinstance(value, bool):
        return "in the background" if value else ""
    return f"{key}={_value_text(value)}"


def starts_agent(name: str) -> bool:
    return name in _AGENT_TOOLS


def agent_prompt(name: str, given: Any) -> str:  # noqa: ANN401  # any input of a tool
    """The prompt of the sub-agent that the call starts; empty for any other call."""
    prompt = given.get("prompt") if name in _AGENT_TOOLS and isinstance(given, dict) else None
    return prompt if isinstance(prompt, str) else ""


def agent_type(name: str, given: Any) -> str:  # noqa: ANN401  # any input of a tool
    """The type of the sub-agent that the call starts, such as `Explore`; empty if it is not known."""
    kind = given.get("subagent_type") if name in _AGENT_TOOLS and isinstance(given, dict) else None
    return kind if isinstance(kind, str) else ""


def _value_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
