"""The codes by which hosts and people recognise how a run failed.

`failures` builds the values that carry a code; `docs/errors.toml` describes each code for people.
"""

from enum import StrEnum
from typing import Literal, TypeAlias

Evidence: TypeAlias = Literal["bootstrap", "continuation", "interrupted"]
"""What the host may conclude. `bootstrap`: the agent did not run. `continuation`: it may have run.
`interrupted`: it was stopped cleanly."""


class ErrorCode(StrEnum):
    """The values are part of the interface: hosts and monitoring match them."""

    CONFIG_INVALID = "k8s_config_invalid"
    POLICY_REFUSED = "k8s_policy_refused"
    AGENT_ID_INVALID = "k8s_agent_id_invalid"
    PROMPT_TOO_LARGE = "k8s_prompt_too_large"
    HOME_POD_UNAVAILABLE = "k8s_home_pod_unavailable"
    WORKSPACE_UNAVAILABLE = "k8s_workspace_unavailable"
    GUARD_UNREACHABLE = "k8s_concurrency_guard_unreachable"
    RUN_BLOCKED = "k8s_concurrent_run_blocked"
    ORPHAN_TASK_UNKNOWN = "k8s_orphan_task_unknown"
    ORPHAN_SESSION_MISMATCH = "k8s_orphan_session_mismatch"
    JOB_CREATE_FAILED = "k8s_job_create_failed"
    SECRET_CREATE_FAILED = "k8s_prompt_secret_create_failed"  # noqa: S105  # a code, not a password
    POD_SCHEDULE_FAILED = "k8s_pod_schedule_failed"
    SESSION_VOLUME_UNAVAILABLE = "k8s_session_volume_unavailable"
    FILES_CHANGED = "k8s_files_changed"
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
    MAX_TURNS_AGAIN = "claude_max_turns"
    SESSION_UNAVAILABLE = "session_unavailable"
    POISONED_SESSION = "claude_poisoned_previous_message_id"
    LLM_API_ERROR = "llm_api_error"
    TRUNCATED = "claude_truncated"
    INIT_FAILED = "claude_init_failed"
    NO_RESULT = "claude_no_result"
    FAILED = "claude_failed"
