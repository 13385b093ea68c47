"""Names and formats (shapes) of secrets are recognised, ordinary text is not, and masking is fast."""

import time

import pytest

from paperclip_claude_k8s.host.redact import (
    MASK,
    SECRET_PARTS,
    SECRET_WORDS,
    SHAPES,
    is_secret_name,
    looks_like_credential,
    mask_credentials,
    redact_command,
    redact_text,
    secret_texts,
)

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nc4n4ry/c4n4ry==\n-----END RSA PRIVATE KEY-----"
)
EXAMPLES = {
    "API key of Anthropic, OpenAI and others": ["sk-ant-api03-c4n4ry_c4n4ry", "sk-proj-c4n4ryc4n4ry"],
    "key of Stripe": ["sk_live_c4n4ryc4n4ry", "rk_live_c4n4ryc4n4ry", "sk_test_c4n4ryc4n4ry"],
    "token of GitHub": [
        "ghp_c4n4ryc4n4ry",
        "gho_c4n4ryc4n4ry",
        "ghs_c4n4ryc4n4ry",
        "github_pat_c4n4ryc4n4ry",
    ],
    "token of GitLab": ["glpat-c4n4ryc4n4ry", "glrt-c4n4ryc4n4ry"],
    "access key of AWS": ["AKIAC4N4RYC4N4RYC4N4", "ASIAC4N4RYC4N4RYC4N4"],
    "token of Slack": ["xoxb-1234-c4n4ry-c4n4ry", "xoxp-c4n4ryc4n4ry", "xapp-1-c4n4ryc4n4ry"],
    "key or token of Google": ["AIzaC4n4ryc4n4ryc4n4ryc4n4ry", "ya29.c4n4ryc4n4ry", "GOCSPX-c4n4ryc4n4ry"],
    "token of npm": ["npm_c4n4ryc4n4ryc4n4ryc4n4ry"],
    "token of Hugging Face": ["hf_c4n4ryc4n4ryc4n4ryc4n4ry"],
    "token of PyPI": ["pypi-AgEIcHlwaS5vcmcc4n4ry"],
    "token of Docker Hub": ["dckr_pat_c4n4ryc4n4ry"],
    "key of SendGrid": ["SG.c4n4ryc4n4ry.c4n4ryc4n4ry"],
    "token of Vault": ["hvs.c4n4ryc4n4ryc4n4ry"],
    "token of DigitalOcean": ["dop_v1_0123456789abcdef0123"],
    "token of Telegram": ["123456789:AAc4n4ryc4n4ryc4n4ryc4n4ryc4n4ryc4n"],
    "other tokens with a prefix": [
        "gsk_c4n4ryc4n4ryc4n4ry",
        "shpat_c4n4ryc4n4ryc4n4ry",
        "xai-c4n4ryc4n4ryc4n4ry",
    ],
    "JSON web token": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c4n4ry"],
    "private key in PEM": [PEM, PEM.replace("\n", "\\n"), PEM.partition("-----END")[0]],
    "key of age": ["AGE-SECRET-KEY-1C4N4RYC4N4RY"],
    "key in a connection string of Azure": ["AccountName=a;AccountKey=c4n4ry/c4n4ry==;Endpoint=x"],
    "password in a connection string": ["Server=db;User Id=sa;Password=c4n4ry;Timeout=3", "Uid=a;Pwd=c4n4ry"],
    "address of a webhook": [
        "https://hooks.slack.com/services/T0/B0/c4n4ryc4n4ry",
        "https://discord.com/api/webhooks/1/c4n4ryc4n4ry",
    ],
    "user and password in Base64": ["Basic YzRuNHJ5OmM0bjRyeQ=="],
}


def test_every_shape_has_examples() -> None:
    assert [what for what, _ in SHAPES] == list(EXAMPLES)


@pytest.mark.parametrize(
    "secret", [secret for examples in EXAMPLES.values() for secret in examples], ids=lambda text: text[:30]
)
def test_shape_is_recognised_alone_and_inside_of_text(secret: str) -> None:
    assert looks_like_credential(secret)
    for text in (secret, f"use {secret} here", f'{{"a": "{secret}"}}', f"A={secret}"):
        for shown in (mask_credentials(text), redact_text(text)):
            assert MASK in shown
            assert "c4n4ry" not in shown.lower()


@pytest.mark.parametrize("word", SECRET_WORDS)
def test_name_that_contains_a_secret_word_is_secret(word: str) -> None:
    assert all(map(is_secret_name, (word, f"my{word}", f"X_{word.upper()}_Y", word.title())))


@pytest.mark.parametrize("part", SECRET_PARTS)
def test_name_with_a_secret_part_is_secret_if_the_part_is_a_whole_word(part: str) -> None:
    names = (
        part,
        f"DB_{part.upper()}",
        f"{part}_1",
        f"db{part.title()}",
        f"--{part}",
        f"NPM__{part.upper()}",
    )
    assert all(map(is_secret_name, names))
    assert not is_secret_name(f"x{part}x")


@pytest.mark.parametrize(
    "text",
    [
        "A basic understanding of JavaScript and basic concepts first",
        "npm_config_registry and npm_package_version are variables",
        "a private repository, its author and a webhook",
        "Failed to authenticate: OAuth session expired",
        "the pattern=3 of passengers: 12",
        "ls /etc/ssl/certs; -----BEGIN CERTIFICATE-----",
        "task-1234567890 risk-averse disk-usage-report",
        "https://github.com/org/repo/pull/12 see hooks.slack.com",
        "2026-01-01T00:00:00Z 127.0.0.1:3100",
    ],
)
def test_prose_is_not_masked(text: str) -> None:
    assert mask_credentials(text) == text


HIDDEN_ARGUMENTS = [
    ["--pass", "c4n4ry"],
    ["--pass=c4n4ry"],
    ["--auth", "c4n4ry"],
    ["--dbPass", "c4n4ry"],
    ["--api-key=c4n4ry"],
    ["--header", "X-Gateway: c4n4ry"],
    ["-H", "c4n4ry"],
    ["--header=X-Gateway: c4n4ry"],
    ["--headers", '{"X-Gateway":"c4n4ry"}'],
    ["--settings", '{"env":{"ORDINARY":"c4n4ry"}}'],
    ['--settings={"env":{"ORDINARY":"c4n4ry"}}'],
    ["--mcp-config", '{"mcpServers":{"a":{"command":"x","args":["--token","c4n4ry"]}}}'],
    ["--mcp-config", '{"mcpServers":{"a":{"url":"https://x.example/?api_key=c4n4ry"}}}'],
    ["https://u:c4n4ry@x.example"],
    ["Proxy-Authorization: Basic c4n4ry"],
    ["-e", "DB_PASS=c4n4ry"],
]


@pytest.mark.parametrize("argv", HIDDEN_ARGUMENTS, ids=" ".join)
def test_secret_argument_is_masked(argv: list[str]) -> None:
    assert "c4n4ry" not in "".join(redact_command(argv))


@pytest.mark.parametrize(
    "argv",
    [
        ["--settings", '{"permissions":{"allow":["Bash"]}}'],
        ["--append-system-prompt", "Be basic. Ask the author."],
        ["--allowedTools", "Bash,Edit", "--max-turns", "3"],
        ["--use-auth", "--verbose"],
    ],
)
def test_ordinary_arguments_are_shown(argv: list[str]) -> None:
    assert redact_command(argv) == argv


def test_secret_texts_are_found_at_any_depth() -> None:
    value: object = {"apiKey": "c4n4ry"}
    for _ in range(5000):
        value = [{"x": value}]
    assert list(secret_texts(value)) == ["c4n4ry"]


PIECES = [
    "a", "A", "1", " ", '"', "'", "=", "\\", "-a.", "key-", "://", "://a:", "eyJaaaa.", "eyJaaaa-",
    "- --", "=a ", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "AKIA", "12345678:", "basic aaaa",
    "bearer ", "Auth", "_pass", "conn_", "SG.aaaaaaaa", "SG.aaaaaaaa-", "password=", '{"a":', "[",
    "hooks.slack.com/", "gh", "sk-", "AIza",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """Eight times the text takes about eight times as long; quadratic time would be 64 times as long."""

    def cost(chars: int) -> float:
        text, costs = piece * (chars // len(piece)), []
        for _ in range(2):
            began = time.process_time()
            redact_text(text)
            mask_credentials(text)
            looks_like_credential(text)
            redact_command([text, "-H", text])
            is_secret_name(text)
            costs.append(time.process_time() - began)
        return min(costs)

    assert cost(32_000) < 24 * max(cost(4_000), 0.001)


def test_two_megabytes_of_hostile_text_are_masked_in_seconds() -> None:
    began = time.process_time()
    for piece in ("eyJaaaa-", "-----BEGIN ", "-a."):
        mask_credentials(piece * (2_000_000 // len(piece)))
    assert time.process_time() - began < 20
