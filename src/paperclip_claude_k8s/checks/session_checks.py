"""Checks of `sessionVolume`: whether sessions outlive their Pods, and whether `auto` can create claims."""

from collections.abc import Iterator

from paperclip_claude_k8s.checks.observations import GrantedRights, PlannedRun
from paperclip_claude_k8s.cluster.error_texts import describe_error, refusal_step
from paperclip_claude_k8s.cluster.model import ClaimSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.checkup import Check

ONE_NODE = "Pods that use it at the same time run on one node"


def session_volume_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    """What a run would do with its sessions. Those on the shared volume are left to `volume_checks`."""
    match run.plan.session_volume.kind:
        case "none":
            yield Check(
                code="k8s_session_volume_none",
                level="info",
                message=f"Sessions are not resumed: {run.plan.session_volume.why_lost}",
                hint="set `sessionVolume` to auto if agents should continue their sessions",
            )
        case "claim":
            yield _existing_claim_check(run)
        case "auto":
            yield from _auto_checks(run, granted)
        case "shared":
            return


def _existing_claim_check(run: PlannedRun) -> Check:
    name = run.plan.session_volume.claim_name
    claim = run.claims.get(name)
    if not isinstance(claim, ClaimSnapshot):
        return _unread_claim_check(name, claim)
    modes = ", ".join(claim.access_modes) or "none"
    if not {"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"} & set(claim.access_modes):
        text = f"PVC {name} has access modes {modes}: agents cannot keep their sessions on it"
        hint = "use a claim that Pods may write to"
        return Check(code="k8s_session_volume_read_only", level="error", message=text, hint=hint)
    if "ReadWriteMany" in claim.access_modes:
        text = f"Sessions are kept on PVC {name} ({modes}), a folder for each agent"
        return Check(code="k8s_session_volume_claim", level="info", message=text)
    only = "only one Pod at a time can use it" if modes == "ReadWriteOncePod" else ONE_NODE
    return Check(
        code="k8s_session_volume_one_node",
        level="warn",
        message=f"Sessions are kept on PVC {name}, which is {modes}: {only}",
        hint="use a ReadWriteMany claim if several agents share it, or `sessionVolume` auto",
    )


def _unread_claim_check(name: str, error: ClusterError | None) -> Check:
    """The check for a claim that could not be read, or does not exist (`error` is None)."""
    why = describe_error(error) if error is not None else "it does not exist"
    text = f"PVC {name}, which `sessionVolume` names, could not be read: {why}"
    return Check(code="k8s_session_volume_unread", level="warn", message=text)


def _auto_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    config, dry_run = run.plan.config, run.claim_dry_run
    if granted.lacks("create", "persistentvolumeclaims"):
        return  # the check of the right says what happens instead
    size, mode = config.session_volume_size, config.session_volume_access_mode
    if isinstance(dry_run, ClusterError):
        inconclusive = dry_run.no_response or dry_run.server_error
        yield Check(
            code="k8s_session_volume_refused",
            level="warn" if inconclusive or dry_run.exceeds_quota else "error",
            message=f"The API server would not create the claim of the session: {describe_error(dry_run)}",
            hint=refusal_step(dry_run),
        )
        return
    per = config.session_volume_per  # "agent" or "company"
    yield Check(
        code="k8s_session_volume_auto",
        level="info",
        message=f"Each {per} gets a claim for sessions ({size}, {mode}); the API server accepts it (dry run)",
        hint="whether a volume can be made for it shows when the first Pod is scheduled",
    )
    if config.session_volume_access_mode != "ReadWriteMany" and (
        per == "company" or config.concurrency_scope == "task"
    ):
        cause = "sessionVolumePer is company" if per == "company" else "concurrencyScope is task"
        only = "only one Pod at a time can use it"
        if config.session_volume_access_mode == "ReadWriteOnce":
            only = ONE_NODE
        yield Check(
            code="k8s_session_volume_one_node",
            level="warn",
            message=f"The claim is {config.session_volume_access_mode}, and {cause}: {only}",
            hint="set `sessionVolumeAccessMode` to ReadWriteMany if the storage class offers it",
        )
