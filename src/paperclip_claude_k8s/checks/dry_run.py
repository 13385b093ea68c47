"""What a dry run shows: whether the namespace exists and accepts the Job, and whether clocks differ."""

from collections.abc import Iterator
from datetime import timedelta

from paperclip_claude_k8s.checks.observations import Answer, DryRun, GrantedRights, PlannedRun
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import describe_error, refusal_step
from paperclip_claude_k8s.host.checkup import Check, Level

HEALTHY_SKEW = timedelta(seconds=10)
"""Above this, the time limit of an adopted run is noticeably wrong, and tokens may not be valid yet."""
TICK = timedelta(seconds=1)
"""Kubernetes truncates its timestamps to whole seconds."""


def namespace_check(run: PlannedRun, granted: GrantedRights) -> Check:
    """Whether the namespace exists. A dry run shows it; listing a missing namespace returns an empty list."""
    namespace, answer, home = run.plan.namespace, run.dry_run, run.site.home
    if isinstance(answer, ClusterError):
        if answer.namespace_not_found:
            text, hint = f"There is no namespace {namespace}", "create it, or correct `namespace`"
            return Check(code="k8s_namespace_missing", level="error", message=text, hint=hint)
        if answer.namespace_terminating:
            text, hint = f"Namespace {namespace} is being deleted", "run Jobs in another namespace"
            return Check(code="k8s_namespace_terminating", level="error", message=text, hint=hint)
        if not _refused_the_job(answer) and (home is None or home.namespace != namespace):
            text = f"Could not determine whether namespace {namespace} exists: {describe_error(answer)}"
            level: Level = "info" if granted.lacks("create", "jobs") else "warn"
            return Check(code="k8s_namespace_check_failed", level=level, message=text)
    return Check(code="k8s_namespace_exists", level="info", message=f"Namespace {namespace} exists")


def dry_run_checks(run: PlannedRun, granted: GrantedRights) -> Iterator[Check]:
    """Whether the API server accepts the Job. No check if the namespace or a missing right explains it."""
    answer, name = run.dry_run, run.plan.job_name
    if isinstance(answer, DryRun):
        yield Check(
            code="k8s_job_dry_run",
            level="info",
            message="The API server accepts the Job (dry run)",
            hint="CPU and memory quota applies when the Pod is created; only the probe Job checks it",
        )
        yield from map(_warning_check, answer.job.warnings)
    elif answer.namespace_not_found or answer.namespace_terminating or granted.lacks("create", "jobs"):
        return
    elif answer.no_response or answer.server_error or "does not support dry run" in answer.message:
        text = f"The dry run of the Job was inconclusive: {describe_error(answer)}"
        yield Check(code="k8s_job_dry_run_failed", level="warn", message=text)
    else:
        text = f"The API server would refuse Job {name}: {describe_error(answer)}"
        hint = refusal_step(answer)
        yield Check(code="k8s_job_dry_run_refused", level="error", message=text, hint=hint)


def _warning_check(text: str) -> Check:
    """Pod Security rejects only Pods. For a Job the server warns, if the namespace has a `warn` level."""
    pod_security = (
        "if the namespace enforces this level, the Pod is refused: lower the level or adapt the Pod"
    )
    hint = pod_security if "PodSecurity" in text else None
    message = f"The API server warns about the Job: {text}"
    return Check(code="k8s_job_warning", level="warn", message=message, hint=hint)


def clock_checks(answer: Answer[DryRun]) -> Iterator[Check]:
    """Our clock compared with the API server's; no check if the dry run returned no creation time."""
    skew = skew_of(answer) if isinstance(answer, DryRun) else None
    if skew is None:
        return
    if abs(skew) <= HEALTHY_SKEW:
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
    """The least by which the server's clock is ahead of ours; zero if they may agree, None if unknown.

    The server stamped the Job between our request and its answer, and truncated the stamp to a second. Only a
    stamp outside that interval proves a difference.
    """
    stamp = dry_run.job.created
    if stamp is None:
        return None
    if stamp > dry_run.answered:
        return stamp - dry_run.answered
    if stamp + TICK < dry_run.requested:
        return stamp + TICK - dry_run.requested
    return timedelta()


def _refused_the_job(error: ClusterError) -> bool:
    """Whether the server refused the Job itself, which it only examines if the namespace exists."""
    examined = error.status == 400 or error.conflict or error.invalid
    return examined or "quota" in error.message or "admission webhook" in error.message
