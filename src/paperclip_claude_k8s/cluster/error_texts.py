"""What an error of the API server means for a person, and what can be done about it."""

from paperclip_claude_k8s.cluster.port import ClusterError

_POLICY_TEXTS = ("admission webhook", "ValidatingAdmissionPolicy", "violates PodSecurity")
"""Texts that occur in refusals by an admission policy. Their status is 403 too, but no RBAC right helps."""


RENEW_CREDENTIALS = "renew the credentials of this process: the API server does not accept them"


def describe_error(error: ClusterError) -> str:
    """HTTP status, reason and message of an API error."""
    status = f"HTTP {error.status} " if error.status else ""
    return f"{status}{error.reason}: {error.message}".strip().removesuffix(":")


def refusal_step(error: ClusterError) -> str:
    """What a person can do about an object that the API server did not accept."""
    if error.exceeds_quota:
        return "free some of the namespace's quota or lower `resources`"
    if error.namespace_not_found:
        return "create the namespace, or correct `namespace` in the agent's settings"
    if any(text in error.message for text in _POLICY_TEXTS):
        return "change what the policy objects to, or ask whoever maintains the policy"
    if error.lacks_right:
        return "give the service account the right named above (`claude-k8s rbac` prints the Role)"
    if error.forbidden or error.status == 400 or error.invalid:
        return "correct the setting that the message is about"
    rejects_credentials = error.unauthorized and not error.foreign
    return RENEW_CREDENTIALS if rejects_credentials else "retrying may succeed"


def unread_objects_step(error: ClusterError) -> str:
    """What a person can do about Jobs, Pods or Leases that could not be read."""
    if error.exceeds_quota:
        return "free some of the namespace's quota, or have it raised"
    if error.foreign:
        return "do what the message says, then run the agent again"
    if error.unauthorized or error.lacks_right or error.namespace_not_found:
        return refusal_step(error)
    if error.forbidden:
        return "check the rights of the service account (`claude-k8s rbac` prints the Role)"
    return "check the API server, and run the agent again when it responds"


def lease_step(error: ClusterError) -> str:
    """What a person can do about Leases that the API server did not accept."""
    if error.exceeds_quota:
        return "free some of the namespace's quota on Leases, or have it raised"
    if error.lacks_right:
        return "`claude-k8s rbac` prints the Role that allows them"
    if error.forbidden or error.namespace_not_found:
        return refusal_step(error)
    return "this API server or namespace does not offer Leases"


INHERITS = "without them, Jobs inherit image, volume and env from the host's Pod"


def home_pod_step(error: ClusterError | None) -> str:
    """What a person can do about a home pod that could not be read. `error`: None if no call failed."""
    if error is not None and error.may_succeed_later:
        return "no Job was created; check the API server, and run the agent again when it responds"
    if error is not None and error.unauthorized:
        return RENEW_CREDENTIALS
    if error is not None and error.lacks_right:
        step = "give the service account the right to get pods (`claude-k8s rbac` prints the Role)"
    elif error is not None:
        step = "resolve what the message says"
    else:
        step = "pass the Pod's name to this process in POD_NAME (`fieldRef: metadata.name`)"
    return f"{step}, or set `kubeconfig` and `image`; {INHERITS}"
