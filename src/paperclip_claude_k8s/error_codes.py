"""The codes by which hosts and operators know how a run failed, and what each of them means.

`failures` builds the values that carry a code. `ERROR_REFERENCE` is the source of `docs/errors.md`; a test
compares it with what the builders of `failures` really return.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from paperclip_claude_k8s.host.result import ErrorFamily

Evidence: TypeAlias = Literal["bootstrap", "continuation", "interrupted", "none"]
"""What the host may conclude: the agent did not run; it may have run; it was stopped cleanly; nothing."""


class ErrorCode(StrEnum):
    """The values are interface: hosts and operators match them."""

    CONFIG_INVALID = "k8s_config_invalid"
    AGENT_ID_INVALID = "k8s_agent_id_invalid"
    PROMPT_TOO_LARGE = "k8s_prompt_too_large"
    HOME_POD_UNAVAILABLE = "k8s_home_pod_unavailable"
    GUARD_UNREACHABLE = "k8s_concurrency_guard_unreachable"
    RUN_BLOCKED = "k8s_concurrent_run_blocked"
    ORPHAN_TASK_UNKNOWN = "k8s_orphan_task_unknown"
    ORPHAN_SESSION_MISMATCH = "k8s_orphan_session_mismatch"
    JOB_CREATE_FAILED = "k8s_job_create_failed"
    SECRET_CREATE_FAILED = "k8s_prompt_secret_create_failed"  # noqa: S105  # a code, not a password
    POD_SCHEDULE_FAILED = "k8s_pod_schedule_failed"
    POD_REATTACH_FAILED = "k8s_pod_reattach_failed"
    POD_DISRUPTED = "k8s_pod_disrupted"
    JOB_DELETED_EXTERNALLY = "k8s_job_deleted_externally"
    RUN_TAKEN_OVER = "k8s_run_taken_over"
    JOB_STATE_MISMATCH = "k8s_job_state_mismatch"
    LOG_LIMIT_EXCEEDED = "k8s_log_limit_exceeded"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    AUTH_REQUIRED = "claude_auth_required"
    PROVIDER_QUOTA = "provider_quota"
    TRANSIENT_UPSTREAM = "claude_transient_upstream"
    CREDIT_EXHAUSTED = "claude_credit_exhausted"
    MODEL_NOT_FOUND = "model_not_found"
    CLAUDE_PROMPT_TOO_LONG = "claude_prompt_too_long"
    MAX_BUDGET = "claude_max_budget"
    MAX_OUTPUT = "claude_max_output"
    REFUSAL = "claude_refusal"
    MAX_TURNS = "max_turns_exhausted"
    SESSION_UNAVAILABLE = "session_unavailable"
    POISONED_SESSION = "claude_poisoned_previous_message_id"
    LLM_API_ERROR = "llm_api_error"
    TRUNCATED = "claude_truncated"
    INIT_FAILED = "claude_init_failed"
    NO_RESULT = "claude_no_result"
    FAILED = "claude_failed"


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """One code, for the reference.

    Where a code is built in several situations, `families`, `evidence` and `clears_session` list all values
    that occur, and `retry_if` the condition under which the host retries.
    """

    happened: str
    action: str
    evidence: tuple[Evidence, ...] = ("continuation",)
    families: tuple[ErrorFamily | None, ...] = (None,)
    retry_if: str = ""
    clears_session: tuple[bool, ...] = (False,)
    session: str = ""
    """What happens to the session, if that does not follow from the other fields."""


_RETRIED: tuple[ErrorFamily | None, ...] = ("transient_upstream",)
_MAYBE_RETRIED: tuple[ErrorFamily | None, ...] = (None, "transient_upstream")
_API_TROUBLE = "the API server did not answer, was overloaded, or reported a conflict or an exhausted quota"

ERROR_REFERENCE: Mapping[ErrorCode, ErrorDescription] = {
    ErrorCode.CONFIG_INVALID: ErrorDescription(
        "The context or a setting cannot be used: it has a wrong type or value, needs a newer Kubernetes or "
        "Leases that the account may not use, or asks for a remote environment.",
        "Correct the setting that the message names.",
        ("bootstrap",),
    ),
    ErrorCode.AGENT_ID_INVALID: ErrorDescription(
        "The agent's id has no character that is allowed in a Kubernetes label.",
        "Give the agent an id with at least one letter or digit.",
        ("bootstrap",),
    ),
    ErrorCode.PROMPT_TOO_LARGE: ErrorDescription(
        "The prompt and its attachments do not fit into the run Secret, and they could not be written to the "
        "shared volume instead.",
        "Mount the shared volume on the host too (`sharedVolumeDir`), let the host's account write to it, or "
        "shorten the prompt.",
        ("bootstrap",),
    ),
    ErrorCode.HOME_POD_UNAVAILABLE: ErrorDescription(
        "The host's own Pod, from which Jobs inherit image, volume and environment, cannot be found or read.",
        "Set `image`, or let the service account read its own Pod. If the API server was away, run the agent "
        "again once it answers.",
        ("bootstrap",),
        _MAYBE_RETRIED,
        _API_TROUBLE,
    ),
    ErrorCode.GUARD_UNREACHABLE: ErrorDescription(
        "Jobs, Pods or Leases could not be read, so another run of the same slot cannot be excluded. "
        "No Job was created.",
        "Check the API server and the right to list Jobs.",
        ("bootstrap",),
        _RETRIED,
    ),
    ErrorCode.RUN_BLOCKED: ErrorDescription(
        "Another run occupies the slot: its Job is running, its Pod has not ended, or it holds the lock.",
        "Wait for the named Job, cancel its run, or set `concurrencyWaitSec`.",
        ("bootstrap",),
        _RETRIED,
    ),
    ErrorCode.ORPHAN_TASK_UNKNOWN: ErrorDescription(
        "A running Job of the slot has no living host process. It cannot be adopted, because it or this run "
        "has no task id.",
        "Inspect the named Job. Let it end, or delete it if its work is not needed.",
        ("bootstrap",),
    ),
    ErrorCode.ORPHAN_SESSION_MISMATCH: ErrorDescription(
        "A running Job of the same task has no living host process, and it resumes another session than this "
        "run needs.",
        "Let the named Job end, or delete it.",
        ("bootstrap",),
    ),
    ErrorCode.JOB_CREATE_FAILED: ErrorDescription(
        "The API server did not accept the Job: quota, admission policy, missing right, or invalid field.",
        "Follow the API server's sentence in the message.",
        ("bootstrap",),
        _MAYBE_RETRIED,
        _API_TROUBLE,
    ),
    ErrorCode.SECRET_CREATE_FAILED: ErrorDescription(
        "The API server did not accept the run Secret. The Job was deleted again.",
        "Follow the API server's sentence in the message; the right to create Secrets is needed.",
        ("bootstrap",),
        _MAYBE_RETRIED,
        _API_TROUBLE,
    ),
    ErrorCode.POD_SCHEDULE_FAILED: ErrorDescription(
        "The agent's container did not start: no node fits, the image cannot be pulled, a volume cannot be "
        "mounted, an init container failed, or a waiting budget is spent.",
        "Read the Pod's conditions and Events in the message: resources, image, volume, init container.",
        ("bootstrap", "continuation"),
        _MAYBE_RETRIED,
        "the same Pod may start later, for example because a waiting budget was spent",
    ),
    ErrorCode.POD_REATTACH_FAILED: ErrorDescription(
        "An adopted Job has no Pod whose log or result can be read, or could not be labelled as this run's.",
        "Inspect the Job; delete it if its work is not needed.",
        families=_MAYBE_RETRIED,
        retry_if="the Job was left alone, or its Pod may still start",
    ),
    ErrorCode.POD_DISRUPTED: ErrorDescription(
        "The Pod was evicted, preempted, deleted, drained or suspended, or its node was lost.",
        "Nothing, unless it recurs: then look at the reason in the message.",
        ("bootstrap", "continuation"),
        _RETRIED,
    ),
    ErrorCode.JOB_DELETED_EXTERNALLY: ErrorDescription(
        "Something other than this adapter deleted the Job before Claude could complete, or before its "
        "result was collected.",
        "Find out what deletes Jobs in this namespace. The message lists what was seen last.",
    ),
    ErrorCode.RUN_TAKEN_OVER: ErrorDescription(
        "Another host process considered this one dead and adopted its Job; it reports the run's result.",
        "Find out why this host process did not renew its Lease: it stalled or had no connection.",
        ("none",),
        session="as the other process reports it",
    ),
    ErrorCode.JOB_STATE_MISMATCH: ErrorDescription(
        "The end of the run could not be observed. The Job was left in the cluster.",
        "Inspect the Job; the next run of the slot adopts it.",
    ),
    ErrorCode.LOG_LIMIT_EXCEEDED: ErrorDescription(
        "The agent printed more than `logSizeLimit` and was stopped.",
        "Find out why the agent prints so much, or raise `logSizeLimit`.",
    ),
    ErrorCode.TIMEOUT: ErrorDescription(
        "The agent was stopped because `timeoutSec` was over.",
        "Raise `timeoutSec`, or give the agent less to do at once.",
    ),
    ErrorCode.CANCELLED: ErrorDescription(
        "The host cancelled the run, and the agent was stopped.",
        "Nothing.",
        ("interrupted", "continuation"),
    ),
    ErrorCode.AUTH_REQUIRED: ErrorDescription(
        "The model API or the CLI rejected the agent's credentials.",
        "Renew the credentials. `errorMeta.loginUrl` holds the login address if Claude printed one.",
    ),
    ErrorCode.PROVIDER_QUOTA: ErrorDescription(
        "The account's usage limit is reached.",
        "Wait until the limit resets (`retryNotBefore`), or use another account.",
        families=("provider_quota",),
    ),
    ErrorCode.TRANSIENT_UPSTREAM: ErrorDescription(
        "The model API was overloaded, rate-limited the agent, or could not be reached.",
        "Nothing, unless it recurs.",
        families=_RETRIED,
    ),
    ErrorCode.CREDIT_EXHAUSTED: ErrorDescription(
        "The API account has no credit left.", "Add credit to the API account."
    ),
    ErrorCode.MODEL_NOT_FOUND: ErrorDescription(
        "The model does not exist, or the account has no access to it.",
        "Correct `model`, or request access to it.",
    ),
    ErrorCode.CLAUDE_PROMPT_TOO_LONG: ErrorDescription(
        "The request exceeds the model's context window. A run that resumed a session was already "
        "repeated with a fresh one.",
        "Start a fresh session, or send less.",
        clears_session=(False, True),
        session="cleared if the run resumed it, else kept",
    ),
    ErrorCode.MAX_BUDGET: ErrorDescription(
        "The run reached the budget given in `extraArgs`.", "Raise the budget given in `extraArgs`."
    ),
    ErrorCode.MAX_OUTPUT: ErrorDescription(
        "One answer exceeded the limit of output tokens.",
        "Ask for less at once, or set `CLAUDE_CODE_MAX_OUTPUT_TOKENS`.",
    ),
    ErrorCode.REFUSAL: ErrorDescription(
        "The model refused to answer.", "Rephrase the task.", families=("model_refusal",)
    ),
    ErrorCode.MAX_TURNS: ErrorDescription(
        "The run reached `maxTurnsPerRun`.",
        "Nothing: the host continues the run. Raise `maxTurnsPerRun` to allow more turns at once.",
        ("none",),
    ),
    ErrorCode.SESSION_UNAVAILABLE: ErrorDescription(
        "Claude could not resume the session. A run that resumed one was already repeated with a fresh one.",
        "Nothing: the next run starts a fresh session.",
        clears_session=(True,),
    ),
    ErrorCode.POISONED_SESSION: ErrorDescription(
        "The model API rejects the content of the session. A run that resumed one was already repeated "
        "with a fresh one.",
        "Nothing: the next run starts a fresh session.",
        clears_session=(True,),
    ),
    ErrorCode.LLM_API_ERROR: ErrorDescription(
        "The model answered without content.",
        "Check the model's gateway if it happens again.",
        families=_RETRIED,
    ),
    ErrorCode.TRUNCATED: ErrorDescription(
        "The output stops in the middle of an answer. The message says how the container ended.",
        "Look at the exit code and its reason; exit code 137 usually means that the memory limit is too low.",
        families=_RETRIED,
    ),
    ErrorCode.INIT_FAILED: ErrorDescription(
        "Claude exited after it had started, before its first answer and without an error text.",
        "Check credentials, model name and the version of the CLI.",
    ),
    ErrorCode.NO_RESULT: ErrorDescription(
        "Claude exited without a result.",
        "Read the output in `resultJson.stdout` and `resultJson.stderr`.",
    ),
    ErrorCode.FAILED: ErrorDescription(
        "Claude's result reports an error that no other code describes.",
        "Read Claude's own sentence in the message.",
    ),
}

ERROR_GROUPS: Mapping[ErrorCode, str] = {
    ErrorCode.CONFIG_INVALID: "Before any Job",
    ErrorCode.GUARD_UNREACHABLE: "Slot, Job and run Secret",
    ErrorCode.POD_SCHEDULE_FAILED: "The agent did not start",
    ErrorCode.POD_REATTACH_FAILED: "The agent may have run",
    ErrorCode.AUTH_REQUIRED: "Claude's own errors",
}
"""Headings of the reference, each before the code with which its group begins."""
