"""What was collected from a cluster. A call that failed is represented by its `ClusterError`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from paperclip_claude_k8s.checks.references import References
from paperclip_claude_k8s.checks.rights import Right
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite

T = TypeVar("T")
Answer: TypeAlias = T | ClusterError


@dataclass(frozen=True, slots=True)
class DryRun:
    """The Job that a dry run would have created, and when it was requested and answered, by our clock."""

    job: JobSnapshot
    requested: datetime
    answered: datetime


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """The plan of a run with this config, and what the cluster has of the objects that its Job refers to."""

    site: RunSite
    plan: RunPlan
    references: References
    dry_run: Answer[DryRun]
    secrets: Mapping[str, Answer[bool]] = field(default_factory=dict)
    """Name → whether the Secret exists; likewise `pull_secrets`."""
    pull_secrets: Mapping[str, Answer[bool]] = field(default_factory=dict)
    claims: Mapping[str, Answer[tuple[str, ...] | None]] = field(default_factory=dict)
    """Name → access modes; None if the claim does not exist."""


@dataclass(frozen=True, slots=True)
class GrantedRights:
    """Whether this account has each right, in the order of `RIGHTS`."""

    answers: Mapping[Right, Answer[bool]]

    def lacks(self, verb: str, resource: str) -> bool:
        """Whether the account is known to lack this right, which the check of the right already reports."""
        return any(
            answer is False
            for right, answer in self.answers.items()
            if (right.access.verb, right.resource) == (verb, resource)
        )
