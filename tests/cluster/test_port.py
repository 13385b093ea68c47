"""The properties of `ClusterError`, which depend on status, reason and message."""

import pytest

from paperclip_claude_k8s.cluster.error_texts import refusal_step
from paperclip_claude_k8s.cluster.port import (
    NOT_KUBERNETES,
    PROXY_REFUSED,
    UNUSABLE_CREDENTIALS,
    ClusterError,
)

QUOTA = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
RBAC = 'jobs.batch is forbidden: User "u" cannot create resource "jobs"'


@pytest.mark.parametrize(
    ("status", "reason", "message", "retryable", "later", "maybe_done"),
    [
        (None, "Timeout", "", True, True, True),
        # without a status, it is never known that the request was not done
        (None, UNUSABLE_CREDENTIALS, "", False, False, True),
        (None, PROXY_REFUSED, "", False, False, True),
        (None, "ProxyFailed", "", True, True, True),
        (None, NOT_KUBERNETES, "", False, False, True),
        (302, NOT_KUBERNETES, "", False, False, False),
        (401, "", "", False, False, False),
        (403, "", RBAC, False, False, False),
        (403, "", QUOTA, False, True, False),
        (404, "", "", False, False, False),
        (408, "", "", True, True, True),
        (409, "", "", False, True, False),
        (422, "", "", False, False, False),
        (429, "", "", True, True, False),
        (500, "", "", True, True, True),
        (501, "", "", False, True, True),
        (503, "", "", True, True, True),
    ],
)
def test_cluster_error_says_whether_to_retry_and_whether_the_request_may_have_been_done(  # noqa: PLR0917  # a row of the table
    status: int | None,
    reason: str,
    message: str,
    retryable: bool,  # noqa: FBT001
    later: bool,  # noqa: FBT001
    maybe_done: bool,  # noqa: FBT001
) -> None:
    error = ClusterError(status, reason, message)
    assert (error.retryable, error.may_succeed_later, error.may_have_been_done) == (
        retryable,
        later,
        maybe_done,
    )


def test_cluster_error_403_distinguishes_missing_right_quota_and_policy() -> None:
    missing_right, quota = ClusterError(403, "Forbidden", RBAC), ClusterError(403, "Forbidden", QUOTA)
    policy = ClusterError(403, "Forbidden", 'admission webhook "x" denied the request')
    assert [error.lacks_right for error in (missing_right, quota, policy)] == [True, False, False]
    assert [error.exceeds_quota for error in (missing_right, quota, policy)] == [False, True, False]
    assert all(error.forbidden for error in (missing_right, quota, policy))


def test_cluster_error_distinguishes_a_missing_namespace() -> None:
    namespace = ClusterError(404, "NotFound", 'namespaces "agents" not found')
    other = ClusterError(404, "NotFound", 'jobs.batch "x" not found')
    assert (namespace.not_found, namespace.namespace_not_found) == (True, True)
    assert refusal_step(namespace).startswith("create the namespace")
    assert (other.not_found, other.namespace_not_found) == (True, False)
