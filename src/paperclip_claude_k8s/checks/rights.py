"""All RBAC rights that the adapter uses, for the environment test and for the Role of `claude-k8s rbac`."""

from dataclasses import dataclass
from typing import Literal

from paperclip_claude_k8s.cluster.port import Access

BATCH = "batch"
COORDINATION = "coordination.k8s.io"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource of the Jobs' namespace.

    `lost`: what does not work without the right. `instead`: the adapter's fallback, "" if there is none.
    `level`: "error" if runs may fail, or cannot be stopped, without the right; else "warn".
    """

    access: Access
    level: Literal["error", "warn"]
    lost: str
    instead: str = ""

    @property
    def code(self) -> str:
        """The check's code, such as `k8s_rbac_job_create`."""
        noun = _NOUNS.get(self.access.resource, self.access.resource.removesuffix("s"))
        return f"k8s_rbac_{noun}_{self.access.subresource or self.access.verb}"

    @property
    def label(self) -> str:
        """Verb and resource, such as "get pods/log"."""
        return f"{self.access.verb} {self.resource}"

    @property
    def resource(self) -> str:
        """The resource as a Role names it, such as `pods/log`."""
        access = self.access
        return f"{access.resource}/{access.subresource}" if access.subresource else access.resource


_NOUNS = {"persistentvolumeclaims": "pvc"}


def _jobs(verb: str) -> Access:
    return Access(verb, "jobs", BATCH)


def _leases(verb: str) -> Access:
    return Access(verb, "leases", COORDINATION)


_LISTS_INSTEAD = "the adapter lists repeatedly, which is slower and costs the API server more"
_ANNOTATIONS_INSTEAD = (
    "Jobs are annotated with their holder, and the end of a holder is recognized only after 180 s"
)

RIGHTS: tuple[Right, ...] = (
    Right(_jobs("create"), "error", "no run can start (k8s_job_create_failed)"),
    Right(
        _jobs("get"),
        "error",
        "if the response to the creation of a Job is lost, the run cannot recognize its Job, and fails",
    ),
    Right(
        _jobs("list"),
        "error",
        "no run can start, because a second run cannot be excluded (k8s_concurrency_guard_unreachable)",
    ),
    Right(_jobs("watch"), "warn", "changes of Jobs are not reported as they happen", _LISTS_INSTEAD),
    Right(
        _jobs("patch"),
        "warn",
        "a Job of an earlier host process cannot be relabelled, and therefore not be adopted",
        "the Job blocks its agent until it ends",
    ),
    Right(
        _jobs("delete"),
        "error",
        "a run cannot be stopped, and a Job that was created beside another one cannot be deleted again",
        "finished Jobs stay until their TTL removes them",
    ),
    Right(
        Access("get", "pods"),
        "warn",
        "the home pod cannot be read, and a stopped agent's Pod cannot be read to confirm that it is gone",
        "only the watch confirms a stop; with kubeconfig and image set, no home pod is needed",
    ),
    Right(
        Access("list", "pods"),
        "error",
        "no run can start, because an earlier Pod of the same agent may still be working",
    ),
    Right(
        Access("delete", "pods"),
        "warn",
        "a Pod that its Job released, because its labels were changed, cannot be deleted",
        "a log line names the Pod, so that an administrator can delete it",
    ),
    Right(
        Access("create", "pods"),
        "warn",
        "the environment test cannot try whether the cluster accepts an agent's Pod (Pod Security, limits)",
        "its probe Job shows it, and so does the first run; no run uses this right",
    ),
    Right(
        Access("watch", "pods"),
        "warn",
        "start and end of an agent are not reported as they happen",
        _LISTS_INSTEAD,
    ),
    Right(
        Access("get", "pods", subresource="log"),
        "error",
        "the agent's output cannot be read, neither its transcript nor its result",
    ),
    Right(
        Access("create", "secrets"),
        "warn",
        "no token, key or other secret can be passed to the agent, so it can hardly log in or call the host",
        "an init container delivers the prompt, which anyone who may read Jobs can read; this also requires "
        "the rights to Leases, since no run Secret then prevents a second run",
    ),
    Right(
        Access("get", "secrets"),
        "warn",
        "it cannot be checked in advance whether the Secrets that a Job refers to exist",
        "a missing Secret becomes visible when the Pod does not start",
    ),
    Right(
        Access("patch", "secrets"),
        "warn",
        "before Kubernetes 1.29 a second Pod's relay cannot recognize that another Pod has run the agent",
        "the host deletes the run Secret as soon as its Pod is being deleted, so a host process must run at "
        "that moment",
    ),
    Right(
        Access("delete", "secrets"),
        "warn",
        "a run Secret cannot be deleted before its Job, so a second Pod of the Job may start",
        "it is deleted with its owner, the Job",
    ),
    Right(
        Access("list", "events"),
        "warn",
        "Events (scheduling, pulling, mounting, quota) cannot explain why a Pod is waiting",
        "only the Pod's own conditions are reported",
    ),
    Right(
        Access("get", "persistentvolumeclaims"),
        "warn",
        "it cannot be checked in advance whether several Pods may share the volume",
        "a volume that cannot be shared becomes visible when the Pod is not scheduled",
    ),
    Right(
        _leases("create"),
        "warn",
        "several host processes cannot use Leases to exclude each other",
        _ANNOTATIONS_INSTEAD,
    ),
    Right(_leases("get"), "warn", "the Lease of a slot's holder cannot be read", _ANNOTATIONS_INSTEAD),
    Right(
        _leases("list"),
        "warn",
        "Leases of host processes that have ended cannot be found",
        "they stay until an administrator deletes them",
    ),
    Right(_leases("update"), "warn", "a host process cannot renew its Lease", _ANNOTATIONS_INSTEAD),
    Right(
        _leases("delete"),
        "warn",
        "the Lease of a slot cannot be released at the end of a run",
        "it expires 65 s after the host process that holds it last renewed the Lease of the process",
    ),
)
"""Grouped by resource; the environment test reports them in this order."""

CLAIM_RIGHTS: tuple[Right, ...] = (
    Right(
        Access("create", "persistentvolumeclaims"),
        "warn",
        "`sessionVolume` auto cannot create the claims on which sessions outlive their Pods",
        "an agent without a claim runs as with `sessionVolume` none: its sessions are not resumed",
    ),
    Right(
        Access("patch", "persistentvolumeclaims"),
        "warn",
        "a run cannot note in its claim that it uses the claim",
        "`claude-k8s volumes` shows when the claim was created, and `volumes prune` goes by that",
    ),
)
"""Rights that only `sessionVolume` auto needs."""


EVENT_RIGHTS: tuple[Right, ...] = (
    Right(
        Access("create", "events"),
        "warn",
        "adoptions, stops, failures and gaps are not shown by `kubectl describe job`",
        "the run's own log has them",
    ),
)
"""Rights that only `jobEvents` needs."""


UPLOAD_RIGHT = Right(
    Access("create", "secrets"),
    "error",
    "no workspace can be uploaded and no secret passed to the agent, so every run fails",
)
"""Stands in `RIGHTS` in place of `create secrets` if `workspace` is upload: then no run works without it."""


def rights_of(
    *, auto_claims: bool = False, job_events: bool = False, uploads: bool = False
) -> tuple[Right, ...]:
    """All rights that a host needs with these settings.

    `auto_claims`: whether `sessionVolume` is auto in any config. `job_events`: whether `jobEvents` is on.
    `uploads`: whether `workspace` is upload, which makes the right to create Secrets indispensable.
    """
    rights = _with_claims() if auto_claims else RIGHTS
    if uploads:
        rights = tuple(UPLOAD_RIGHT if right.code == UPLOAD_RIGHT.code else right for right in rights)
    return (*rights, *EVENT_RIGHTS) if job_events else rights


def _with_claims() -> tuple[Right, ...]:
    """`RIGHTS`, with `CLAIM_RIGHTS` after the right to read claims."""
    after = next(i for i, right in enumerate(RIGHTS) if right.resource == "persistentvolumeclaims") + 1
    return (*RIGHTS[:after], *CLAIM_RIGHTS, *RIGHTS[after:])
