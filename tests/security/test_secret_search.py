"""Runs with thousands of secrets and texts in config and context are planned and masked within seconds."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.in_memory_runs import GOOD, one_host
from tests.support.plans import a_context, a_plan

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.known_secrets import contain_secrets, mask_tree, mask_values, would_be_masked
from paperclip_claude_k8s.host.redact import MASK, MAX_JSON_CHARS, MAX_JSON_VALUES, redact_command
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.run.begin import _meta

SECRETS = [f"secret-value-{number:06}" for number in range(7000)]
MANY_TEXTS = [f"text {number}" for number in range(4500)]


def test_many_secrets_and_arguments_are_planned_in_seconds() -> None:
    env = {f"V{number}_TOKEN": secret for number, secret in enumerate(SECRETS)}
    began = time.process_time()
    plan = a_plan(env=env, extraArgs=[f"--x{number}" for number in range(4500)])
    manifest = str(job_manifest(plan))
    assert time.process_time() - began < 6  # the first version of this code took 40 s
    assert not any(secret in manifest for secret in SECRETS[::500])


def test_long_context_and_many_secrets_are_reported_in_seconds() -> None:
    ctx = a_context(context={"texts": [f"text {number}" for number in range(100_000)]})
    plan = a_plan(ctx, env={f"V{number}_TOKEN": secret for number, secret in enumerate(SECRETS)})
    began = time.process_time()
    meta = _meta(ctx, plan)
    assert time.process_time() - began < 3  # the first version of this code took 300 s
    assert set(meta["context"]["texts"]) == {MASK}


@pytest.mark.parametrize("secret", [SECRETS[0], SECRETS[-1]])
def test_search_that_would_take_too_long_counts_every_text_as_secret(secret: str) -> None:
    texts = [*MANY_TEXTS, f"x{secret}y"]
    assert contain_secrets(texts, SECRETS) == [True] * len(texts)
    assert set(mask_tree(texts, SECRETS)) == {MASK}
    assert mask_tree({"a": [1, texts]}, SECRETS)["a"][0] == 1
    assert would_be_masked("x" * (LIMITS.secret_search // len(SECRETS)), SECRETS)


def test_search_of_an_ordinary_size_finds_exactly_the_secrets() -> None:
    secrets, texts = SECRETS[:200], [*MANY_TEXTS, f"x{SECRETS[7]}y"]
    assert contain_secrets(texts, secrets) == [*([False] * len(MANY_TEXTS)), True]
    assert mask_tree(texts, secrets) == [*MANY_TEXTS, f"x{MASK}y"]
    assert contain_secrets(texts, []) == [False] * len(texts)


SLOW_SECRETS = [f"{'a' * (600 + number)}b{'a' * (800 - number)}" for number in range(200)]
SLOW_TEXTS = [f"{number:03}{'a' * 2400}" for number in range(150)]
"""A simple search for one of `SLOW_SECRETS` in these compares hundreds of characters at each place."""


def test_repetitive_values_of_env_are_planned_in_little_time() -> None:
    secrets = {f"V{number}_TOKEN": secret for number, secret in enumerate(SLOW_SECRETS)}
    env = secrets | {f"T{number}": text for number, text in enumerate(SLOW_TEXTS)}
    began = time.process_time()
    a_plan(env=env)
    assert time.process_time() - began < 2  # the first version of this code took 5 s


def test_repetitive_texts_of_a_context_are_masked_in_little_time() -> None:
    known = [*SLOW_SECRETS, SLOW_TEXTS[0][5:300]]
    began = time.process_time()
    masked = mask_tree({"texts": SLOW_TEXTS}, known)["texts"]
    assert time.process_time() - began < 2  # the first version of this code took 5 s
    assert all(MASK in text for text in masked)


def test_masked_texts_keep_everything_but_the_secrets() -> None:
    text = f"{'x' * 300} {SECRETS[3]} \0\0 {SECRETS[4]}{SECRETS[3]} é \U0001f600"
    masked = text.replace(SECRETS[3], MASK).replace(SECRETS[4], MASK)
    assert mask_tree([text, "y"], SECRETS[:9]) == [masked, "y"]
    assert mask_values(text, SECRETS[:9]) == masked


@given(
    texts=st.lists(st.text("ab\0é", max_size=60), max_size=6),
    secrets=st.lists(st.text("ab\0", min_size=8, max_size=12), max_size=6),
)
def test_search_finds_what_a_simple_search_finds(texts: list[str], secrets: list[str]) -> None:
    simple = [any(secret in text for secret in secrets) for text in texts]
    found = contain_secrets(texts, secrets)
    assert all(ours or not theirs for ours, theirs in zip(found, simple, strict=True))
    # the texts are searched as one, with NUL between them, so a secret with NUL may be found where it is not
    if not any("\0" in secret for secret in secrets):
        assert found == simple


MEGABYTES = {"comma": "a," * 2_000_000, "slash": "/a" * 2_000_000}


@pytest.mark.parametrize("text", MEGABYTES.values(), ids=MEGABYTES)
@pytest.mark.parametrize(
    ("code", "named", "given"),
    [
        ("k8s_config_invalid", "config.model: a value has 128 KiB or more", {"config": ["model"]}),
        ("k8s_config_invalid", "config.effort: a value has 128 KiB or more", {"config": ["effort"]}),
        ("k8s_config_invalid", "ctx.context.taskId has 4000000 characters", {"context": ["taskId"]}),
        ("k8s_config_invalid", "ctx.context.wakeReason has", {"context": ["wakeReason"]}),
        ("k8s_config_invalid", "ctx.context.approvalId has", {"context": ["approvalId"]}),
        (
            "k8s_config_invalid",
            "ctx.context.paperclipWorkspace.repoUrl has",
            {"context": ["paperclipWorkspace", "repoUrl"]},
        ),
        ("k8s_config_invalid", "ctx.runtimeTools.mcpEndpoint has", {"runtimeTools": ["mcpEndpoint"]}),
        ("k8s_config_invalid", "ctx.runtimeTools.rest.x has", {"runtimeTools": ["rest", "x", "url"]}),
        ("k8s_config_invalid", "ctx.runId has", {"runId": []}),
        ("k8s_prompt_too_large", "attachments have", {"context": ["paperclipRuntimeServices", "x"]}),
        ("k8s_prompt_too_large", "attachments have", {"runtimeTools": ["guidance"]}),
    ],
)
async def test_text_that_is_too_long_is_refused_before_it_is_searched(
    tmp_path: Path, text: str, code: str, named: str, given: dict[str, list[str]]
) -> None:
    ((field, keys),) = given.items()
    value: Any = text[: 2**19] if field == "config" else text
    for key in reversed(keys):
        value = {key: value}
    async with one_host(tmp_path, GOOD) as (_, run):
        began = time.process_time()
        result, _ = await run(**{field: value})
        took = time.process_time() - began
    assert result.error_code == code
    assert named in (result.error_message or "")
    assert took < 1.2  # the first version of this code took 2 to 4 s


@pytest.mark.parametrize("servers", [1, 3000])
async def test_mcp_servers_of_the_host_with_too_much_text_are_refused(tmp_path: Path, servers: int) -> None:
    url = "https://x/" + "a," * (2_000_000 // servers)
    offered = {"servers": [{"name": f"s{number}", "url": url} for number in range(servers)]}
    async with one_host(tmp_path, GOOD) as (_, run):
        began = time.process_time()
        result, _ = await run(runtimeMcp=offered)
        took = time.process_time() - began
    assert result.error_code == "k8s_config_invalid"
    assert "ctx.runtimeMcp has more than" in (result.error_message or "")
    assert took < 1.2  # the first version of this code took 4 s


LARGE_JSON = {
    "numbers": "[" + "1," * 60_000 + "1]",
    "texts": "[" + '"abcde",' * 15_000 + "1]",
    "nested": "[" * 60 + "1," * 60_000 + "1" + "]" * 60,
    "object": json.dumps({f"k{number}": "v" for number in range(9000)}),
}


@pytest.mark.parametrize("text", LARGE_JSON.values(), ids=LARGE_JSON)
def test_large_json_in_an_argument_is_secret_and_takes_little_time(text: str) -> None:
    servers = {"s": {"command": "x", "args": ["--settings", text]}}
    began = time.process_time()
    plan = a_plan(extraArgs=["--settings", text])
    assert text not in str(job_manifest(plan))
    plan = a_plan(mcpServers=servers)
    assert text in plan.mcp.secrets
    assert time.process_time() - began < 1.2  # the first version of this code took 3 s
    assert redact_command(["--settings", text]) == ["--settings", MASK]
    assert redact_command([f"--settings={text}"]) == [f"--settings={MASK}"]


def test_json_that_is_small_in_all_is_read() -> None:
    harmless = json.dumps({"note": "x" * (MAX_JSON_CHARS // 3)})
    secret = json.dumps({"api_key": "a-value"})
    assert redact_command([harmless, secret, f"--x={harmless}"]) == [harmless, MASK, f"--x={harmless}"]
    assert redact_command([harmless] * 3) == [MASK] * 3
    assert redact_command(["x" * MAX_JSON_CHARS, harmless]) == ["x" * MAX_JSON_CHARS, harmless]
    assert redact_command(["[" + "1," * MAX_JSON_VALUES + "1]"]) == [MASK]


def test_name_that_is_too_long_to_be_searched_is_secret() -> None:
    plan = a_plan(mcpServers={"s": {"command": "x", "n" * 201: {"a": "value-below-it"}, "n" * 200: "shown"}})
    assert "value-below-it" in plan.mcp.secrets
    assert "shown" not in plan.mcp.secrets
