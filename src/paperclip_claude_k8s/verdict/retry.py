"""Is this cluster error worth another try of the same call?"""

from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def worth_retrying(error: ClusterError) -> bool:
    """No answer, overload, or a fault of the server; a refusal stays one however often it is asked."""
    if error.status is None:
        return error.reason != UNUSABLE_CREDENTIALS
    return error.status in _TRANSIENT


def maybe_done(error: ClusterError) -> bool:
    """Whether the server may have carried out the call although it failed for us."""
    return error.status is None or error.status >= 500 or error.status == 408
