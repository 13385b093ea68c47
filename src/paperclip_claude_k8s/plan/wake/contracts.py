"""What is asked of the agent on this wake: a heading, and at most one contract.

A chat turn has the chat contract, and a recovery the recovery contract. Any other run has the general
contract, unless it answers in a conversation, or another part of the prompt says how to end the run.
"""

from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.plan.wake.payload import WakePayload
from paperclip_claude_k8s.plan.wake.view import WakeView

_FRESH = (
    "## Paperclip Wake Payload\n\n"
    "This is why you were started; it outranks any general routine. Stay with the issue named here, and "
    "start from what stands below instead of asking the API for it again. Load the comment thread only if a "
    "fallback fetch is said to be needed."
)
_RESUMED = (
    "## Paperclip Resume Delta\n\n"
    "You know this issue from before; this is what is new, and it outranks any general routine. Go on from "
    "where you were, stay with this issue, and load the comment thread only if a fallback fetch is said to "
    "be needed."
)
_ACKNOWLEDGE = "Begin by answering the latest comment: say how it changes what you are going to do."

EXECUTION_CONTRACT = (
    "### How to end this run\n\n"
    "Act now: make real progress on the issue, not only a plan for it. Before you stop, leave the issue in a "
    "status that tells everybody who moves next:\n"
    "- `done`: finished, and checked by you;\n"
    "- `in_review`: finished as far as you can, and somebody named has to look;\n"
    "- `blocked`: you cannot go on; name what is missing and who can bring it;\n"
    "- delegated: sub-issues exist that carry the rest;\n"
    "- `in_progress`: only if something that is already under way will wake you again.\n\n"
    "If writing a status or comment fails twice, stop trying, and put what you wanted to write into your "
    "last message."
)
_CHAT_CONTRACT = (
    "### This is a chat\n\n"
    "Somebody waits for your answer in {provider}. Write the answer itself as your last message, short and "
    "complete: it is delivered for you, so post no comment with the same text. Do quick work at once; for "
    "longer work say what you are going to do. Do not change the issue's status unless you were asked to."
)
_RECOVERY_CONTRACT = (
    "### Recover an earlier run\n\n"
    "{cause} First look at what is there (files, comments, status), then do only what is needed to bring the "
    "issue back to a clear state: finish it, or hand it on with the reason. Repeat no action that already "
    "had its effect."
)
_CAUSES = {
    "process_lost": "The earlier run vanished while it was working, so its last steps may be half done.",
    "successful_run_missing_state": "The earlier run ended well but left the issue without a clear status.",
    "successful_run_missing_issue_disposition": "The earlier run left open what becomes of the issue.",
    "provider_quota": "A usage limit of the model provider stopped the earlier run; it has passed by now.",
    "codex_output_inactivity_monitor": "The earlier run was ended for showing no output for too long.",
    "workspace_validation_failed": "The earlier run could not use its workspace: check that first.",
}
_OTHER_CAUSE = "An earlier run on this issue did not end as it should have."

_CHAT_REASONS = frozenset({"External chat message received", "external_chat_message", "issue_commented"})
_CHAT_WORK_MODES = frozenset({None, "standard", "ask"})


def heading(wake: WakeView) -> str:
    if wake.resumed:
        return _RESUMED
    return f"{_FRESH} {_ACKNOWLEDGE}" if wake.payload.comments else _FRESH


def external_answer(wake: WakeView) -> str:
    """A paragraph for a run that continues because an outside service answered the agent's question."""
    payload = wake.payload
    if not payload.external_interaction_continuation:
        return ""
    if payload.interaction_status not in {"answered", "accepted"}:
        return ""
    return (
        f"The question you were waiting for was {payload.interaction_status}. "
        "Take that as given, do not ask it again, and go on with what depended on it."
    )


def contract(wake: WakeView) -> str:
    payload = wake.payload
    if _is_chat_turn(payload):
        return _CHAT_CONTRACT.format(provider=payload.external_chat_provider)
    if payload.is_recovery:
        cause = as_trimmed((payload.recovery or {}).get("cause")) or ""
        return _RECOVERY_CONTRACT.format(cause=_CAUSES.get(cause, _OTHER_CAUSE))
    applies = not wake.conversation and (wake.resumed or wake.include_execution_contract)
    return EXECUTION_CONTRACT if applies else ""


def _is_chat_turn(payload: WakePayload) -> bool:
    """Whether the wake is a message from an outside chat and nothing else."""
    bound = payload.external_chat_execution_bound or payload.checked_out_by_harness
    if not payload.external_chat_provider or not bound or payload.reason not in _CHAT_REASONS:
        return False
    mode = payload.issue.work_mode if payload.issue else None
    return mode in _CHAT_WORK_MODES and not _asks_for_more(payload)


def _asks_for_more(payload: WakePayload) -> bool:
    """Whether the wake has another reason, which an answer in the chat does not settle."""
    return any(
        (
            payload.recovery,
            payload.execution_stage,
            payload.task_watchdog,
            payload.liveness_continuation,
            payload.active_tree_hold,
            payload.checkbox_selection,
            payload.plan_review_context,
            payload.document_review_context,
            payload.annotation_deltas,
            payload.agent_message,
            payload.skill_test,
        )
    )
