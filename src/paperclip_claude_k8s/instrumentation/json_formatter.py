"""Log records as JSON lines, with the attributes that `event_logging` gives them."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
}
"""Attributes that a log record has without `extra`."""


def json_line(record: logging.LogRecord, mask: Callable[[str], str]) -> str:
    """One JSON object: `time`, `level`, `logger`, `message`, all extra attributes, `error` for a traceback.

    `mask` is applied to every text that may come from elsewhere.
    """
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": mask(record.getMessage()),
    }
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    line |= {name: _masked(value, mask) for name, value in extra.items() if name not in line}
    if record.exc_info:
        line["error"] = mask(logging.Formatter().formatException(record.exc_info))
    return json.dumps(line, ensure_ascii=False)


def _masked(value: object, mask: Callable[[str], str]) -> object:
    if isinstance(value, dict):
        return {str(name): _masked(item, mask) for name, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float)) else mask(str(value))
