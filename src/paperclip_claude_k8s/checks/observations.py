"""What the environment test has collected from a cluster, before it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from paperclip_claude_k8s.checks.references import References
from paperclip_claude_k8s.checks.rights import Right
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite

T = TypeVar("T")
Response: TypeAlias = T | ClusterError
"""What an API call returned, or the error with which it failed."""
Keys: TypeAlias = frozenset[str] | None
"""The keys of a Secret; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The Job in the response to a dry run, and the times of request and response by this machine's clock."""

    job: JobSnapshot
    requested: datetime
    responded: datetime


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """The plan of a run with this config, and what the cluster says of its Job and the objects in it."""

    site: RunSite
    plan: RunPlan
    references: References
    dry_run: Response[DryRun]
    pod_dry_run: Response[tuple[str, ...]]
    """The server's warnings about the Job's Pod."""
    secrets: Mapping[str, Response[Keys]] = field(default_factory=dict)
    """Name of each Secret that the Pod needs to start → its keys."""
    pull_secrets: Mapping[str, Response[Keys]] = field(default_factory=dict)
    """Name of each Secret with which images are pulled → its keys."""
    claim_dry_run: Response[ClaimSnapshot | None] = None
    """The claim that `sessionVolume` auto would create; None if it would create none."""
    claims: Mapping[str, Response[ClaimSnapshot | None]] = field(default_factory=dict)
    """Name of each claim that the Pod mounts → the claim; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class GrantedRights:
    """For each right, in the order of `RIGHTS`: whether this account has it."""

    responses: Mapping[Right, Response[bool]]

    def lacks(self, verb: str, resource: str) -> bool:
        """Whether the account is known to lack this right, which then has a failed check of its own."""
        return any(
            response is False
            for right, response in self.responses.items()
            if (right.access.verb, right.resource) == (verb, resource)
        )
