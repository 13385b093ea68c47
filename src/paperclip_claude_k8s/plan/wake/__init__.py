"""Why the agent was woken: the host's wake payload, normalized, and put into words (HOST.md 7.3, 7.4)."""

from paperclip_claude_k8s.plan.wake.payload import normalize_wake_payload, stringify_wake_payload
from paperclip_claude_k8s.plan.wake.wake_prompt import render_wake_prompt
from paperclip_claude_k8s.plan.wake.wake_reasons import (
    is_recovery_wake,
    issue_work_mode,
    select_task_markdown,
)

__all__ = [
    "is_recovery_wake",
    "issue_work_mode",
    "normalize_wake_payload",
    "render_wake_prompt",
    "select_task_markdown",
    "stringify_wake_payload",
]
