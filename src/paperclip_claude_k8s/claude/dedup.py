"""Removes repeated events from captured output of the Claude CLI in which parts of the log were replayed.

The adapter's own log stream needs no such filter: it continues by position (`podlog`).
"""

import json
from codecs import getincrementaldecoder
from hashlib import blake2b

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.recent_texts import RecentTexts
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.events import Event

MAX_REMEMBERED_EVENTS = 100_000
"""Number of the last events with which a new one is compared; a replay goes back seconds, not hours."""
_UUID_PREFIX = "uuid "
"""Distinguishes an identity that is a uuid from one that is a hash."""


class LogLineDedupFilter:
    """Passes each event of the CLI once. Plain lines always pass: two equal lines may both be original.

    Chunks are text, or bytes of the log in UTF-8 that may be cut anywhere, also within a character.

    At most `Limits.log_line_bytes` characters of an incomplete line are held back. A longer line passes in
    pieces, without being compared.

    An event is identified by its `uuid`; without one, by its type, its ids and its whole content.
    `message.id` alone is not unique: the CLI prints one event per content block, all with the id of their
    message.
    """

    def __init__(self) -> None:
        self._seen = RecentTexts(MAX_REMEMBERED_EVENTS)
        self._partial_line: list[str] = []
        self._partial_size = 0
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def filter(self, chunk: str | bytes) -> str:
        """The new lines of this chunk. An incomplete last line is held back until it is complete."""
        text = chunk if isinstance(chunk, str) else self._decoder.decode(chunk)
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = "".join([*self._partial_line, lines[0]])
            self._partial_line = []
            self._partial_size = 0
        self._partial_line.append(rest)
        self._partial_size += len(rest)
        new = "".join(f"{line}\n" for line in lines if self._is_new(line))
        return new + self._release() if self._partial_size > LIMITS.log_line_bytes else new

    def flush(self) -> str:
        """The held-back last line, if it is new."""
        rest = self._release() + self._decoder.decode(b"", final=True)
        return rest if rest and self._is_new(rest) else ""

    def _release(self) -> str:
        rest, self._partial_line, self._partial_size = "".join(self._partial_line), [], 0
        return rest

    def _is_new(self, line: str) -> bool:
        found = next(events_on(line.encode("utf-8", "surrogatepass")), None) if "{" in line else None
        if found is None:
            return True
        event, _ = found
        key = _identity(event)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def _identity(event: Event) -> str:
    uuid = get_text(event, "uuid")
    if 0 < len(uuid) <= LIMITS.id_chars - len(_UUID_PREFIX):
        return f"{_UUID_PREFIX}{uuid}"
    ids = [get_text(event, "session_id"), get_text(get_object(event, "message"), "id")]
    content = [get_text(event, "type"), *ids, json.dumps(strict_copy(event), sort_keys=True)]
    return blake2b("\0".join(content).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
