"""What the main agent said: kept as lines, read only when it is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.claude.events import Event, inner, items, read_event, text

KEPT_BYTES = 1024 * 1024
"""Of the agent's last text events: the longest answer of a model fits, and a run of hours does not grow."""
SYNTHETIC = "<synthetic>"
"""The model named in events that the CLI wrote itself."""


@dataclass(frozen=True, slots=True)
class Said:
    """One content event of the main agent."""

    uuid: str
    message: str
    model: str
    texts: tuple[str, ...]


class Answers:
    """The last text events of the main agent, without those that were taken back."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._newest = b""
        self._retracted: set[str] = set()

    def keep(self, line: bytes, *, has_text: bool) -> None:
        self._newest = line
        if has_text:
            self._lines.append(line)
            self._size += len(line)
            while self._size > KEPT_BYTES and len(self._lines) > 1:
                self._size -= len(self._lines.pop(0))

    def retract(self, uuids: list[object]) -> None:
        """These events count as if they had not been said (`supersedes`, `retracted_message_uuids`)."""
        self._retracted.update(uuid for uuid in uuids if isinstance(uuid, str))

    def model(self) -> str:
        """The model of the newest event that a model wrote."""
        newest = text(inner(read_event(self._newest) or {}, "message"), "model")
        if newest and newest != SYNTHETIC:
            return newest
        names = (said.model for said in reversed(self._said()))
        return next((name for name in names if name and name != SYNTHETIC), "")

    def stop_reason(self) -> str | None:
        """Of the newest event."""
        return text(inner(read_event(self._newest) or {}, "message"), "stop_reason") or None

    def summary(self, result: Event | None) -> str:
        """The last message if the result is its last text, else the result, else all texts (SPEC 7)."""
        said = self._said()
        ending = text(result or {}, "result")
        if not ending.strip():
            return "\n\n".join(part for one in said for part in one.texts)
        last = [part for one in said if one.message == said[-1].message for part in one.texts]
        return "\n\n".join(last) if last and last[-1].strip() == ending.strip() else ending.strip()

    def _said(self) -> list[Said]:
        return [said for said in self._read() if said.texts and said.uuid not in self._retracted]

    def _read(self) -> Iterator[Said]:
        for line in self._lines:
            event = read_event(line)
            if event is not None and not event.get("parent_tool_use_id"):
                message = inner(event, "message")
                yield Said(
                    text(event, "uuid"), text(message, "id"), text(message, "model"), texts_of(message)
                )


def texts_of(message: Event) -> tuple[str, ...]:
    blocks = [block for block in items(message, "content") if isinstance(block, dict)]
    return tuple(said for block in blocks if block.get("type") == "text" and (said := text(block, "text")))
