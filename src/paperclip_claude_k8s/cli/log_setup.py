"""Log records on stderr, for `-v`, `-vv` and `--log-format`. Only the command line configures logging."""

import logging
import sys
from enum import StrEnum

LEVELS = (logging.ERROR, logging.INFO, logging.DEBUG)
"""Lowest level that is logged, by the number of `-v`.

Without `-v` only bugs are logged, because the command itself reports how a run failed.
"""


class LogFormat(StrEnum):
    """The format in which log records are written."""

    TEXT = "text"
    JSON = "json"


class MaskingFormatter(logging.Formatter):
    """Formats records as text or JSON, without credentials and control characters."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._json = log_format is LogFormat.JSON

    def format(self, record: logging.LogRecord) -> str:
        from paperclip_claude_k8s.instrumentation.json_formatter import json_line  # noqa: PLC0415  # see `_mask`

        return json_line(record, _mask) if self._json else _mask(super().format(record))


def configure_logging(verbosity: int, log_format: LogFormat) -> None:
    """Write the records of this package to stderr from now on."""
    logging.raiseExceptions = False  # a closed stderr is no reason for a traceback
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter(log_format))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("paperclip_claude_k8s").setLevel(LEVELS[min(verbosity, len(LEVELS) - 1)])


def _mask(text: str) -> str:
    # imported when something is logged: help has to be fast
    from paperclip_claude_k8s.base.text import neutral  # noqa: PLC0415
    from paperclip_claude_k8s.host.redact import redact_text  # noqa: PLC0415

    return neutral(redact_text(text))
