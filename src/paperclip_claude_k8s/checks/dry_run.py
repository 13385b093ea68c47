"""What a dry run shows: whether the namespace exists and accepts the Job, and how far the clocks differ."""

from collections.abc import Iterator
from datetime import timedelta

from paperclip_claude_k8s.checks.observations import DryRun, GrantedRights, PlannedRun, Response
from paperclip_claude_k8s.cluster.error_texts import describe_error, refusal_step
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.checkup import Check, Level
from paperclip_claude_k8s.verdict.obstacles import refusal_is_final

MAX_HEALTHY_SKEW = timedelta(seconds=10)
"""With more, the time limit of an adopted run is noticeably wrong, and a new token may not be valid yet."""
TIMESTAMP_STEP = timedelta(seconds=1)
"""Kubernetes truncates its timestamps to whole seconds."""


def namespace_check(run: PlannedRun, granted: GrantedRights) -> Check:
    """Whether the namespace exists. Listing Jobs does not show that: the list is empty in both cases."""
    namespace, response, home = run.plan.namespace, run.dry_run, run.site.home
    if isinstance(response, ClusterError):
        if response.namespace_not_found:
            text, hint = f"There is no namespace {namespace}", "create it, or correct `namespace`"
            return Check(code="k8s_namespace_missing", level="error", message=text, hint=hint)
        if response.namespace_terminating:
            text, hint = f"Namespace {namespace} is being deleted", "run Jobs in another namespace"
            return Check(code="k8s_namespace_terminating", level="error", message=text, hint=hint)
        exists = _refused_the_job(response) or (home is not None and home.namespace == namespace)
        if not exists:
            text = f"Could not determine whether namespace {namespace} exists: {describe_error(response)}"
            level: Level = "info" if granted.lacks("create", "jobs") else "warn"
            return Check(code="k8s_namespace_check_failed", level=level, message=text)
    return Check(code="k8s_namespace_exists", level="info", message=f"Namespace {namespace} exists")


def dry_run_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    """Whether the API server accepts the Job. No check if other checks explain why it was refused."""
    response, name = run.dry_run, run.plan.job_name
    if isinstance(response, DryRun):
        yield Check(
            code="k8s_job_dry_run",
            level="info",
            message="The API server accepts the Job (dry run)",
            hint="CPU and memory quota applies when the Pod is created; only the probe Job checks it",
        )
        yield from map(_warning_check, response.job.warnings)
    elif response.namespace_not_found or response.namespace_terminating or granted.lacks("create", "jobs"):
        return
    elif response.no_response or response.server_error or "does not support dry run" in response.message:
        text = f"The dry run of the Job was inconclusive: {describe_error(response)}"
        yield Check(code="k8s_job_dry_run_failed", level="warn", message=text)
    else:
        text = f"The API server would refuse Job {name}: {describe_error(response)}"
        hint = refusal_step(response)
        yield Check(code="k8s_job_dry_run_refused", level="error", message=text, hint=hint)


def pod_dry_run_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    """Whether the API server accepts the Job's Pod.

    Pod Security, limits, the service account, priority and RuntimeClass apply to the Pod only. There is no
    check if the Job itself is refused or the right to create Pods is missing.
    """
    response = run.pod_dry_run
    if isinstance(run.dry_run, ClusterError) or granted.lacks("create", "pods"):
        return
    if not isinstance(response, ClusterError):
        yield Check(code="k8s_pod_dry_run", level="info", message="The API server accepts the Pod (dry run)")
    elif response.forbidden or response.invalid or response.not_found:
        final = refusal_is_final(describe_error(response))
        text = (
            f"The API server would {'' if final else 'at present '}refuse the agent's Pod: {response.message}"
        )
        hint = refusal_step(response)
        level: Level = "error" if final else "warn"
        yield Check(code="k8s_pod_dry_run_refused", level=level, message=text, hint=hint)
    else:
        text = f"The dry run of the Pod was inconclusive: {describe_error(response)}"
        yield Check(code="k8s_pod_dry_run_failed", level="warn", message=text)


def _warning_check(text: str) -> Check:
    """A check that quotes a warning.

    Pod Security never refuses a Job. It warns of a Job whose Pod violates the level that the label `warn` of
    the namespace names.
    """
    pod_security = (
        "if the namespace enforces this level, the Pod is refused: lower the level or adapt the Pod"
    )
    hint = pod_security if "PodSecurity" in text else None
    message = f"The API server warns about the Job: {text}"
    return Check(code="k8s_job_warning", level="warn", message=message, hint=hint)


def clock_checks(response: Response[DryRun]) -> Iterator[Check]:
    """The clock of this machine compared with the API server's; no check without a creation time."""
    skew = skew_of(response) if isinstance(response, DryRun) else None
    if skew is None:
        return
    if abs(skew) <= MAX_HEALTHY_SKEW:
        text = "The clock of this machine agrees with the API server's"
        yield Check(code="k8s_clock_skew", level="info", message=text)
        return
    which = "behind" if skew > timedelta() else "ahead of"
    seconds = abs(skew).total_seconds()
    yield Check(
        code="k8s_clock_skew",
        level="warn",
        message=f"The clock of this machine is at least {seconds:.0f} s {which} the API server's: time "
        "limits of adopted runs are wrong by as much, and tokens may be refused as expired or not yet valid",
        hint="synchronize both machines with the same time servers",
    )


def skew_of(dry_run: DryRun) -> timedelta | None:
    """How far the server's clock is at least ahead of this machine's; negative if behind, None if unknown.

    The server stamped the Job between request and response, and truncated the stamp to a second. Only a stamp
    outside that interval proves a difference; otherwise the skew is zero.
    """
    stamp = dry_run.job.created
    if stamp is None:
        return None
    if stamp > dry_run.responded:
        return stamp - dry_run.responded
    if stamp + TIMESTAMP_STEP < dry_run.requested:
        return stamp + TIMESTAMP_STEP - dry_run.requested
    return timedelta()


def _refused_the_job(error: ClusterError) -> bool:
    """Whether the server examined the Job and refused it, which it does only in an existing namespace."""
    examined = error.status == 400 or error.conflict or error.invalid
    return examined or "quota" in error.message or "admission webhook" in error.message
