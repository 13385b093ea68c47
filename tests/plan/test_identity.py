"""Names of Jobs and values of labels: legal in Kubernetes, and made from the host's ids."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.plan.identity import job_name, label_value, user_labels

LEGAL_LABEL = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
LEGAL_JOB_NAME = re.compile(r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")


@given(st.text())
def test_label_value_is_legal_and_idempotent(text: str) -> None:
    value = label_value(text)
    assert value is None or (LEGAL_LABEL.match(value) and label_value(value) == value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a b/c", "abc"), ("--x--", "x"), ("///", None), ("", None), ("ünï", "n"), ("a" * 62 + "-b", "a" * 62)],
)
def test_label_value_keeps_legal_characters_only(text: str, value: str | None) -> None:
    assert label_value(text) == value


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 2))
def test_job_name_is_legal(agent: str, run: str, attempt: int) -> None:
    assert LEGAL_JOB_NAME.match(job_name(agent, run, attempt))


def test_job_name_has_slugs_and_hash_of_ids() -> None:
    digest = hashlib.sha256(b"Agent One:3503d3d8-f6d3-48d8-8566-30c2b0b1b60b").hexdigest()[:10]
    assert (
        job_name("Agent One", "3503d3d8-f6d3-48d8-8566-30c2b0b1b60b")
        == f"ac-agentone-3503d3d8-f6d3-48-{digest}"
    )


def test_job_name_of_second_attempt_hashes_the_attempt_too() -> None:
    assert job_name("a", "r", 2).endswith(hashlib.sha256(b"a:r:2").hexdigest()[:10])


def test_user_labels_are_made_legal_or_skipped() -> None:
    accepted, skipped = user_labels(
        {
            "team": "a b",
            "paperclip.io/run-id": "x",
            "app.kubernetes.io/name": "y",
            "bad key": "z",
            "empty": "//",
        }
    )
    assert accepted == {"team": "ab"}
    assert skipped == ("app.kubernetes.io/name", "bad key", "empty", "paperclip.io/run-id")
