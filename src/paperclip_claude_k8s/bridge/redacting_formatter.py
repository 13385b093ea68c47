"""Masks secrets in the log records and warnings that the bridge writes to stderr."""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from paperclip_claude_k8s.host.redact import is_secret_name, mask_values, redact_text

CALLS_REMEMBERED = 200
"""Number of recent calls whose secrets are masked: a log record may come after its call has ended."""


class RedactingFormatter(logging.Formatter):
    """Formats log records, and masks the secrets of recent calls and everything that looks like a secret."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._secrets: deque[frozenset[str]] = deque(maxlen=CALLS_REMEMBERED)

    def add_secrets_of(self, params: object) -> None:
        """From now on, mask the secrets among the params of a call."""
        self._secrets.append(frozenset(secrets_in(params)))

    def mask(self, text: str) -> str:
        """Return `text` without secrets."""
        secrets = {secret for secrets in self._secrets for secret in secrets}
        return redact_text(mask_values(text, secrets))

    def format(self, record: logging.LogRecord) -> str:
        return self.mask(super().format(record))

    def install(self) -> None:
        """Send all log records and warnings of this process to stderr, formatted by this object."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(capture=True)


def secrets_in(value: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Yield every text under a key with a secret-looking name, at any depth."""
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
