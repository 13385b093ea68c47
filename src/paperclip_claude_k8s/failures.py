"""Every way a run can fail: one builder per cause, and the value that they build.

No other module writes an `ErrorCode` or builds a `Failure`; `tests/house` checks that.
The text of a failure has two parts: `what` happened, with the message of the cluster or of Claude, and the
`next_step` for a person. `docs/errors.toml` describes each code for the documentation.

    RunFailure                     raised by a step of the run; `execute` turns it into the run's result
    └── Failure                    the value: code, texts, and evidence for the host (usually the one shown)
        ├── before any Job         config, agent id, prompt size, home pod           evidence: bootstrap
        ├── guard and create       blocked, unreachable, orphans, refused            evidence: bootstrap
        ├── never started          not scheduled, image, init                        evidence: bootstrap
        ├── Job not adoptable      no readable Pod, not relabelled                   evidence: continuation
        └── the agent may have run disrupted, deleted, timeout, Claude's own errors  evidence: continuation
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from paperclip_claude_k8s.claude.classification import ClassifiedFailure, FailureClass
from paperclip_claude_k8s.claude.next_steps import NEXT_STEPS, SESSION_LOST
from paperclip_claude_k8s.cluster.error_texts import (
    INHERITS,
    describe_error,
    home_pod_step,
    refusal_step,
    unread_objects_step,
)
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.error_codes import ErrorCode, Evidence
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.policy import POLICY_FILE, Refusal
from paperclip_claude_k8s.host.result import ErrorFamily


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed. `retry_not_before` is an aware UTC time; `meta` holds facts without secrets."""

    code: ErrorCode
    what: str
    next_step: str = ""
    evidence: Evidence = "continuation"
    family: ErrorFamily | None = None
    clear_session: bool = False
    retry_not_before: datetime | None = None
    meta: JsonMap = field(default_factory=dict)

    @property
    def message(self) -> str:
        """What the host reports and a person reads."""
        return f"{self.what} — {self.next_step}" if self.next_step else self.what

    @property
    def loses_session(self) -> bool:
        """Whether the session does not exist. An id that Claude Code prints then names no session either."""
        return self.code == ErrorCode.SESSION_UNAVAILABLE

    @property
    def keeps_job(self) -> bool:
        """Whether the Job must stay in the cluster, because its agent may still work."""
        return self.code == ErrorCode.JOB_STATE_MISMATCH


class RunFailure(Exception):
    """Ends a run before it has been observed; `execute` turns it into a result."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure


def _bootstrap(code: ErrorCode, what: str, next_step: str, *, retryable: bool = False) -> Failure:
    """A failure before the agent's container started: the host may repeat the run."""
    return Failure(code, what, next_step, "bootstrap", "transient_upstream" if retryable else None)


def _needs(setting: str, least: tuple[int, int], version: tuple[int, int]) -> str:
    """Why a setting cannot be used. `least`: the oldest version that has it; `version`: the cluster's."""
    needed, present = (".".join(map(str, each)) for each in (least, version))
    return f"{setting} needs Kubernetes {needed} or newer, this cluster has {present}"


# ── before any Job ───────────────────────────────────────────────────────────────────────────────


def config_invalid(why: str) -> Failure:
    """Built when the context or the config cannot be read, or a setting has a value that no run can use."""
    step = "correct it and run the agent again"
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"Invalid configuration: {why}", step)


def settings_too_long(keys: Sequence[str]) -> Failure:
    """Built when a value of these settings is longer than an argument or environment string may be."""
    return config_invalid(
        f"config.{', '.join(keys)}: a value has 128 KiB or more, and Linux starts no program with it; "
        "put it into a file"
    )


def server_too_old(setting: str, least: tuple[int, int], version: tuple[int, int]) -> Failure:
    """Built when a setting needs API fields that an older server would silently drop from the Job."""
    text = f"Invalid configuration: {_needs(setting, least, version)}"
    return _bootstrap(ErrorCode.CONFIG_INVALID, text, f"leave {setting} out, or upgrade the cluster")


def policy_refused(*refusals: Refusal) -> Failure:
    """Built when the config asks for something that the administrator's policy does not allow."""
    asked = "; ".join(f"{refusal.key}: {refusal.rule}" for refusal in refusals)
    fields = ", ".join(sorted({refusal.field for refusal in refusals} - {""}))
    allow = f", or have the administrator of this host allow it ({fields} in {POLICY_FILE})" if fields else ""
    what = f"Not allowed by this host's policy: {asked}"
    return _bootstrap(ErrorCode.POLICY_REFUSED, what, f"change the config{allow}")


def policy_unusable(why: str) -> Failure:
    """Built for every run while the administrator's policy cannot be read: it might forbid this run."""
    step = f"have the administrator of this host correct {POLICY_FILE} and restart the host"
    return _bootstrap(ErrorCode.POLICY_REFUSED, f"This host's policy cannot be used: {why}", step)


def agent_id_invalid(agent_id: str) -> Failure:
    """Built when no label value can be made from the agent's id."""
    text = f"Agent id {agent_id[:80]!r} has no ASCII letter or digit, so it gives no Kubernetes label"
    return _bootstrap(ErrorCode.AGENT_ID_INVALID, text, "use an id with at least one letter or digit")


def prompt_too_large(size: int, limit: int) -> Failure:
    """Built when the prompt exceeds the run Secret and this host does not mount the shared volume."""
    text = f"The prompt and its attachments have {size} bytes, but the run Secret can hold only {limit}"
    step = "mount the shared volume on this host too (sharedVolumeDir), or shorten the prompt"
    return _bootstrap(ErrorCode.PROMPT_TOO_LARGE, text, step)


def template_too_long(setting: str, limit: int) -> Failure:
    """Built when a template would become a text that no model can read."""
    text = f"{setting} with its values in place has more than {limit} characters"
    return _bootstrap(ErrorCode.PROMPT_TOO_LARGE, text, "use each placeholder once, or name parts of values")


def prompt_not_staged(size: int, why: str) -> Failure:
    """Built when a prompt that exceeds the run Secret could not be written to the shared volume either."""
    text = f"The prompt has {size} bytes, too many for a Secret, and writing it to the shared volume failed"
    step = "let this account write to the shared volume, or shorten the prompt"
    return _bootstrap(ErrorCode.PROMPT_TOO_LARGE, f"{text}: {why}", step)


def remote_target(transport: str) -> Failure:
    """Built when the context names a remote environment for the agent, such as a machine reached over SSH."""
    text = f"the agent's environment is remote ({transport}), but this adapter only runs Kubernetes Jobs"
    step = "choose the local environment for this agent"
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"Invalid configuration: {text}", step)


def init_needs_version(least: tuple[int, int], version: tuple[int, int]) -> Failure:
    """Built when an init container should deliver the prompt and the server has no Pod replacement policy.

    Such a server replaces a Pod while it is being deleted. Only a run Secret could keep the new Pod from
    starting a second agent, and this delivery has none.
    """
    needs = _needs("promptDelivery init", least, version)
    why = "an older one starts a second Pod while the agent in a deleted Pod still works"
    step = "use promptDelivery secret and let this account create Secrets, or upgrade the cluster"
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"Invalid configuration: {needs}: {why}", step)


def init_needs_leases() -> Failure:
    """Built when an init container should deliver the prompt and this account may not use Leases.

    Without a run Secret, only the slot's Lease keeps two host processes from starting the same agent.
    """
    text = "Invalid configuration: promptDelivery init needs Leases, which this account may not use"
    step = "allow Leases (`claude-k8s rbac` prints the Role), or use promptDelivery secret"
    return _bootstrap(ErrorCode.CONFIG_INVALID, text, step)


def home_pod_unavailable(which: str, why: str, error: ClusterError | None = None) -> Failure:
    """Built when the host's own Pod, from which Jobs inherit their settings, cannot be found or read.

    `which` is the Pod's name, or "" if this process does not run in a Pod. `error` is the error of the API
    call that failed, if one did; it decides whether a retry may succeed.
    """
    retryable = error is not None and error.may_succeed_later
    text = f"The home pod {which} could not be read: {why}" if which else f"There is no home pod: {why}"
    step = home_pod_step(error) if which else f"set `kubeconfig` and `image`; {INHERITS}"
    return _bootstrap(ErrorCode.HOME_POD_UNAVAILABLE, text, step, retryable=retryable)


def workspace_unavailable(why: str, step: str, *, retryable: bool = False) -> Failure:
    """Built when the project's files cannot be brought into the Pod. `retryable`: another try may succeed."""
    return _bootstrap(ErrorCode.WORKSPACE_UNAVAILABLE, why, step, retryable=retryable)


def daily_budget_spent(spent: float, limit: float, next_day: datetime) -> Failure:
    """Built when the agent's runs of today have used up the daily budget of the policy."""
    text = f"The agent's runs of today have cost {spent:.2f} USD, and the daily budget is {limit:g} USD"
    step = f"wait until the next day (UTC), or have it raised (maxCostUsdPerAgentPerDay in {POLICY_FILE})"
    return Failure(ErrorCode.MAX_BUDGET, text, step, evidence="bootstrap", retry_not_before=next_day)


# ── guard and create ─────────────────────────────────────────────────────────────────────────────


def guard_unreachable(error: ClusterError) -> Failure:
    """Built when Jobs, Pods or Leases of the slot cannot be read, so a second run cannot be excluded."""
    step = f"no Job was created; {unread_objects_step(error)}"
    text = f"Concurrency guard unreachable: {describe_error(error)}"
    return _bootstrap(ErrorCode.GUARD_UNREACHABLE, text, step, retryable=not error.foreign)


def run_blocked(jobs: str, why: str = "is still running for this agent") -> Failure:
    """Built when another run's Job occupies the slot."""
    text = f"Concurrent run blocked: Job {jobs} {why}"
    step = "wait for it, cancel its run, or set concurrencyWaitSec"
    return _bootstrap(ErrorCode.RUN_BLOCKED, text, step, retryable=True)


def pods_remain(pods: str) -> Failure:
    """Built when Pods have not ended although their Jobs are deleted or finished: an agent may still work."""
    text = f"Concurrent run blocked: Pod {pods} of an earlier run of this agent has not ended"
    step = "wait for it, raise terminatingWaitSec, or force-delete it when its node is certainly down"
    return _bootstrap(ErrorCode.RUN_BLOCKED, text, step, retryable=True)


def slot_held(run: str, job: str = "") -> Failure:
    """Built when another run holds the slot's lock. `job` is that run's Job, if it is known."""
    holder = f"{f'Job {job} of ' if job else ''}run {run or '(unknown)'}"
    text = f"Concurrent run blocked: {holder} is still running for this agent"
    step = "wait for it, cancel it, or set concurrencyWaitSec"
    return _bootstrap(ErrorCode.RUN_BLOCKED, text, step, retryable=True)


def slot_may_clear(failure: Failure) -> bool:
    """Whether waiting may free the slot: a blocking run ends, but an orphan may need a person."""
    return failure.code == ErrorCode.RUN_BLOCKED


def orphan_task_unknown(job: str) -> Failure:
    """Built when an orphan (a live Job whose host process is gone) cannot be adopted without a task id."""
    text = f"Concurrent run blocked: orphaned Job {job} is still running and its task is unknown"
    step = "let it end, or delete it if its work is not needed"
    return _bootstrap(ErrorCode.ORPHAN_TASK_UNKNOWN, text, step)


def orphan_session_mismatch(job: str, theirs: str, ours: str) -> Failure:
    """Built when an orphan (a live Job whose host process is gone) of our task resumes another session."""
    why = f"orphaned Job {job} works in session {theirs}, this run needs session {ours}"
    text = f"Concurrent run blocked: {why}"
    return _bootstrap(ErrorCode.ORPHAN_SESSION_MISMATCH, text, "let it end, or delete it")


def job_create_failed(name: str, error: ClusterError) -> Failure:
    """Built when the API server did not accept the Job."""
    text = f"Failed to create Kubernetes Job: {describe_error(error)}"
    step = f"Job {name} was refused; {refusal_step(error)}"
    return _bootstrap(ErrorCode.JOB_CREATE_FAILED, text, step, retryable=error.may_succeed_later)


def secret_create_failed(name: str, error: ClusterError) -> Failure:
    """Built when the API server did not accept the run Secret; its Job was deleted again."""
    text = f"Failed to create prompt Secret: {describe_error(error)}"
    step = f"Job {name} was deleted again; {refusal_step(error)}"
    return _bootstrap(ErrorCode.SECRET_CREATE_FAILED, text, step, retryable=error.may_succeed_later)


# ── never started ────────────────────────────────────────────────────────────────────────────────

_NOT_SCHEDULED = "Pod scheduling failed: "


def pod_schedule_failed(why: str, *, retryable: bool) -> Failure:
    """Built when the agent's container cannot start: no node, no image, a failed init container, a timeout.

    `retryable`: a Pod of a later run may start, for example on another node.
    """
    step = "retrying may succeed" if retryable else "correct the cause, then run the agent again"
    return _bootstrap(ErrorCode.POD_SCHEDULE_FAILED, f"{_NOT_SCHEDULED}{why}", step, retryable=retryable)


def pod_reattach_failed(why: str, *, retryable: bool = False) -> Failure:
    """Built when an adopted Job has no Pod whose log or result can be read; it may have done work."""
    text = f"Pod reattach failed: {why}"
    step = "the adopted Job may have done work; inspect it before you run the agent again"
    return Failure(
        ErrorCode.POD_REATTACH_FAILED, text, step, family="transient_upstream" if retryable else None
    )


def adoption_failed(job: str, error: ClusterError) -> Failure:
    """Built when a live Job could not be labelled as this run's; it was left alone."""
    retryable = error.may_succeed_later
    failure = pod_reattach_failed(f"Job {job} cannot be relabelled: {error}", retryable=retryable)
    step = "the Job was left alone, and the next run adopts it"
    return replace(failure, next_step=step) if retryable else failure


def as_adopted(failure: Failure) -> Failure:
    """The failure of an adopted Job: it may have done work, so the host must not simply repeat the run."""
    if failure.code != ErrorCode.POD_SCHEDULE_FAILED:
        return failure
    why = failure.what.removeprefix(_NOT_SCHEDULED)
    return pod_reattach_failed(why, retryable=failure.family is not None)


def session_volume_unavailable(why: str, step: str, *, retryable: bool = False) -> Failure:
    """Built when the claim with the agent's sessions does not exist, or cannot be created or changed."""
    return _bootstrap(ErrorCode.SESSION_VOLUME_UNAVAILABLE, why, step, retryable=retryable)


def files_changed(file: str) -> Failure:
    """Built when the relay found that a file on the shared volume is not what the host wrote there."""
    text = f"A file on the shared volume was changed before the agent started, so it was not started: {file}"
    step = "find out which agent or program of this volume changes it, then run the agent again"
    return _bootstrap(ErrorCode.FILES_CHANGED, text, step)


# ── the agent may have run ───────────────────────────────────────────────────────────────────────


# Whether the agent had started (None: unknown) → the next step.
_AFTER_DISRUPTION = {
    True: "its session can be resumed",
    False: "the agent had not started, so nothing is lost",
    None: "it is unknown whether its agent had started; its session can be resumed",
}


def pod_disrupted(pod: str, reason: str, details: str, *, started: bool | None) -> Failure:
    """Built when the Pod was evicted, preempted, deleted, drained or suspended, or its node was lost.

    `pod`: empty if the Pod was never observed.
    `started`: whether the agent's container started; None if that was neither observed nor disproven.
    """
    subject = f"Pod {pod}" if pod else "The run's Pod, which was never observed,"
    return Failure(
        ErrorCode.POD_DISRUPTED,
        f"{subject} was disrupted ({reason}){f': {details}' if details else ''}",
        _AFTER_DISRUPTION[started],
        evidence="bootstrap" if started is False else "continuation",
        family="transient_upstream",
    )


def as_possibly_started(failure: Failure) -> Failure:
    """The failure of a run whose agent may have started: the host must not simply repeat the run."""
    if failure.evidence != "bootstrap":
        return failure
    step = f"{failure.next_step}; it is unknown whether its agent had started"
    if failure.code == ErrorCode.POD_DISRUPTED:
        step = _AFTER_DISRUPTION[None]
    return replace(failure, next_step=step, evidence="continuation")


def run_taken_over(job: str) -> Failure:
    """Built when another host process took the Job over and reports the run's result and usage itself."""
    text = f"Job {job} was taken over by another host process while this one did not renew its Lease"
    return Failure(ErrorCode.RUN_TAKEN_OVER, text, "the other process reports the result of this run")


def job_deleted_externally(facts: str, *, finished: bool = False) -> Failure:
    """Built when something else deleted the Job while its agent worked. `facts`: `key=value, …`.

    `finished`: the Job was seen to finish before it was deleted, so its TTL may have deleted it.
    """
    when, step = "before Claude could complete", "find out what deletes Jobs in this namespace"
    if finished:
        when = "after its end, for example by its TTL, and before its output was read"
        step = "raise ttlSecondsAfterFinished if it is short"
    text = f"K8s Job was deleted externally {when} [{facts}]"
    return Failure(ErrorCode.JOB_DELETED_EXTERNALLY, text, f"{step}; the session can be resumed")


def job_gone(job: str) -> Failure:
    """Built when a repeated call finds that the run's own Job existed and was deleted with its result."""
    return Failure(
        ErrorCode.JOB_DELETED_EXTERNALLY,
        f"Job {job} of this run existed and is gone, and its result was never collected",
        "it was deleted, or its TTL expired; start a new run",
    )


def job_state_mismatch(job: str, why: str) -> Failure:
    """Built when the end of the run cannot be observed; the Job stays in the cluster."""
    text = f"Job {job} did not complete cleanly ({why})"
    return Failure(ErrorCode.JOB_STATE_MISMATCH, text, "it was left alone for the next run to adopt")


def log_limit_exceeded(limit: str) -> Failure:
    """Built when the relay stopped the agent because its output exceeded `logSizeLimit`."""
    text = f"The agent printed more than logSizeLimit {limit} and was stopped"
    return Failure(ErrorCode.LOG_LIMIT_EXCEEDED, text, "find out why, or raise logSizeLimit")


def timeout(seconds: float) -> Failure:
    """Built when `timeoutSec` has passed, or, with 0 seconds, a deadline that something else set."""
    text, step = f"Timed out after {seconds:g}s", "raise timeoutSec, or give the agent less to do at once"
    if not seconds:
        text = "Timed out: activeDeadlineSeconds of the Job or Pod has passed, although timeoutSec is not set"
        step = "find out what sets it (podTemplate, an admission policy)"
    return Failure(ErrorCode.TIMEOUT, text, f"{step}; its session can be resumed")


def cancelled(*, proven: bool, by: str = "") -> Failure:
    """Built when the host, or the person `by`, cancelled the run. `proven`: the run certainly has no Pod."""
    text = f"Run cancelled by {by} with `claude-k8s cancel`" if by else "Run cancelled"
    return Failure(ErrorCode.CANCELLED, text, evidence="interrupted" if proven else "continuation")


def over_budget(cost: float, limit: float) -> Failure:
    """Built when the adapter stopped an agent that worked on although it had cost more than allowed."""
    text = f"The run has cost {cost:.2f} USD, more than maxCostUsdPerRun ({limit:g} USD), and was stopped"
    return Failure(ErrorCode.MAX_BUDGET, text, NEXT_STEPS[FailureClass.MAX_BUDGET])


# ── Claude's own errors ──────────────────────────────────────────────────────────────────────────


def empty_reply(message: str) -> Failure:
    """Built when the model answered without content and Claude printed no result."""
    return Failure(ErrorCode.LLM_API_ERROR, message, family="transient_upstream")


def truncated(message: str, step: str = "") -> Failure:
    """Built when the output stops after the model began to answer, without a result."""
    return Failure(ErrorCode.TRUNCATED, message, step, family="transient_upstream")


def init_failed(message: str, step: str = "") -> Failure:
    """Built when Claude exited after its init event, before any answer and without an error text."""
    return Failure(ErrorCode.INIT_FAILED, message, step)


def no_result(message: str, step: str = "") -> Failure:
    """Built when Claude exited without a result and no better explanation applies."""
    return Failure(ErrorCode.NO_RESULT, message, step)


def max_turns_again(message: str) -> Failure:
    """Built when the turns run out in a retry of a failed run, which the host must not continue for ever."""
    return Failure(ErrorCode.MAX_TURNS_AGAIN, message, "comment on the task, or raise maxTurnsPerRun")


def reported_by_claude(classified: ClassifiedFailure, message: str, *, resumed: bool = False) -> Failure:
    """Built when Claude itself reports the failure: in its result, or by refusing the session.

    The class of the failure decides the code, the family and the next step.

    `resumed`: the run resumed a session. If that session's prompt is too long, it stays too long, so the
    session is cleared.
    """
    code, step = _CODES[classified.failure_class], NEXT_STEPS[classified.failure_class]
    outgrown = resumed and classified.failure_class is FailureClass.PROMPT_TOO_LONG
    if outgrown:
        step = "the session can no longer be resumed; the next run starts a fresh one"
    return Failure(
        code,
        message,
        step,
        family=_FAMILIES.get(code),
        clear_session=outgrown or classified.failure_class in SESSION_LOST,
        retry_not_before=classified.retry_at,
        meta={"loginUrl": classified.login_url} if classified.login_url else {},
    )


# Code → the classes of failures that Claude reports under it.
_CLASSES: dict[ErrorCode, tuple[FailureClass, ...]] = {
    ErrorCode.AUTH_REQUIRED: (FailureClass.AUTH_REQUIRED,),
    ErrorCode.PROVIDER_QUOTA: (FailureClass.QUOTA,),
    ErrorCode.TRANSIENT_UPSTREAM: (FailureClass.TRANSIENT, FailureClass.THROTTLED),
    ErrorCode.CREDIT_EXHAUSTED: (FailureClass.CREDIT_EXHAUSTED,),
    ErrorCode.MODEL_NOT_FOUND: (FailureClass.MODEL_NOT_FOUND,),
    ErrorCode.CLAUDE_PROMPT_TOO_LONG: (FailureClass.PROMPT_TOO_LONG,),
    ErrorCode.MAX_BUDGET: (FailureClass.MAX_BUDGET,),
    ErrorCode.MAX_OUTPUT: (FailureClass.MAX_OUTPUT, FailureClass.CONTEXT_WINDOW),
    ErrorCode.REFUSAL: (FailureClass.REFUSAL, FailureClass.CONTENT_FILTER),
    ErrorCode.MAX_TURNS: (FailureClass.MAX_TURNS,),
    ErrorCode.SESSION_UNAVAILABLE: (FailureClass.SESSION_UNAVAILABLE,),
    ErrorCode.POISONED_SESSION: (FailureClass.POISONED_SESSION,),
    ErrorCode.LLM_API_ERROR: (FailureClass.EMPTY_REPLY,),
    ErrorCode.FAILED: (FailureClass.UNTRUSTED_CERTIFICATE, FailureClass.OTHER),
}
_CODES = {failure_class: code for code, classes in _CLASSES.items() for failure_class in classes}
_FAMILIES: dict[ErrorCode, ErrorFamily] = {
    ErrorCode.PROVIDER_QUOTA: "provider_quota",
    ErrorCode.TRANSIENT_UPSTREAM: "transient_upstream",
    ErrorCode.LLM_API_ERROR: "transient_upstream",
    ErrorCode.REFUSAL: "model_refusal",
}
