"""What was seen of a cluster, before anybody judges it. A look that failed is its `ClusterError`."""

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
Seen: TypeAlias = T | ClusterError


@dataclass(frozen=True, slots=True)
class DryRun:
    """The Job as a dry run would have created it; when we asked and had the answer, by our own clock."""

    job: JobSnapshot
    asked: datetime
    answered: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run would happen, the plan of one, and what its Job refers to."""

    setting: RunSite
    plan: RunPlan
    refers: References
    rehearsal: Seen[DryRun]
    secrets: Mapping[str, Seen[bool]] = field(default_factory=dict)
    """Name → whether it exists; so are the next two."""
    pull_secrets: Mapping[str, Seen[bool]] = field(default_factory=dict)
    claims: Mapping[str, Seen[tuple[str, ...] | None]] = field(default_factory=dict)
    """Name → access modes; None where there is no such claim."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The answers about rights, in the order of the table."""

    answers: Mapping[Right, Seen[bool]]

    def lacks(self, verb: str, resource: str) -> bool:
        """Whether it is certain that this is not allowed: then the right's own line has said so."""
        return any(
            answer is False
            for right, answer in self.answers.items()
            if (right.access.verb, right.resource) == (verb, resource)
        )
