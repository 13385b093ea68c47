"""Every right the adapter makes use of, once: the access check asks for them, the Role grants them."""

from dataclasses import dataclass
from typing import Literal

from paperclip_claude_k8s.cluster.port import Access

BATCH = "batch"
COORDINATION = "coordination.k8s.io"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource of the Jobs' namespace.

    `lost` is what does not work without it, `instead` what is done then ("" where there is nothing).
    `level` says how bad that is: an error where no run can be carried through, a warning where one can.
    """

    access: Access
    level: Literal["error", "warn"]
    lost: str
    instead: str = ""

    @property
    def code(self) -> str:
        """The check's code, such as `k8s_rbac_job_create`; the TypeScript adapter's where it has one."""
        noun = _NOUNS.get(self.access.resource, self.access.resource.removesuffix("s"))
        return f"k8s_rbac_{noun}_{self.access.subresource or self.access.verb}"

    @property
    def label(self) -> str:
        """As people say it: "get pods/log"."""
        return f"{self.access.verb} {self.resource}"

    @property
    def resource(self) -> str:
        """As a Role names it."""
        access = self.access
        return f"{access.resource}/{access.subresource}" if access.subresource else access.resource


_NOUNS = {"persistentvolumeclaims": "pvc"}


def _jobs(verb: str) -> Access:
    return Access(verb, "jobs", BATCH)


def _leases(verb: str) -> Access:
    return Access(verb, "leases", COORDINATION)


_LISTING = "each change is found by listing over and over, at a cost to the API server"
_NO_LEASES = "Jobs carry annotations of their holder, and an orphan is known only after 180 s"

RIGHTS: tuple[Right, ...] = (
    Right(_jobs("create"), "error", "no run can start (k8s_job_create_failed)"),
    Right(
        _jobs("get"),
        "error",
        "a Job whose creation was not answered cannot be recognised as ours, and its run fails",
    ),
    Right(
        _jobs("list"),
        "error",
        "it cannot be seen whether an agent is already at work (k8s_concurrency_guard_unreachable)",
    ),
    Right(_jobs("watch"), "warn", "the end of a Job is not told as it happens", _LISTING),
    Right(
        _jobs("patch"),
        "warn",
        "a Job of an earlier host process cannot be relabelled and so not be adopted",
        "it blocks its agent until it ends",
    ),
    Right(
        _jobs("delete"),
        "error",
        "a run cannot be stopped, and a Job that met another at the gate cannot be taken back",
        "finished Jobs stay until their TTL removes them",
    ),
    Right(
        Access("get", "pods"),
        "warn",
        "the home pod cannot be read, nor a stopped agent be proven gone by a look at its Pod",
        "set kubeconfig and image, so that no home pod is needed; a stop is proven by the watch alone",
    ),
    Right(
        Access("list", "pods"),
        "error",
        "no run starts, since nobody can tell whether an earlier Pod of the same agent still works",
    ),
    Right(
        Access("delete", "pods"),
        "warn",
        "a Pod whose labels somebody changed, so that its Job let go of it, cannot be removed",
        "it is named, for an operator to delete",
    ),
    Right(Access("watch", "pods"), "warn", "start and end of an agent are not told as they happen", _LISTING),
    Right(
        Access("get", "pods", subresource="log"),
        "error",
        "nothing an agent prints can be read, neither its transcript nor its result",
    ),
    Right(
        Access("create", "secrets"),
        "warn",
        "no token, key or other secret can be given to the agent, so it can hardly log in or call the host",
        "an init container delivers the prompt, readable by who may read Jobs; that needs Leases",
    ),
    Right(
        Access("get", "secrets"),
        "warn",
        "it cannot be checked beforehand whether the Secrets a Job refers to exist",
        "a missing one shows when the Pod does not start",
    ),
    Right(
        Access("patch", "secrets"),
        "warn",
        "before Kubernetes 1.29 the relay of a second Pod cannot know that another one has run the agent",
        "the run Secret is deleted when its Pod is, so that a host process has to be there at that moment",
    ),
    Right(
        Access("delete", "secrets"),
        "warn",
        "a run Secret cannot be removed before its Job, so that a second Pod of it may start",
        "it goes with its owner, the Job",
    ),
    Right(
        Access("list", "events"),
        "warn",
        "a waiting Pod is not explained by its Events (scheduling, pulling, mounting, quota)",
        "only the Pod's own conditions are told",
    ),
    Right(
        Access("get", "persistentvolumeclaims"),
        "warn",
        "it cannot be checked beforehand whether several Pods may share the volume",
        "a volume that cannot be shared shows when the Pod is not scheduled",
    ),
    Right(_leases("create"), "warn", "several host processes cannot agree by Lease on who runs", _NO_LEASES),
    Right(_leases("get"), "warn", "the Lease of a slot's holder cannot be read", _NO_LEASES),
    Right(
        _leases("list"),
        "warn",
        "Leases of host processes that died cannot be found",
        "they stay until somebody deletes them",
    ),
    Right(_leases("update"), "warn", "a host process cannot renew its Lease", _NO_LEASES),
    Right(
        _leases("delete"),
        "warn",
        "the Lease of a slot cannot be given back at the end of a run",
        "it expires 65 s after its process stopped renewing",
    ),
)
"""In the order in which a run needs them."""
