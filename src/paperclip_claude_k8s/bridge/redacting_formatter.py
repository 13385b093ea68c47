"""Masks secrets in the log records and warnings that the bridge writes to stderr, as JSON lines."""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.host.known_secrets import mask_values
from paperclip_claude_k8s.host.redact import (
    MAX_NAME_CHARS,
    VALUES_ARE_SECRET,
    is_secret_name,
    redact_text,
)
from paperclip_claude_k8s.instrumentation.json_formatter import json_line

CALLS_REMEMBERED = 200
"""Number of recent calls whose secrets are masked: a log record may come after its call has ended."""
MAX_SECRET_CHARS = 256 * 1024
"""Largest number of characters of secrets remembered for one call. If there are more, the least nested
secrets are kept: these are the host's own."""
MAX_SECRETS = 500
"""Largest number of secrets remembered for one call: each of them is searched in every log record."""
MAX_SECRETS_IN_ALL = 5_000
"""Largest number of different secrets of all calls: beyond it, the oldest calls are forgotten. All runs wait
while a log record is searched for each of these secrets."""
MAX_KEY_CHARS = 256 * 1024
"""Largest number of characters of different keys in the params of one call, because all runs wait while these
are searched for names of secrets. Keys below a secret name, and longer ones than `MAX_NAME_CHARS`, are not
searched and do not count: everything below them is secret. The longest real contexts have some 10,000."""
MIN_SECRET_CHARS = 8
"""Shorter values occur in ordinary text, and are not masked by value."""
MAX_TEXT_CHARS = 20_000
"""Longest log record, before secrets are masked."""


class TooManyKeys(ValueError):
    """The params of a call have more characters of keys than `MAX_KEY_CHARS`. The text says what to do."""


class RedactingFormatter(logging.Formatter):
    """Formats log records, and masks the secrets of recent calls and everything that looks like a secret."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: deque[frozenset[str]] = deque(maxlen=CALLS_REMEMBERED)
        self._known: frozenset[str] = frozenset()
        """The secrets of all these calls."""

    def add_secrets_of(self, params: object) -> None:
        """From now on, mask the secrets among the params of a call.

        Raises:
            TooManyKeys: the secrets cannot be found in a short time, so nothing may be done with the params.
        """
        secrets = _at_most(MAX_SECRET_CHARS, secrets_in(params))
        self._secrets.append(frozenset(islice(secrets, MAX_SECRETS)))
        self._known = frozenset().union(*self._secrets)
        while len(self._known) > MAX_SECRETS_IN_ALL:
            self._secrets.popleft()
            self._known = frozenset().union(*self._secrets)

    def mask(self, text: str) -> str:
        """Return `text` without secrets and control characters.

        Of a long text only the start is returned, without an incomplete last word.
        """
        if len(text) > MAX_TEXT_CHARS:
            text = f"{text[:MAX_TEXT_CHARS].rpartition(' ')[0]} …"
        return neutral(redact_text(mask_values(text, self._known)))

    def format(self, record: logging.LogRecord) -> str:
        return json_line(record, self.mask)

    def install(self, level: str = "") -> None:
        """Send all log records and warnings of this process to stderr, formatted by this object.

        `level`: the least level of the adapter's records; INFO if it is not the name of one.
        """
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(capture=True)
        known = logging.getLevelNamesMapping()
        logging.getLogger("paperclip_claude_k8s").setLevel(known.get(level.strip().upper(), logging.INFO))


def secrets_in(value: object) -> Iterator[str]:
    """Yield every text under a key with a secret-looking name, or in `env` or `headers`, at any depth.

    The least nested ones come first.

    Raises:
        TooManyKeys: see there.
    """
    is_secret_key = _KeySearch()
    unread: deque[tuple[object, bool]] = deque([(value, False)])
    while unread:
        value, is_secret = unread.popleft()
        if isinstance(value, str) and is_secret:
            yield value
            yield value.removeprefix("Bearer ")
        elif isinstance(value, dict):
            unread.extend((item, is_secret or is_secret_key(str(name))) for name, item in value.items())
        elif isinstance(value, list):
            unread.extend((item, is_secret) for item in value)


class _KeySearch:
    """Tells whether everything below a key is secret. Each different key is searched once."""

    def __init__(self) -> None:
        self._found: dict[str, bool] = {}
        self._chars_left = MAX_KEY_CHARS

    def __call__(self, key: str) -> bool:
        if len(key) > MAX_NAME_CHARS or key in VALUES_ARE_SECRET:
            return True
        if key not in self._found:
            self._chars_left -= len(key)
            if self._chars_left < 0:
                raise TooManyKeys(
                    f"the keys in the params of a call have more than {MAX_KEY_CHARS} characters; "
                    "leave out what the run does not need"
                )
            self._found[key] = is_secret_name(key)
        return self._found[key]


def _at_most(chars: int, texts: Iterator[str]) -> Iterator[str]:
    """Yield each text that is not short and still fits: together they have at most `chars` characters."""
    for text in texts:
        if MIN_SECRET_CHARS <= len(text) <= chars:
            chars -= len(text)
            yield text
