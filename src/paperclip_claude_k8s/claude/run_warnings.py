"""Warnings about a run: reasons to distrust a successful result, or its tokens and cost.

The host receives a warning as one text, `code: sentence`, in `resultJson.warnings`. The package's
`docs/host-protocol.md` lists the codes.
"""

from dataclasses import dataclass
from enum import StrEnum, auto


class WarningCode(StrEnum):
    """The first part of a warning, meant for programs. The sentence after it is meant for people."""

    # ── what the CLI reported ──
    BACKGROUND_TASK_STOPPED = auto()
    BACKGROUND_TASK_UNFINISHED = auto()
    HOOK_STOPPED_RUN = auto()
    MCP_SERVER_UNAVAILABLE = auto()
    MODEL_CHANGED = auto()
    MODEL_UNKNOWN = auto()
    PERMISSION_DENIED = auto()
    PROMPT_WAS_COMMAND = auto()
    RESULT_EMPTY = auto()
    RESULT_SUBTYPE = auto()
    RESULT_TOO_LARGE = auto()
    RESULT_TRUNCATED = auto()
    SESSION_NOT_KEPT = auto()  # the session is deleted with its Pod
    SESSION_NOT_RESUMED = auto()
    SESSION_NOT_SAVED = auto()  # the CLI could not write the session
    STRUCTURED_OUTPUT_TOO_LARGE = auto()
    # ── usage ──
    COST_UNKNOWN = auto()
    USAGE_PARTIAL = auto()
    # ── how the run ended ──
    AGENT_STOPPED = auto()
    EXIT_CODE = auto()
    LOG_LIMIT = auto()
    RESULT_FROM_RELAY = auto()
    RESULT_OVERTAKEN = auto()  # the CLI continued after its last result
    WORKSPACE_NOT_CLONED = auto()
    WORKSPACE_NOT_PUSHED = auto()
    WORKSPACE_NOT_RETURNED = auto()
    # ── the log ──
    ADAPTER_BUG = auto()
    FOREIGN_OUTPUT = auto()
    HOST_LOG_INCOMPLETE = auto()
    LOG_COPY_UNUSABLE = auto()
    LOG_UNREADABLE = auto()
    OUTPUT_UNPROVEN = auto()


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A code, and a sentence without a full stop."""

    code: WarningCode
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"
