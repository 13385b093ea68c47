"""Tokens of answers for which no result accounts: those of a run that was killed before its result.

Each `assistant` event repeats the usage that its message had when it began, and a message has one event per
content block. Therefore each message counts once, with its last event. The sum is a lower bound, because most
output tokens of a message come after its beginning.
"""

import re
from collections import OrderedDict

from paperclip_claude_k8s.claude.accounting import TokenUsage, tokens_of_turn
from paperclip_claude_k8s.claude.events import Event, read_json

OPEN_MESSAGES = 100
"""Messages of which a further event may arrive: those of the main agent and its sub-agents at one time."""
_START_BYTES = 400
"""Bytes from the start of a line within which the message id stands."""
_MESSAGE_ID = re.compile(rb'"message":\{(?:"[a-z_]+":"?[^"\\{}\[\]]*"?,)*?"id":"([^"\\]{1,128})"')
_USAGE = b'"usage":{'
_USAGE_OBJECT = re.compile(rb'\{(?:[^{}"]|"[^"\\]*"|\{[^{}]*\})*\}')
MAX_USAGE_BYTES = 4096
"""Bytes of one usage object. The CLI's have about 400."""


class AnswerUsage:
    """Adds up the usage of messages since the last result."""

    def __init__(self) -> None:
        self._sum = TokenUsage()
        self._open: OrderedDict[bytes, bytes] = OrderedDict()
        """Message id, and its usage as JSON, of the last messages."""

    @property
    def total(self) -> TokenUsage | None:
        """The sum so far; None if it is 0, as it is for texts that the CLI wrote itself."""
        total = sum(map(_tokens, self._open.values()), start=self._sum)
        return None if total == TokenUsage() else total

    def add_line(self, line: bytes) -> None:
        """Take an `assistant` event as it was printed. One without a message id or usage is ignored."""
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
        """A result accounts for the messages before it, unless the model was not called for it."""
        if event.get("num_turns") != 0:
            self._sum = TokenUsage()
            self._open.clear()


def _tokens(usage: bytes) -> TokenUsage:
    parsed = read_json(usage)
    return tokens_of_turn(parsed) if isinstance(parsed, dict) else TokenUsage()
