"""For output that may repeat itself by an unknown amount: a captured log with replays in it.

The adapter's own log stream needs no such filter, it goes on by position (`podlog`).
"""

from hashlib import blake2b

from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.events import Event, inner, text

REMEMBERED = 100_000
"""Events of which a replay is known again; a replay reaches back seconds, not hours."""


class LogLineDedupFilter:
    """Lets each event of the CLI pass once. Plain lines always pass: two equal ones are two lines.

    An event is known by its `uuid`; without one by its type, its ids and all that it says. `message.id` alone
    is no key: the CLI prints one event per content block, all with the id of their message (EVENTS.md 0).
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}
        self._rest: list[str] = []

    def filter(self, text: str) -> str:
        """What of this chunk is new, in whole lines; the begun last line is held back."""
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = "".join([*self._rest, lines[0]])
            self._rest = []
        self._rest.append(rest)
        return "".join(f"{line}\n" for line in lines if self._is_new(line))

    def flush(self) -> str:
        """The last line, where it had no newline and is new."""
        rest, self._rest = "".join(self._rest), []
        return rest if rest and self._is_new(rest) else ""

    def _is_new(self, line: str) -> bool:
        found = next(events_on(line.encode("utf-8", "surrogatepass")), None) if "{" in line else None
        if found is None:
            return True
        key = _key(found[0])
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True


def _key(event: Event) -> bytes:
    uuid = text(event, "uuid")
    if uuid:
        return f"uuid {uuid}".encode("utf-8", "surrogatepass")
    ids = [text(event, "session_id"), text(inner(event, "message"), "id")]
    told = [text(event, "type"), *ids, repr(sorted(event.items(), key=lambda pair: pair[0]))]
    return blake2b("\0".join(told).encode("utf-8", "surrogatepass"), digest_size=16).digest()
