"""Which PersistentVolumeClaims of `sessionVolume` auto may be removed: no run has used them for some time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cluster.labels import LAST_USED_ANNOTATION
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, JobSnapshot, PodSnapshot


@dataclass(frozen=True, slots=True)
class ClaimUse:
    """How a claim is used. `users`: unfinished Jobs and Pods that have not ended, as KIND/NAME."""

    claim: ClaimSnapshot
    last_used: datetime | None
    users: tuple[str, ...] = ()

    def why_kept(self, now: datetime, unused: timedelta) -> str:
        """Why the claim must not be removed, as a clause; "" if it was idle for at least `unused`."""
        if self.claim.deleting:
            return "it is being deleted already"
        if self.users:
            return f"{', '.join(self.users)} uses it"
        if self.last_used is None:
            return "it is unknown when it was last used"
        idle = now - self.last_used
        if idle < unused:
            return f"it was used {max(idle, timedelta()) / timedelta(days=1):.1f} days ago"
        return ""


def claim_uses(
    claims: Iterable[ClaimSnapshot], jobs: Iterable[JobSnapshot], pods: Iterable[PodSnapshot]
) -> tuple[ClaimUse, ...]:
    """How each claim is used. Jobs and Pods must have been listed after the claims: `run/session_claim`."""
    users: dict[str, list[str]] = {}
    for job in jobs:
        if job.finished is None:
            for name in job.claims:
                users.setdefault(name, []).append(f"Job/{job.ref.name}")
    for pod in pods:
        if not pod.is_over:
            for name in pod.claims:
                users.setdefault(name, []).append(f"Pod/{pod.name}")
    return tuple(
        ClaimUse(claim, last_used(claim), tuple(sorted(users.get(claim.name, ())))) for claim in claims
    )


def last_used(claim: ClaimSnapshot) -> datetime | None:
    """When a run last began to use the claim, or its creation if that is later; None if both are unknown."""
    times = (parse_time(claim.annotations.get(LAST_USED_ANNOTATION)), claim.created)
    return max((time for time in times if time is not None), default=None)
