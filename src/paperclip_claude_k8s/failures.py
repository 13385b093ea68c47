"""Every way a run can end badly: the codes, what they mean to the host, and one builder per code.

No other module writes an `ErrorCode` or composes a failure's message; `tests/house` keeps it so.
A message says what happened to what, the cluster's own words, and the next step.

    RunFailure                     raised by a room, caught once, in `execute`
    └── Failure                    the value: code, message, what the host may conclude
        ├── before any Job         config, agent id, prompt size, home pod           evidence: bootstrap
        ├── guard and create       blocked, unreachable, orphans, refused            evidence: bootstrap
        ├── never started          not scheduled, image, init                        evidence: bootstrap
        └── the agent may have run disrupted, deleted, timeout, Claude's own ends    evidence: continuation
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from paperclip_claude_k8s.claude.complaints import Classified, Complaint
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.error_codes import ErrorCode
from paperclip_claude_k8s.host.result import ErrorFamily

JsonMap: TypeAlias = dict[str, Any]


Evidence = Literal["bootstrap", "continuation", "interrupted", "none"]
"""What the host may conclude (HOST.md 4.3): nothing ran; it ran; it was stopped cleanly; say nothing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One bad end. `retry_not_before` is an aware UTC time; `meta` holds facts without secrets."""

    code: ErrorCode
    message: str
    evidence: Evidence = "continuation"
    family: ErrorFamily | None = None
    clear_session: bool = False
    retry_not_before: datetime | None = None
    meta: JsonMap = field(default_factory=dict)

    @property
    def keeps_job(self) -> bool:
        """Whatever runs in the cluster is left alone: nobody knows what it does."""
        return self.code == ErrorCode.JOB_STATE_MISMATCH


class RunFailure(Exception):
    """Ends a run from inside a room."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure


def _bootstrap(code: ErrorCode, message: str, *, retryable: bool = False) -> Failure:
    return Failure(code, message, "bootstrap", "transient_upstream" if retryable else None)


def words_of(error: ClusterError) -> str:
    """Status, reason and the cluster's own sentence."""
    status = f"HTTP {error.status} " if error.status else ""
    return f"{status}{error.reason}: {error.message}".strip().removesuffix(":")


# ── before any Job ───────────────────────────────────────────────────────────────────────────────


def config_invalid(why: str) -> Failure:
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"Invalid configuration: {why} — correct it and run again")


def server_too_old(setting: str, least: tuple[int, int], version: tuple[int, int]) -> Failure:
    """An older server would drop the fields it does not know, and the Pod would not be what was asked for."""
    needs, found = (".".join(map(str, numbers)) for numbers in (least, version))
    text = f"Invalid configuration: {setting} needs Kubernetes {needs} or newer, this cluster has {found}"
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"{text} — leave {setting} out, or upgrade the cluster")


def agent_id_invalid(agent_id: str) -> Failure:
    text = f"Agent id {agent_id[:80]!r} has no character that a Kubernetes label can hold"
    return _bootstrap(ErrorCode.AGENT_ID_INVALID, f"{text} — use an id with at least one letter or digit")


def prompt_too_large(size: int, limit: int) -> Failure:
    text = f"The prompt and what goes with it have {size} bytes; the run Secret holds {limit}"
    return _bootstrap(
        ErrorCode.PROMPT_TOO_LARGE,
        f"{text} — mount the shared volume here too (sharedVolumeDir) to have it staged there, or shorten it",
    )


def prompt_not_staged(size: int, why: str) -> Failure:
    text = f"The prompt has {size} bytes, too many for a Secret, and the shared volume refused it: {why}"
    return _bootstrap(ErrorCode.PROMPT_TOO_LARGE, f"{text} — let this account write to it, or shorten it")


def remote_target(transport: str) -> Failure:
    text = (
        f"Invalid configuration: the agent's environment is remote ({transport}), but this adapter runs Jobs"
    )
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"{text} — choose the local environment for this agent")


def init_needs_version(least: tuple[int, int], version: tuple[int, int]) -> Failure:
    """An older server replaces a Pod that is being deleted; only a run Secret holds the new one back."""
    needs, found = (".".join(map(str, numbers)) for numbers in (least, version))
    text = f"promptDelivery init needs Kubernetes {needs} or newer, this cluster has {found}"
    why = "an older one starts a second Pod while the agent of a deleted one still works"
    step = "use promptDelivery secret and let this account create Secrets, or upgrade the cluster"
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"Invalid configuration: {text}: {why} — {step}")


def init_needs_leases() -> Failure:
    """Without its Secret nothing holds a Pod back while two hosts find out which of them works."""
    text = "Invalid configuration: promptDelivery init needs Leases, which this account may not use"
    step = "allow them (`claude-k8s rbac` prints the Role), or use promptDelivery secret"
    return _bootstrap(ErrorCode.CONFIG_INVALID, f"{text} — {step}")


def home_pod_unavailable(which: str, why: str, error: ClusterError | None = None) -> Failure:
    """`error`: of the call that should have read it; an API server that is out of reach may come back."""
    retryable = error is not None and error.may_succeed_later
    text = f"The home pod {which} could not be read: {why}"
    return _bootstrap(
        ErrorCode.HOME_POD_UNAVAILABLE, f"{text} — {_home_pod_step(error)}", retryable=retryable
    )


def _home_pod_step(error: ClusterError | None) -> str:
    if error is not None and error.may_succeed_later:
        return "no Job was created; check the API server, and run again once it answers"
    if error is not None and error.unauthorized:
        return "renew the credentials of this process: the API server does not accept them"
    inherits = "Jobs inherit image, volume and env from it; set `image` (and `namespace`), or "
    if error is not None and error.lacks_right:
        return f"{inherits}give the service account the right to get pods (`claude-k8s rbac` prints the Role)"
    return f"{inherits}run in the cluster with HOSTNAME and the right to get pods"


# ── guard and create ─────────────────────────────────────────────────────────────────────────────


def guard_unreachable(error: ClusterError) -> Failure:
    text = f"Concurrency guard unreachable: {words_of(error)}"
    step = "check the API server and the right to list jobs"
    if error.exceeds_quota:
        step = "free some of the namespace's quota, or have it raised"
    return _bootstrap(ErrorCode.GUARD_UNREACHABLE, f"{text} — no Job was created; {step}", retryable=True)


def run_blocked(jobs: str, why: str = "is still running for this agent") -> Failure:
    text = f"Concurrent run blocked: Job {jobs} {why}"
    step = "wait for it, cancel its run, or set concurrencyWaitSec"
    return _bootstrap(ErrorCode.RUN_BLOCKED, f"{text} — {step}", retryable=True)


def pods_remain(pods: str) -> Failure:
    """Pods of Jobs that are deleted or were answered, in which an agent may still work."""
    text = f"Concurrent run blocked: Pod {pods} of an earlier run of this agent has not ended"
    step = "wait for it, raise terminatingWaitSec, or, once its node is surely down, delete it by force"
    return _bootstrap(ErrorCode.RUN_BLOCKED, f"{text} — {step}", retryable=True)


def slot_held(run: str, job: str = "") -> Failure:
    """`job`: the run's Job, where it is known."""
    who = f"{f'Job {job} of ' if job else ''}run {run or '(unknown)'}"
    text = f"Concurrent run blocked: {who} is still running for this agent"
    step = "wait for it, cancel it, or set concurrencyWaitSec"
    return _bootstrap(ErrorCode.RUN_BLOCKED, f"{text} — {step}", retryable=True)


def slot_may_clear(failure: Failure) -> bool:
    """Whether waiting may help: a run that works ends, a Job nobody understands stays."""
    return failure.code == ErrorCode.RUN_BLOCKED


def orphan_task_unknown(job: str) -> Failure:
    text = f"Concurrent run blocked: orphaned Job {job} still runs and its task is unknown"
    return _bootstrap(
        ErrorCode.ORPHAN_TASK_UNKNOWN, f"{text} — let it end, or delete it if nobody needs its work"
    )


def orphan_session_mismatch(job: str, theirs: str, ours: str) -> Failure:
    text = f"Concurrent run blocked: orphaned Job {job} works in session {theirs}, this run wants {ours}"
    return _bootstrap(ErrorCode.ORPHAN_SESSION_MISMATCH, f"{text} — let it end, or delete it")


def job_create_failed(name: str, error: ClusterError) -> Failure:
    text = f"Failed to create Kubernetes Job: {words_of(error)}"
    return _bootstrap(
        ErrorCode.JOB_CREATE_FAILED,
        f"{text} — Job {name} was refused; {refusal_step(error)}",
        retryable=error.may_succeed_later,
    )


def secret_create_failed(name: str, error: ClusterError) -> Failure:
    text = f"Failed to create prompt Secret: {words_of(error)}"
    step = f"Job {name} was taken back; {refusal_step(error)}"
    return _bootstrap(ErrorCode.SECRET_CREATE_FAILED, f"{text} — {step}", retryable=error.may_succeed_later)


_POLICY_WORDS = ("admission webhook", "ValidatingAdmissionPolicy", "violates PodSecurity")
"""How a refusal by a policy begins: it has status 403 as well, and no right heals it."""


def refusal_step(error: ClusterError) -> str:
    """What to do about an object that the API server did not take."""
    if error.exceeds_quota:
        return "free some of the namespace's quota or lower `resources`"
    if any(words in error.message for words in _POLICY_WORDS):
        return "change what the policy objects to, or ask whoever keeps it"
    if error.forbidden:
        return "give the service account the right named above (`claude-k8s rbac` prints the Role)"
    if error.status == 400 or error.invalid:
        return "correct the setting behind the named field"
    return "the API server may accept it later"


def lease_step(error: ClusterError) -> str:
    """What to do about Leases that the API server did not take."""
    if error.exceeds_quota:
        return "free some of the namespace's quota on Leases, or have it raised"
    if error.lacks_right:
        return "`claude-k8s rbac` prints the Role that allows them"
    if error.forbidden:
        return refusal_step(error)
    return "this API server, or the namespace, has none"


# ── never started ────────────────────────────────────────────────────────────────────────────────


def pod_schedule_failed(why: str, *, retryable: bool) -> Failure:
    step = "the cluster may get over it" if retryable else "correct what is named, then run again"
    return _bootstrap(
        ErrorCode.POD_SCHEDULE_FAILED, f"Pod scheduling failed: {why} — {step}", retryable=retryable
    )


def pod_reattach_failed(why: str, *, retryable: bool = False) -> Failure:
    text = f"Pod reattach failed: {why} — the adopted Job may have done work; look at it first"
    return Failure(ErrorCode.POD_REATTACH_FAILED, text, family="transient_upstream" if retryable else None)


def adoption_failed(job: str, error: ClusterError) -> Failure:
    """A Job that works could not be made ours, and was left alone."""
    why = f"Job {job} cannot be relabelled: {error}"
    if not error.may_succeed_later:
        return pod_reattach_failed(why)
    text = f"Pod reattach failed: {why} — the Job was left alone, and the next run adopts it"
    return Failure(ErrorCode.POD_REATTACH_FAILED, text, family="transient_upstream")


def of_adopted(failure: Failure) -> Failure:
    """The same of a Job that was adopted: it may have done work, so nobody may start over unasked."""
    if failure.code != ErrorCode.POD_SCHEDULE_FAILED:
        return failure
    why = failure.message.removeprefix("Pod scheduling failed: ").partition(" — ")[0]
    return pod_reattach_failed(why, retryable=failure.family is not None)


# ── the agent may have run ───────────────────────────────────────────────────────────────────────


_AFTER_DISRUPTION: dict[bool | None, str] = {
    True: "its session can be resumed",
    False: "the agent had not started, so nothing is lost",
    None: "whether its agent had started is not known; its session can be resumed",
}


def pod_disrupted(pod: str, reason: str, words: str, *, started: bool | None) -> Failure:
    """`started`: whether the agent's container began; None where that was not seen and is not disproven."""
    said = f": {words}" if words else ""
    return Failure(
        ErrorCode.POD_DISRUPTED,
        f"Pod {pod} was disrupted ({reason}){said} — {_AFTER_DISRUPTION[started]}",
        "bootstrap" if started is False else "continuation",
        "transient_upstream",
    )


def may_have_worked(failure: Failure) -> Failure:
    """The same where it is not proven that the agent did nothing: nobody may start over unasked."""
    if failure.evidence != "bootstrap":
        return failure
    message = failure.message.replace(_AFTER_DISRUPTION[False], _AFTER_DISRUPTION[None])
    if message == failure.message:
        message = f"{message}; whether its agent had started is not known"
    return replace(failure, message=message, evidence="continuation")


def run_taken_over(job: str) -> Failure:
    """Another host process held this one for dead and answers the run; two answers would be counted twice."""
    text = f"Job {job} was taken over by another host process while this one could not be heard of"
    return Failure(ErrorCode.RUN_TAKEN_OVER, f"{text} — the other process gives this run's result", "none")


def job_deleted_externally(facts: str) -> Failure:
    text = f"K8s Job was deleted externally before Claude could complete [{facts}]"
    return Failure(
        ErrorCode.JOB_DELETED_EXTERNALLY,
        f"{text} — look for who deletes Jobs there; the session can be resumed",
    )


def job_gone(job: str) -> Failure:
    """The run's own Job is not there any more, and what it did is not known here."""
    return Failure(
        ErrorCode.JOB_DELETED_EXTERNALLY,
        f"Job {job} of this run existed and is gone, and its result was not taken"
        " — it was deleted, or its TTL removed it; start a new run",
    )


def job_state_mismatch(job: str, why: str) -> Failure:
    text = f"Job {job} did not complete cleanly ({why}) — it was left alone for the next run to adopt"
    return Failure(ErrorCode.JOB_STATE_MISMATCH, text)


def log_limit_exceeded(limit: str) -> Failure:
    text = f"The agent printed more than logSizeLimit {limit} and was ended"
    return Failure(ErrorCode.LOG_LIMIT_EXCEEDED, f"{text} — find out why, or raise logSizeLimit")


def timeout(seconds: float) -> Failure:
    step = "raise timeoutSec, or give the agent less to do at once; its session can be resumed"
    return Failure(ErrorCode.TIMEOUT, f"Timed out after {seconds:g}s — {step}")


def cancelled(*, proven: bool) -> Failure:
    return Failure(ErrorCode.CANCELLED, "Run cancelled", "interrupted" if proven else "continuation")


# ── Claude's own ends ────────────────────────────────────────────────────────────────────────────


def empty_reply(message: str) -> Failure:
    return Failure(ErrorCode.LLM_API_ERROR, message, family="transient_upstream")


def truncated(message: str) -> Failure:
    return Failure(ErrorCode.TRUNCATED, message, family="transient_upstream")


def init_failed(message: str) -> Failure:
    return Failure(ErrorCode.INIT_FAILED, message)


def no_result(message: str) -> Failure:
    return Failure(ErrorCode.NO_RESULT, message)


def complained(said: Classified, message: str, *, resumed: bool = False) -> Failure:
    """A result that is no success: what the CLI complains of decides code, family and next step.

    `resumed`: the run went on with an earlier session. One that has become too long is too long for ever.
    """
    code, step = _COMPLAINTS[said.complaint]
    outgrown = resumed and said.complaint is Complaint.PROMPT_TOO_LONG
    if outgrown:
        step = "the session cannot be resumed any more; the next run starts a fresh one"
    return Failure(
        code,
        f"{message} — {step}",
        "none" if said.complaint is Complaint.MAX_TURNS else "continuation",
        _FAMILIES.get(said.complaint),
        clear_session=outgrown or said.complaint in _SESSION_LOST,
        retry_not_before=said.retry_at,
        meta={"loginUrl": said.login_url} if said.login_url else {},
    )


_COMPLAINTS: dict[Complaint, tuple[ErrorCode, str]] = {
    Complaint.AUTH_REQUIRED: (ErrorCode.AUTH_REQUIRED, "renew the agent's credentials"),
    Complaint.QUOTA: (ErrorCode.PROVIDER_QUOTA, "wait until the limit resets, or use another account"),
    Complaint.TRANSIENT: (ErrorCode.TRANSIENT_UPSTREAM, "try again in a while"),
    Complaint.CREDIT_EXHAUSTED: (ErrorCode.CREDIT_EXHAUSTED, "add credit to the API account"),
    Complaint.MODEL_NOT_FOUND: (ErrorCode.MODEL_NOT_FOUND, "correct `model`, or ask for access to it"),
    Complaint.PROMPT_TOO_LONG: (ErrorCode.CLAUDE_PROMPT_TOO_LONG, "start a fresh session or send less"),
    Complaint.MAX_BUDGET: (ErrorCode.MAX_BUDGET, "raise the budget given in extraArgs"),
    Complaint.MAX_OUTPUT: (ErrorCode.MAX_OUTPUT, "ask for less at once"),
    Complaint.REFUSAL: (ErrorCode.REFUSAL, "rephrase the task"),
    Complaint.MAX_TURNS: (
        ErrorCode.MAX_TURNS,
        "the host continues it; raise maxTurnsPerRun for more at once",
    ),
    Complaint.SESSION_UNAVAILABLE: (ErrorCode.SESSION_UNAVAILABLE, "the next run starts a fresh session"),
    Complaint.POISONED_SESSION: (ErrorCode.POISONED_SESSION, "the next run starts a fresh session"),
    Complaint.EMPTY_REPLY: (ErrorCode.LLM_API_ERROR, "try again; look at the model's gateway if it stays so"),
    Complaint.OTHER: (ErrorCode.FAILED, "the output holds more"),
}
_FAMILIES: dict[Complaint, ErrorFamily] = {
    Complaint.QUOTA: "provider_quota",
    Complaint.TRANSIENT: "transient_upstream",
    Complaint.EMPTY_REPLY: "transient_upstream",
    Complaint.REFUSAL: "model_refusal",
}
_SESSION_LOST = frozenset({Complaint.SESSION_UNAVAILABLE, Complaint.POISONED_SESSION})
