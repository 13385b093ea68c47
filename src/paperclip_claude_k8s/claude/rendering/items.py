"""The items of a transcript: what a reader sees as one thing, such as an answer, a call or its result."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "session", "answer", "thinking", "prompt", "note", "error", "plain", "call", "output", "done", "failed"
]
"""prompt: a text in the role of the user. note: an event of the CLI or the adapter. plain: a line that is no
event. output: what a tool returned. done, failed: how the run ended."""


@dataclass(frozen=True, slots=True)
class SubAgent:
    """A sub-agent. `call_id`: the call that started it."""

    number: int
    kind: str
    depth: int
    call_id: str

    @property
    def label(self) -> str:
        return f"{self.kind or 'sub-agent'} {self.number}"


@dataclass(frozen=True, slots=True)
class Item:
    """One item. Its texts come from the agent or the CLI and are not escaped."""

    kind: Kind
    text: str
    """Of a call: its arguments."""
    name: str = ""
    """Of a call or output: the readable name of the tool."""
    call_id: str = ""
    """Of a call or output: the CLI's id of the call."""
    body: tuple[tuple[str, str], ...] = ()
    """Lines below a call: style (add, remove, context, hunk, truncation, todo, prompt) and text."""
    failed: bool = False
    """Of an output: its call failed. Also True in the item of kind `failed`."""
    brief: bool = False
    """Of an output: it only confirms what its call shows. Of a call: its output will only confirm it."""
    call_text: str = ""
    """Of an output: the arguments of its call."""
    below_call: bool = False
    """Nothing was shown between this output and its call."""
    agent: SubAgent | None = None
    """The sub-agent to which the item belongs; None for the main agent."""
    time: str = ""
    """`timestamp` of the event, in ISO 8601; empty if it has none."""
