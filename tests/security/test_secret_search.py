"""Configs and contexts with thousands of secrets and texts: no run waits while secrets are searched."""

import time

import pytest
from tests.support.plans import a_context, a_plan

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.redact import MASK, contain_secrets, mask_tree, would_be_masked
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.run.begin import _meta

SECRETS = [f"secret-value-{number:06}" for number in range(7000)]
MANY_TEXTS = [f"text {number}" for number in range(4500)]


def test_many_secrets_and_arguments_are_planned_in_seconds() -> None:
    env = {f"V{number}_TOKEN": secret for number, secret in enumerate(SECRETS)}
    began = time.process_time()
    plan = a_plan(env=env, extraArgs=[f"--x{number}" for number in range(4500)])
    manifest = str(job_manifest(plan))
    assert time.process_time() - began < 6  # it was 40
    assert not any(secret in manifest for secret in SECRETS[::500])


def test_long_context_and_many_secrets_are_reported_in_seconds() -> None:
    ctx = a_context(context={"texts": [f"text {number}" for number in range(100_000)]})
    plan = a_plan(ctx, env={f"V{number}_TOKEN": secret for number, secret in enumerate(SECRETS)})
    began = time.process_time()
    meta = _meta(ctx, plan)
    assert time.process_time() - began < 3  # it was 300
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
