"""Any JSON → the wake payload every reader can rely on, or None where it says nothing."""

import re
from collections.abc import Callable, Mapping

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.templates import compact_json
from paperclip_claude_k8s.plan.tolerant_readers import (
    as_flag,
    as_label,
    as_labels,
    as_number,
    as_object,
    as_objects,
)

_SUMMARY_CHARS = 12_000
_BRANCH_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTINUATION_VERSION = 1


def normalize_wake_payload(value: object) -> JsonMap | None:
    """Ids and names trimmed, empty ones None, bodies as they are. Never raises; idempotent."""
    given = as_object(value)
    if not given:
        return None
    payload: JsonMap = {name: read(given.get(name)) for name, read in _READERS.items()}
    payload |= _comment_counts(given, payload)
    return payload if any(payload[name] for name in _TELLING) else None


def stringify_wake_payload(value: object, *, omit_issue_description: bool = False) -> str | None:
    """Compact JSON of the normalized payload, or None where there is none."""
    payload = normalize_wake_payload(value)
    if payload is None:
        return None
    if omit_issue_description and payload["issue"]:
        payload["issue"] = {**payload["issue"], "description": None}
    return compact_json(payload)


def _some(value: object) -> object:
    """Whatever says something, as it is: the shape of these is the host's business."""
    if isinstance(value, str):
        return value if value.strip() else None
    return value or None


def _facts(value: object) -> JsonMap | None:
    return as_object(value) or None


def _flag(value: object) -> bool:
    return as_flag(value)


def _body(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _continuation(value: object) -> JsonMap | None:
    envelope = as_object(value)
    return envelope if envelope.get("version") == _CONTINUATION_VERSION else None


def _issue(value: object) -> JsonMap | None:
    given = as_object(value)
    issue: JsonMap = {name: as_label(given.get(name)) for name in ("id", "identifier", "title")}
    if not any(issue.values()):
        return None
    return {
        **issue,
        "description": _body(given.get("description")),
        "descriptionTruncated": as_flag(given.get("descriptionTruncated")),
        **{name: as_label(given.get(name)) for name in ("status", "workMode", "priority")},
    }


def _workspace(value: object) -> JsonMap | None:
    """A branch name becomes part of a sentence: one line, of bearable length."""
    branch = as_label(as_object(value).get("branchName"))
    shown = as_label(_CONTROL.sub("", branch)[:_BRANCH_CHARS]) if branch else None
    return {"branchName": shown} if shown else None


def _answer(value: object) -> JsonMap | None:
    answer = as_object(value)
    summary = answer.get("summary")
    return {**answer, "summary": summary[:_SUMMARY_CHARS]} if isinstance(summary, str) else answer or None


def _comments(value: object) -> list[JsonMap]:
    return [comment for given in as_objects(value) if (comment := _comment(given))["body"]]


def _comment(given: JsonMap) -> JsonMap:
    author = as_object(given.get("author"))
    return {
        "id": as_label(given.get("id")),
        "issueId": as_label(given.get("issueId")),
        "body": _body(given.get("body")),
        "bodyTruncated": as_flag(given.get("bodyTruncated")),
        "createdAt": as_label(given.get("createdAt")),
        "authorType": as_label(author.get("type")) or as_label(given.get("authorType")),
        "authorId": as_label(author.get("id")) or as_label(given.get("authorId")),
    }


def _comment_counts(given: JsonMap, payload: JsonMap) -> JsonMap:
    """How many comments there were, nested in `commentWindow` or flat; never negative."""
    window = as_object(given.get("commentWindow"))
    included = len(payload["comments"])
    defaults = {
        "requestedCount": included or len(payload["commentIds"]),
        "includedCount": included,
        "missingCount": 0,
    }
    return {
        name: max(0, int(as_number(window.get(name), as_number(given.get(name), default))))
        for name, default in defaults.items()
    }


_READERS: Mapping[str, Callable[[object], object]] = {
    "reason": as_label,
    "executionContinuation": _continuation,
    "recovery": _facts,
    "issue": _issue,
    "checkedOutByHarness": _flag,
    "externalChatExecutionBound": _flag,
    "externalChatProvider": as_label,
    "externalChatQuestionResponse": _some,
    "skillTest": _some,
    "simplifiedEnglishInteractions": _flag,
    "dependencyBlockedInteraction": _flag,
    "treeHoldInteraction": _flag,
    "activeTreeHold": _facts,
    "unresolvedBlockerIssueIds": as_labels,
    "unresolvedBlockerSummaries": as_objects,
    "executionStage": _facts,
    "continuationSummary": _some,
    "planReviewContext": _facts,
    "documentReviewContext": _facts,
    "annotationDeltas": as_objects,
    "livenessContinuation": _facts,
    "taskWatchdog": _facts,
    "interactionId": as_label,
    "sourceRunId": as_label,
    "interactionKind": as_label,
    "interactionStatus": as_label,
    "externalInteractionContinuation": _flag,
    "checkboxSelection": _facts,
    "questionResponse": _answer,
    "executionWorkspace": _workspace,
    "agentMessage": _some,
    "childIssueSummaries": as_objects,
    "childIssueSummaryTruncated": _flag,
    "commentIds": as_labels,
    "latestCommentId": as_label,
    "comments": _comments,
    "truncated": _flag,
    "fallbackFetchNeeded": _flag,
}

_TELLING = (
    "executionContinuation",
    "comments",
    "commentIds",
    "annotationDeltas",
    "childIssueSummaries",
    "unresolvedBlockerIssueIds",
    "unresolvedBlockerSummaries",
    "activeTreeHold",
    "executionStage",
    "continuationSummary",
    "planReviewContext",
    "documentReviewContext",
    "livenessContinuation",
    "taskWatchdog",
    "checkboxSelection",
    "questionResponse",
    "executionWorkspace",
    "agentMessage",
    "recovery",
    "issue",
)
"""A payload without any of these has nothing to say: a reason alone is no message."""
