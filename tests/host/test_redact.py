"""Masking of secrets by name, by shape and by value."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.host.known_secrets import mask_values
from paperclip_claude_k8s.host.redact import (
    MASK,
    is_secret_name,
    looks_like_credential,
    redact_command,
    redact_text,
)

CANARY = "c4n4ry-v4lue"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("ANTHROPIC_API_KEY", True),
        ("MONKEY", True),  # contains KEY
        ("github_token", True),
        ("DbPassWord", True),
        ("HTTP_COOKIE", True),
        ("PROXY_AUTHORIZATION", True),
        ("SECRETS_DIR", True),
        ("MYSQL_PASSWD", True),
        ("PATH", False),
        ("PAPERCLIP_RUN_ID", False),
        ("PASS", True),
        ("NPM_CONFIG__AUTH", True),
        ("MYSQL_PWD", True),
        ("PASSPHRASE", True),
        ("AZURE_STORAGE_CONNECTION_STRING", True),
        ("SLACK_WEBHOOK_URL", True),
        ("GOOGLE_CREDENTIALS", True),
        ("SENTRY_DSN", True),
        ("GH_PAT", True),
        ("dbPass", True),
        ("X-Proxy-Auth", True),
        ("COMPASS", False),
        ("BYPASS_CACHE", False),
        ("GIT_AUTHOR_NAME", False),
        ("PATTERN", False),
    ],
)
def test_is_secret_name_looks_for_secret_words(name: str, secret: bool) -> None:  # noqa: FBT001
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    "text",
    [
        f"claude --api-key {CANARY} --model m",
        f"claude --api-key={CANARY}",
        f"claude --auth-token '{CANARY} and more {CANARY}'",
        f'claude -x -token "{CANARY}" end',
        f"ANTHROPIC_API_KEY={CANARY} claude",
        f'export DB_PASSWORD="a {CANARY}"',
        f"DB_PASSWORD='a {CANARY}",
        f'DB_PASSWORD=a"b c {CANARY}"d',
        f"DB_PASSWORD=a\\ {CANARY}",
        f"env: TOKEN={CANARY}",
        f"ARGS=API_KEY={CANARY}",
        f"https://api/x?access_token={CANARY}&y=1",
        f"curl -H 'Authorization: Basic {CANARY}'",
        f"curl -H 'authorization: Bearer {CANARY}'",
        f'curl -H "X-Api-Key: {CANARY}"',
        f"Cookie: a=b; session={CANARY}",
        f"Set-Cookie: {CANARY}",
        f"got bearer {CANARY} from host",
        f'{{"apiKey": "{CANARY}", "url": "x"}}',
        f"{{'token': '{CANARY}'}}",
        f"https://user:{CANARY}@github.com/a/b.git",
        f"https://{CANARY}@github.com/a/b.git",
        f"use sk-ant-api03-{CANARY} please",
        "ghp_c4n4ryc4n4ry is mine",
        f"jwt {JWT}",
    ],
)
def test_redact_text_masks_secrets(text: str) -> None:
    shown = redact_text(text)
    assert MASK in shown
    assert all(part not in shown for part in (CANARY, "c4n4ry", JWT))


@pytest.mark.parametrize(
    "text",
    [
        "claude --print --output-format stream-json --verbose --max-turns 5",
        "--allowedTools Bash,Edit --model claude-x",
        "PATH=/usr/bin HOME=/paperclip npm test",
        "see https://example.com:8080/a@b for details",
        "git log --oneline",
    ],
)
def test_redact_text_keeps_other_text(text: str) -> None:
    assert redact_text(text) == text


def test_redact_text_keeps_an_option_after_a_secret_option() -> None:
    assert redact_text("--use-token --verbose x") == "--use-token --verbose x"


def test_redact_command_masks_each_argument() -> None:
    argv = [
        "--model",
        "m",
        "--api-key",
        "two words",
        "--token=a b",
        "-H",
        f"Authorization: Bearer {CANARY}",
        "x",
    ]
    assert redact_command(argv) == [
        "--model",
        "m",
        "--api-key",
        MASK,
        f"--token={MASK}",
        "-H",
        f"Authorization: {MASK}",
        "x",
    ]
    assert redact_command(["--use-token", "--verbose"]) == ["--use-token", "--verbose"]
    assert redact_command(["tool run --token x"]) == [f"tool run --token {MASK}"]


@given(st.text())
def test_redact_text_masks_the_secret_after_any_text(noise: str) -> None:
    assert CANARY not in redact_text(f"{noise}\n--api-key {CANARY}")
    redact_command([noise, noise])


@pytest.mark.parametrize(
    "piece", ["a", "key", "key-", '"', "'", "=", "\\", "://", "://a:", "eyJaaaa.", "- --", "=a "]
)
def test_redact_text_takes_linear_time(piece: str) -> None:
    """Eight times the text takes about eight times as long; quadratic time would be 64 times as long."""

    def cost(chars: int) -> float:
        text, costs = piece * (chars // len(piece)), []
        for _ in range(3):
            began = time.process_time()
            redact_text(text)
            costs.append(time.process_time() - began)
        return min(costs)

    assert cost(160_000) < 24 * cost(20_000)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://u:p@db/x", True),
        ("Bearer abc", True),
        (JWT, True),
        ("ghp_0123456789", True),
        ("http://paperclip:3100", False),
        ("plain", False),
        ("", False),
    ],
)
def test_looks_like_credential_recognizes_credentials_by_shape(text: str, secret: bool) -> None:  # noqa: FBT001
    assert looks_like_credential(text) is secret


def test_mask_values_masks_the_longest_value_first() -> None:
    text = f"x{CANARY}y {CANARY}-longer no"
    assert mask_values(text, [CANARY, f"{CANARY}-longer", "no", ""]) == f"x{MASK}y {MASK} no"
