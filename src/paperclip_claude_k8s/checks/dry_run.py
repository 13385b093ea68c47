"""What a dry run of the create tells: namespace, admission, and the difference between two clocks."""

from collections.abc import Iterator
from datetime import timedelta

from paperclip_claude_k8s.checks.observations import DryRun, Granted, Place, Seen
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import describe_error, refusal_step
from paperclip_claude_k8s.host.checkup import Check, Level

HEALTHY_SKEW = timedelta(seconds=10)
"""Above this an adopted run's time limit is noticeably wrong, and tokens may count as not valid yet."""
TICK = timedelta(seconds=1)
"""Kubernetes cuts its times to whole seconds."""


def judge_namespace(place: Place, granted: Granted) -> Check:
    """A dry run fails where there is no namespace, while a list of nothing is an empty list."""
    namespace, answer, home = place.plan.namespace, place.rehearsal, place.setting.home
    if isinstance(answer, ClusterError):
        if answer.namespace_not_found:
            text, hint = f"There is no namespace {namespace}", "create it, or correct `namespace`"
            return Check(code="k8s_namespace_missing", level="error", message=text, hint=hint)
        if answer.namespace_terminating:
            text, hint = f"Namespace {namespace} is being deleted", "run Jobs in another one"
            return Check(code="k8s_namespace_terminating", level="error", message=text, hint=hint)
        if not _was_admitted(answer) and (home is None or home.namespace != namespace):
            text = f"Whether namespace {namespace} exists could not be seen: {describe_error(answer)}"
            level: Level = "info" if granted.lacks("create", "jobs") else "warn"
            return Check(code="k8s_namespace_check_failed", level=level, message=text)
    return Check(code="k8s_namespace_exists", level="info", message=f"Namespace {namespace} exists")


def judge_dry_run(place: Place, granted: Granted) -> Iterator[Check]:
    """Silent where the namespace's or the right's own line has said it all."""
    answer, name = place.rehearsal, place.plan.job_name
    if isinstance(answer, DryRun):
        yield Check(
            code="k8s_job_dry_run",
            level="info",
            message="The API server would take the Job (dry run)",
            hint="CPU and memory quota is judged when the Pod is made; a probe Job finds out",
        )
        yield from map(_judge_warning, answer.job.warnings)
    elif answer.namespace_not_found or answer.namespace_terminating or granted.lacks("create", "jobs"):
        return
    elif answer.unanswered or answer.server_error or "does not support dry run" in answer.message:
        text = f"A dry run of the Job brought no verdict: {describe_error(answer)}"
        yield Check(code="k8s_job_dry_run_failed", level="warn", message=text)
    else:
        text = f"The API server would refuse Job {name}: {describe_error(answer)}"
        hint = refusal_step(answer)
        yield Check(code="k8s_job_dry_run_refused", level="error", message=text, hint=hint)


def _judge_warning(text: str) -> Check:
    """Pod Security refuses Pods only; of a Job it warns, where the namespace asks for warnings."""
    pod_security = (
        "where this level is enforced the Pod is refused: lower the namespace's level or adapt the Pod"
    )
    hint = pod_security if "PodSecurity" in text else None
    message = f"The API server warns of the Job: {text}"
    return Check(code="k8s_job_warning", level="warn", message=message, hint=hint)


def judge_clock(answer: Seen[DryRun]) -> Iterator[Check]:
    """Our clock beside the API server's; nothing where the dry run brought no time."""
    skew = skew_of(answer) if isinstance(answer, DryRun) else None
    if skew is None:
        return
    if abs(skew) <= HEALTHY_SKEW:
        text = "The clock here agrees with the API server's"
        yield Check(code="k8s_clock_skew", level="info", message=text)
        return
    which = "behind" if skew > timedelta() else "ahead of"
    seconds = abs(skew).total_seconds()
    yield Check(
        code="k8s_clock_skew",
        level="warn",
        message=f"The clock here is at least {seconds:.0f} s {which} the API server's: time limits of "
        "adopted runs are off by as much, and tokens may be refused as expired or not valid yet",
        hint="let both machines follow the same time servers",
    )


def skew_of(rehearsal: DryRun) -> timedelta | None:
    """How far the server's clock is ahead of ours at the very least; zero where they may agree.

    The server stamped the Job between our asking and having the answer, and cut the stamp to a second:
    only what lies outside of that is skew.
    """
    stamp = rehearsal.job.created
    if stamp is None:
        return None
    if stamp > rehearsal.answered:
        return stamp - rehearsal.answered
    if stamp + TICK < rehearsal.asked:
        return stamp + TICK - rehearsal.asked
    return timedelta()


def _was_admitted(error: ClusterError) -> bool:
    """Whether the refusal is of the Job itself, which is only looked at where there is a namespace."""
    examined = error.status == 400 or error.conflict or error.invalid
    return examined or "quota" in error.message or "admission webhook" in error.message
