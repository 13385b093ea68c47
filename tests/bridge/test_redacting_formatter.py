"""The formatter of the bridge's log masks secrets that the parameters of a call contain."""

import logging
import sys
import time

import pytest

from paperclip_claude_k8s.bridge.redacting_formatter import (
    CALLS_REMEMBERED,
    MAX_KEY_CHARS,
    MAX_SECRETS,
    RedactingFormatter,
    TooManyKeys,
    secrets_in,
)

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
    assert set(secrets_in(params)) == {
        "one",
        "two",
        "/home",
        "3",
        "four",
        "five",
        "six",
        "Bearer seven",
        "seven",
    }


def test_formatter_masks_a_log_record() -> None:
    formatter = RedactingFormatter()
    formatter.add_secrets_of({"ctx": {"authToken": TOKEN}})
    text = formatted(formatter, f"onLog raised OSError('cannot send {TOKEN} to http://u:p@host')")
    assert TOKEN not in text
    assert "u:p" not in text
    assert "onLog raised OSError" in text


def test_formatter_masks_every_value_of_env_and_headers() -> None:
    formatter, other = RedactingFormatter(), TOKEN[::-1]
    servers = {"a": {"headers": {"X": other}}}
    formatter.add_secrets_of({"config": {"env": {"NAME": TOKEN}, "mcpServers": servers}})
    text = formatted(formatter, f"failed: {TOKEN} {other}")
    assert TOKEN not in text
    assert other not in text


def test_formatter_shows_no_control_character() -> None:
    assert "\x1b" not in formatted(RedactingFormatter(), "an agent wrote \x1b]0;title\x07")


def test_number_of_masked_secrets_of_a_call_is_bounded() -> None:
    formatter = RedactingFormatter()
    env = {f"N{number}": f"value-{number:04}" for number in range(MAX_SECRETS)}
    # with the token there is one secret too many: the last one is not masked
    formatter.add_secrets_of({"authToken": TOKEN, "config": {"env": env}})
    text = formatted(formatter, f"{TOKEN} value-0000 value-{MAX_SECRETS - 1:04}")
    assert TOKEN not in text
    assert "value-0000" not in text
    assert f"value-{MAX_SECRETS - 1:04}" in text


def test_formatting_is_fast_with_the_secrets_of_many_calls() -> None:
    formatter = RedactingFormatter()
    for call in range(CALLS_REMEMBERED):
        env = {f"N{number}": f"value-{call:03}-{number:03}" for number in range(MAX_SECRETS)}
        formatter.add_secrets_of({"config": {"env": env}})
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "launched " * 50, (), None)
    vars(record).update({f"fact{number}": "an ordinary text" for number in range(15)})
    started = time.process_time()
    formatter.format(record)
    assert time.process_time() - started < 0.12  # seconds
    newest = f"value-{CALLS_REMEMBERED - 1:03}-000"
    assert newest not in formatted(formatter, newest)


def test_everything_below_a_very_long_key_is_secret_and_takes_little_time() -> None:
    formatter = RedactingFormatter()
    started = time.process_time()
    formatter.add_secrets_of({"ctx": {"a_" * 7_500_000: {"deep": [TOKEN]}}})
    assert time.process_time() - started < 1  # the first version of this code took 7 s
    assert TOKEN not in formatted(formatter, f"failed: {TOKEN}")


def test_params_with_too_many_long_keys_are_refused_in_little_time() -> None:
    keys = {f"{number:05}{'_x' * 70}": TOKEN for number in range(99_000)}
    started = time.process_time()
    with pytest.raises(TooManyKeys, match="leave out what the run does not need"):
        RedactingFormatter().add_secrets_of({"ctx": {"config": keys}})
    assert time.process_time() - started < 2  # the first version of this code took 7 s


def test_only_different_keys_outside_of_secrets_count() -> None:
    key = "x" * 200
    params = {
        "conversation": [{key: number} for number in range(2 * MAX_KEY_CHARS // len(key))],
        "env": {f"{number:05}{'_x' * 70}": number for number in range(10_000)},
        "authToken": TOKEN,
    }
    formatter = RedactingFormatter()
    formatter.add_secrets_of(params)
    assert TOKEN not in formatted(formatter, TOKEN)


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
