"""What a wake asks for, as far as texts are chosen by it."""

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.tolerant_readers import as_label, as_object, as_text
from paperclip_claude_k8s.plan.wake.payload import normalize_wake_payload

_ASSIGNMENT_SHAPED = frozenset(
    {
        "issue_assigned",
        "issue_reopened_via_comment",
        "issue_recovery_action_restored",
        "issue_tree_restored",
    }
)
_RECOVERY = "source_scoped_recovery_action"


def is_assignment_shaped(reason: object) -> bool:
    """Does the wake hand over the whole task, so that a resumed session must be told all of it again?"""
    return reason in _ASSIGNMENT_SHAPED if isinstance(reason, str) else False


def is_recovery_wake(wake: object) -> bool:
    """Is this run about an earlier one that went wrong?"""
    given = as_object(wake)
    return bool(as_object(given.get("recovery"))) or as_label(given.get("reason")) == _RECOVERY


def issue_work_mode(context: JsonMap) -> str | None:
    """`standard`, `planning`, `ask` …: from the issue, else from the wake's issue."""
    wake_issue = as_object(as_object(context.get("paperclipWake")).get("issue"))
    return as_label(as_object(context.get("paperclipIssue")).get("workMode")) or as_label(
        wake_issue.get("workMode")
    )


def select_task_markdown(context: JsonMap, *, resumed: bool) -> str:
    """The task's full text, or on a resumed session its compact form, where the session knows the task."""
    full = as_text(context.get("paperclipTaskMarkdown"))
    wake = normalize_wake_payload(context.get("paperclipWake"))
    if not full.strip():
        return ""
    if not resumed or wake is None or is_recovery_wake(wake) or is_assignment_shaped(wake["reason"]):
        return full
    compact = as_text(context.get("paperclipTaskMarkdownCompact"))
    return compact if compact.strip() else full
