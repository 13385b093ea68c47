"""The claim of a run's session volume: looked up before the plan, created or marked as used before the Job.

`claude-k8s volumes prune` removes claims that no run has used for some time, and must never remove one that a
run is about to use. The order of steps keeps the two apart:

    a run                                       prune
    1. mark the claim as used (a new version)   1. list the claims, and keep those used recently
    2. create the Job                           2. list Jobs and Pods, and keep the claims that they mount
                                                3. delete exactly the version that was listed

If step 1 of a run comes before step 1 of prune, the claim was used recently; otherwise its version is another
one in step 3. A run that finds the claim being deleted waits until it is gone, and creates a new one.
"""

import asyncio
from collections.abc import Mapping

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.json_readers import get_object, get_objects, get_text
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.error_texts import describe_error, refusal_step
from paperclip_claude_k8s.cluster.labels import LAST_RUN_ANNOTATION, LAST_USED_ANNOTATION, json_pointer
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, JsonObject
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.session_volume_settings import AUTO
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.session_volume import (
    CLAIM_PREFIX,
    UNKNOWN_CLAIM,
    ClaimFacts,
    claim_manifest,
    claim_name,
)
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator

POLL_INTERVAL = 1.0
"""Seconds between two reads of a claim that is being deleted."""
_ROUNDS = 5
"""How often a run tries to create or mark a claim that others create, change or delete meanwhile."""


class ClaimsForbidden(Exception):
    """The account may not create the claim of `sessionVolume` auto. The message is a clause for the log."""


async def look_up_session_claim(
    config: AdapterConfig, identity: Identity, namespace: str, ports: Ports, narrator: Narrator
) -> ClaimFacts:
    """What is known of the claim that `sessionVolume` names, or that `auto` stands for.

    Raises:
        RunFailure: `k8s_session_volume_unavailable`: the claim that `sessionVolume` names does not exist, or
            the API server could not be reached within `Timings.retry_budget`.
    """
    own = config.session_volume == AUTO
    name = claim_name(config, identity) if own else config.session_claim_name
    if name is None:
        return UNKNOWN_CLAIM
    call = Retrier(ports.settings.timings, narrator)
    try:
        claim = await call("read claim", lambda: ports.cluster.read_claim(namespace, name))
    except ClusterError as error:
        if error.lacks_right:
            return UNKNOWN_CLAIM
        raise _call_failed(name, "read", error) from None
    if claim is None and not own:
        why = f"sessionVolume names claim {name}, which does not exist in namespace {namespace}"
        step = "create it, or set sessionVolume to auto, shared, none or the name of another claim"
        raise RunFailure(failures.session_volume_unavailable(why, step))
    return ClaimFacts(claim, readable=True)


async def use_session_claim(plan: RunPlan, ports: Ports, narrator: Narrator) -> None:
    """Create the claim of `sessionVolume` auto, or mark it as used.

    Other claims that `auto` once created are marked too if the Pod mounts them.

    Raises:
        ClaimsForbidden: the account may not create the claim.
        RunFailure: `k8s_session_volume_unavailable`.
    """
    own = plan.session_volume.claim_name if plan.session_volume.kind == AUTO else ""
    for name in _mounted_claims(plan) - {own}:
        await _mark_named(name, plan, ports, narrator)
    if own:
        await _use_own(own, plan, ports, narrator)


def _mounted_claims(plan: RunPlan) -> set[str]:
    """Claims of `auto` that the Pod mounts: those of this agent, and others that the config names."""
    volumes = get_objects(job_manifest(plan)["spec"]["template"]["spec"], "volumes")
    claims = {get_text(get_object(volume, "persistentVolumeClaim"), "claimName") for volume in volumes}
    return {name for name in claims if name.startswith(CLAIM_PREFIX)}


async def _use_own(name: str, plan: RunPlan, ports: Ports, narrator: Narrator) -> None:
    for _ in range(_ROUNDS):
        claim = await _read(name, plan, ports, narrator)
        if claim is not None and claim.deleting:
            await _await_deletion(claim, plan, ports, narrator)
            claim = None
        if claim is None:
            if await _create(plan, ports, narrator):
                return
        elif await _mark_used(claim, plan, ports, narrator):
            return
    why = f"Claim {name}, which holds the agent's sessions, is changed or deleted again and again"
    step = "find out what changes the claims of this namespace"
    raise RunFailure(failures.session_volume_unavailable(why, step, retryable=True))


async def _mark_named(name: str, plan: RunPlan, ports: Ports, narrator: Narrator) -> None:
    """Mark a claim that the config names as used, so that `volumes prune` keeps it."""
    for _ in range(_ROUNDS):
        claim = await _read(name, plan, ports, narrator)
        if claim is None or claim.deleting or await _mark_used(claim, plan, ports, narrator):
            return


def _call_failed(name: str, action: str, error: ClusterError) -> RunFailure:
    """The run's failure after a failed call. `action`: what could not be done with the claim, as "read"."""
    why = f"Claim {name}, which holds the agent's sessions, could not be {action}: {describe_error(error)}"
    step = refusal_step(error)
    if error.exceeds_quota:
        step = "remove unused claims (`claude-k8s volumes prune`) or lower sessionVolumeSize"
    if not error.may_succeed_later:
        step = f"{step}, or set sessionVolume to none"
    return RunFailure(failures.session_volume_unavailable(why, step, retryable=error.may_succeed_later))


async def _read(name: str, plan: RunPlan, ports: Ports, narrator: Narrator) -> ClaimSnapshot | None:
    """The claim; None if it does not exist, or may not be read."""
    call = Retrier(ports.settings.timings, narrator)
    try:
        return await call("read claim", lambda: ports.cluster.read_claim(plan.namespace, name))
    except ClusterError as error:
        if error.lacks_right:
            return None
        raise _call_failed(name, "read", error) from None


async def _create(plan: RunPlan, ports: Ports, narrator: Narrator) -> bool:
    """Create the claim. False if another run created it first: then it has to be read and marked.

    True if the claim exists, but may not be read: then it is used without a mark.
    """
    call, name = Retrier(ports.settings.timings, narrator), plan.session_volume.claim_name
    manifest = claim_manifest(plan.config, plan.identity, plan.namespace, _last_use(plan, ports))
    try:
        claim = await call("create claim", lambda: ports.cluster.create_claim(plan.namespace, manifest))
    except ClusterError as error:
        if error.conflict:
            return await _is_unreadable(plan, ports)
        if error.lacks_right:
            raise ClaimsForbidden(f"this account may not create its claim ({error.message})") from None
        raise _call_failed(name, "created", error) from None
    size, modes = claim.size or plan.config.session_volume_size, ", ".join(claim.access_modes)
    await narrator.status(f"Created claim {name} for the agent's sessions ({size}, {modes})")
    return True


async def _is_unreadable(plan: RunPlan, ports: Ports) -> bool:
    """Whether this account may not read the claim, which exists."""
    try:
        await ports.cluster.read_claim(plan.namespace, plan.session_volume.claim_name)
    except ClusterError as error:
        return error.lacks_right
    return False


async def _mark_used(claim: ClaimSnapshot, plan: RunPlan, ports: Ports, narrator: Narrator) -> bool:
    """Write the time and the run into the claim. False if the claim was changed or deleted meanwhile."""
    call = Retrier(ports.settings.timings, narrator)
    patch = _annotate(claim, _last_use(plan, ports))
    try:
        return await call("mark claim", lambda: ports.cluster.patch_claim(claim, patch)) is not None
    except ClusterError as error:
        if error.conflict or error.invalid:
            return False
        if error.lacks_right:
            await narrator.warn(
                f"The use of claim {claim.name} could not be noted ({error.message}), so "
                "`claude-k8s volumes prune` may find it unused; `claude-k8s rbac --session-volume auto` "
                "prints the Role"
            )
            return True
        raise _call_failed(claim.name, "marked as used", error) from None


def _last_use(plan: RunPlan, ports: Ports) -> Mapping[str, str]:
    """Annotations. The time has microseconds, so that each use gives the claim a new version."""
    used = {LAST_USED_ANNOTATION: format_time(ports.settings.now(), "microseconds")}
    return used | ({LAST_RUN_ANNOTATION: plan.identity.run} if plan.identity.run else {})


def _annotate(claim: ClaimSnapshot, entries: Mapping[str, str]) -> list[JsonObject]:
    if not claim.annotated:
        return [{"op": "add", "path": "/metadata/annotations", "value": dict(entries)}]
    return [
        {"op": "add", "path": json_pointer("metadata", "annotations", key), "value": value}
        for key, value in entries.items()
    ]


async def _await_deletion(claim: ClaimSnapshot, plan: RunPlan, ports: Ports, narrator: Narrator) -> None:
    """Wait until a claim that is being deleted is gone. Raises RunFailure after `terminatingWaitSec`."""
    limit, began = plan.config.terminating_wait_sec, loop_time()
    await narrator.status(f"Waiting up to {limit:g}s: claim {claim.name} is being deleted")
    while True:
        found = await _read(claim.name, plan, ports, narrator)
        if found is None or found.uid != claim.uid:
            return
        if loop_time() - began >= limit:
            why = f"Claim {claim.name} with the agent's sessions has not been deleted within {limit:g}s"
            step = f"end the Pod that uses it (`kubectl describe pvc {claim.name}` names it)"
            raise RunFailure(failures.session_volume_unavailable(why, step, retryable=True))
        await asyncio.sleep(POLL_INTERVAL)
