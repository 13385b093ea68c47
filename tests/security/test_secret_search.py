"""Runs with thousands of secrets and texts in config and context are planned and masked within seconds."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.plans import a_context, a_plan

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.known_secrets import contain_secrets, mask_tree, mask_values, would_be_masked
from paperclip_claude_k8s.host.redact import MASK
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
