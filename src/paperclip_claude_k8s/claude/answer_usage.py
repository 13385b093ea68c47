"""Adds up the tokens of answers that no `result` includes, as in a run that was killed before its result.

A message has one `assistant` event per content block, and each of these events repeats the usage that was
known when the message began. Therefore each message counts once, with its last event. The sum is a lower
bound, because most output tokens of a message come after its beginning.
"""

import re
from collections import OrderedDict

from paperclip_claude_k8s.claude.accounting import TokenUsage, tokens_of_turn
from paperclip_claude_k8s.claude.events import Event, read_json

OPEN_MESSAGES = 100
"""Number of newest messages whose usage a further event may replace. Each agent writes one at a time."""
_START_BYTES = 400
"""The message id stands within this many bytes from the start of a line."""
_MESSAGE_ID = re.compile(rb'"message":\{(?:"[a-z_]+":"?[^"\\{}\[\]]*"?,)*?"id":"([^"\\]{1,128})"')
_USAGE = b'"usage":{'
_USAGE_OBJECT = re.compile(rb'\{(?:[^{}"]|"[^"\\]*"|\{[^{}]*\})*\}')
MAX_USAGE_BYTES = 4096
"""Largest usage object that is read. Those of the CLI have about 400 bytes."""


class AnswerUsage:
    """Adds up the usage of messages since the last result."""

    def __init__(self) -> None:
        self._sum = TokenUsage()
        self._open: OrderedDict[bytes, bytes] = OrderedDict()
        """Message id → usage as JSON, for the newest messages."""

    @property
    def total(self) -> TokenUsage | None:
        """The sum so far; None if it is 0, as it is for texts that the CLI wrote itself."""
        total = sum(map(_tokens, self._open.values()), start=self._sum)
        return None if total == TokenUsage() else total

    def add_line(self, line: bytes) -> None:
        """Take the line of an `assistant` event. An event without a message id or usage is ignored."""
        at = line.rfind(_USAGE)
        found = _MESSAGE_ID.search(line, 0, _START_BYTES) if at >= 0 else None
        usage = _USAGE_OBJECT.match(line, at + len(_USAGE) - 1, at + MAX_USAGE_BYTES) if found else None
        if found is None or usage is None:
            return
        self._open[found[1]] = usage[0]
        if len(self._open) > OPEN_MESSAGES:
            _, oldest = self._open.popitem(last=False)
            self._sum += _tokens(oldest)

    def add_result(self, event: Event) -> None:
        """Start again at 0, because the result includes all earlier messages.

        A result of 0 turns, for which the model was not called, does not include them.
        """
        if event.get("num_turns") != 0:
            self._sum = TokenUsage()
            self._open.clear()


def _tokens(usage: bytes) -> TokenUsage:
    parsed = read_json(usage)
    return tokens_of_turn(parsed) if isinstance(parsed, dict) else TokenUsage()
