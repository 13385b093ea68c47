"""The main agent's last messages: kept as raw lines, parsed only when they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from paperclip_claude_k8s.base.json_readers import get_object, get_objects, get_text
from paperclip_claude_k8s.base.json_sizes import small_enough_to_parse
from paperclip_claude_k8s.base.recent_texts import RecentTexts
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.events import Event, get_name, read_event

KEPT_BYTES = 1024 * 1024
"""Limit of the total size of the kept lines, larger than the longest message of a model. Beyond it the oldest
lines are dropped, but never the newest line."""
SHORT_LINE = 64 * 1024
"""Lines of up to this many bytes are never too large to be parsed."""
SYNTHETIC = "<synthetic>"
"""The model named in messages that the CLI wrote itself."""


@dataclass(frozen=True, slots=True)
class AssistantText:
    """The texts of one `assistant` event of the main agent, and who wrote them."""

    uuid: str
    message_id: str
    model: str
    texts: tuple[str, ...]


class AssistantTexts:
    """The last `assistant` events with text, without those that the CLI retracted."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._last_line = b""
        """The last event, with or without text."""
        self._retracted = RecentTexts()

    def add(self, line: bytes, *, has_text: bool) -> None:
        """Take an `assistant` event of the main agent. A line that is too large to be parsed is ignored."""
        if len(line) > SHORT_LINE and not small_enough_to_parse(line):
            return
        self._last_line = line
        if has_text:
            self._lines.append(line)
            self._size += len(line)
            while self._size > KEPT_BYTES and len(self._lines) > 1:
                self._size -= len(self._lines.pop(0))

    def retract(self, uuids: list[object]) -> None:
        """Ignore the events with these uuids, which `supersedes` or `retracted_message_uuids` lists."""
        self._retracted.update(uuids)

    def model(self) -> str:
        """The model of the last message. If the CLI itself wrote that message: of the last one by a model.

        Empty if neither message names a model.
        """
        last = get_name(get_object(read_event(self._last_line) or {}, "message"), "model")
        if last and last != SYNTHETIC:
            return last
        names = (message.model for message in reversed(self._messages()))
        return next((name for name in names if name and name != SYNTHETIC), "")

    def stop_reason(self) -> str | None:
        """The `stop_reason` of the last message; None if it is missing or null."""
        return get_name(get_object(read_event(self._last_line) or {}, "message"), "stop_reason") or None

    def summary(self, result: Event | None) -> str:
        """The agent's answer for the host server, cut to `Limits.answer_chars` characters.

        If the text of `result` is the last text of the last message: all texts of that message. If it is not:
        the text of `result`. Without a text in `result`: its `structured_output` as JSON, else the texts of
        all kept messages. Texts are separated by blank lines.
        """
        return self._answer(result)[: LIMITS.answer_chars]

    def _answer(self, result: Event | None) -> str:
        messages = self._messages()
        result_text = get_text(result or {}, "result")
        structured = (result or {}).get("structured_output")
        if not result_text.strip() and structured is not None:
            return orjson.dumps(structured).decode()
        if not result_text.strip():
            return "\n\n".join(part for message in messages for part in message.texts)
        last = [
            part
            for message in messages
            if message.message_id == messages[-1].message_id
            for part in message.texts
        ]
        return "\n\n".join(last) if last and last[-1].strip() == result_text.strip() else result_text.strip()

    def wrote(self, text: str) -> bool:
        """Whether the last kept text is this one, and a model wrote it, not the CLI."""
        last = next(reversed(self._messages()), None)
        by_model = last is not None and last.model not in {"", SYNTHETIC}
        return last is not None and by_model and bool(text.strip()) and last.texts[-1].strip() == text.strip()

    def _messages(self) -> list[AssistantText]:
        """The kept messages with text, without repetitions: a part of a log may have been read twice."""
        once = {
            (message.uuid or message.message_id or number, message): message
            for number, message in enumerate(self._parsed())
            if message.texts and message.uuid not in self._retracted
        }
        return list(once.values())

    def _parsed(self) -> Iterator[AssistantText]:
        for line in self._lines:
            event = read_event(line)
            if event is not None and not event.get("parent_tool_use_id"):
                message = get_object(event, "message")
                yield AssistantText(
                    get_text(event, "uuid"),
                    get_text(message, "id"),
                    get_name(message, "model"),
                    _texts_of(message),
                )


def _texts_of(message: Event) -> tuple[str, ...]:
    blocks = get_objects(message, "content")
    return tuple(
        part for block in blocks if block.get("type") == "text" and (part := get_text(block, "text"))
    )
