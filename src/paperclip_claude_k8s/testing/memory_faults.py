"""The faults that a cluster in memory can have."""

from dataclasses import dataclass, field

from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import ALL, VERBS
from paperclip_claude_k8s.devcluster.problems import Problem

_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_RESOURCES = {kind.plural for kind in ALL}


@dataclass(slots=True)
class Refusal:
    """Refuses the next `times` requests with this verb and resource. `retry_after`: seconds."""

    verb: str
    resource: str
    code: int
    times: int = 1
    retry_after: int | None = None
    message: str = "injected fault"

    def check(self, verb: str, resource: str) -> None:
        """Raise a `Problem` if the request is one of those to refuse; an entry of `Faults.request_hooks`."""
        if (verb, resource) == (self.verb, self.resource) and self.times > 0:
            self.times -= 1
            reason = _REASONS.get(self.code, "Unknown")
            raise Problem(self.code, reason, self.message, retry_after=self.retry_after)


@dataclass(slots=True)
class MemoryFaults(Faults):
    """Further faults, which only the cluster in memory can have."""

    node_lost: bool = False
    """The kubelet does not notice that a Pod is being deleted, so the Pod goes on."""
    fails_unstarted_pods: bool = False
    """Behave as kubelets from 1.27 on: a deleted Pod that never ran is Failed before it is removed."""
    image_is_missing: bool = False
    """The image of no Pod can be pulled, because the registry does not have it."""
    hanging_watches: set[str] = field(default_factory=set)
    """Resources, such as "pods", whose new watches deliver nothing and do not end."""

    def refuse(  # noqa: PLR0913  # the fields of a `Refusal`
        self,
        verb: str,
        resource: str,
        code: int,
        times: int = 1,
        *,
        retry_after: int | None = None,
        message: str = "injected fault",
    ) -> None:
        """Refuse the next `times` requests with this verb and resource, such as "create" and "jobs".

        `resource` may be a subresource, such as "pods/log". `code`: the HTTP status; for a create, 409
        means that the name is taken. `retry_after`: seconds, in the header of that name.

        Raises:
            ValueError: there is no such verb or resource, so that no request would be refused.
        """
        if verb not in VERBS:
            raise ValueError(f"unknown verb {verb!r}; known are {', '.join(VERBS)}")
        if resource.partition("/")[0] not in _RESOURCES:
            raise ValueError(f"unknown resource {resource!r}; known are {', '.join(sorted(_RESOURCES))}")
        refusal = Refusal(verb, resource, code, times, retry_after=retry_after, message=message)
        self.request_hooks.append(refusal.check)
