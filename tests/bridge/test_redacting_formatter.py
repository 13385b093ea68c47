"""Masking, in the log of the bridge, of the secrets that a call passed in."""

import logging
import sys

from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter, secrets_in

TOKEN = "a-token-of-no-known-shape"


def formatted(formatter: RedactingFormatter, text: str) -> str:
    return formatter.format(logging.LogRecord("x", logging.WARNING, __file__, 1, text, (), None))


def test_secrets_in_finds_every_text_below_a_secret_name() -> None:
    params = {
        "authToken": "one",
        "config": {
            "env": {"MY_SECRET": "two", "HOME": "/home"},
            "mcpServers": {"a": {"headers": {"Cookie": "3"}}},
        },
        "runtimeMcp": {"servers": [{"name": "n", "token": "four"}]},
        "secrets": ["five", {"deep": "six"}],
        "headers": {"Authorization": "Bearer seven"},
    }
    assert set(secrets_in(params)) == {"one", "two", "3", "four", "five", "six", "Bearer seven", "seven"}


def test_formatter_masks_a_log_record() -> None:
    formatter = RedactingFormatter()
    formatter.add_secrets_of({"ctx": {"authToken": TOKEN}})
    text = formatted(formatter, f"onLog raised OSError('cannot send {TOKEN} to http://u:p@host')")
    assert TOKEN not in text
    assert "u:p" not in text
    assert "onLog raised OSError" in text


def test_formatter_masks_a_traceback() -> None:
    formatter = RedactingFormatter()
    formatter.add_secrets_of({"authToken": TOKEN})
    try:
        int(TOKEN)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    text = formatter.format(record)
    assert "Traceback" in text
    assert TOKEN not in text
