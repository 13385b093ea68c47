"""What the bridge writes to stderr: its log and its warnings, without the secrets it was handed."""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from paperclip_claude_k8s.host.redact import is_secret_name, mask_values, redact_text

CALLS_REMEMBERED = 200
"""Calls whose secrets stay known: a log line may come a while after its run has ended."""


class RedactingFormatter(logging.Formatter):
    """Formats log records, and masks in them every secret of the latest calls and all that looks like one."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._known: deque[frozenset[str]] = deque(maxlen=CALLS_REMEMBERED)

    def learn(self, params: object) -> None:
        """Remember what must never be shown of a call's parameters."""
        self._known.append(frozenset(secrets_in(params)))

    def masked(self, text: str) -> str:
        secrets = {secret for known in self._known for secret in known}
        return redact_text(mask_values(text, secrets))

    def format(self, record: logging.LogRecord) -> str:
        return self.masked(super().format(record))

    def listen(self) -> None:
        """All logs and warnings of this process go to stderr, through here."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(capture=True)


def secrets_in(value: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Every text below a name that promises a secret, however deep."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts_in(item) if is_secret_name(str(name)) else secrets_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_in(item)


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    if isinstance(value, str):
        yield value
        yield value.removeprefix("Bearer ")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
