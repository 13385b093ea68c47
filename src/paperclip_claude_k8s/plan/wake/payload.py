"""The host's wake payload (`paperclipWake`): any JSON, read once into a `WakePayload`.

A payload may hold anything, so each field has a tolerant reader, which treats a value of the wrong shape as
absent. The reader is an annotation of the field's type. Ids and names are trimmed, bodies stay as they are,
and an object whose fields only the host knows is kept whole. The JSON has the field's name in camelCase:

    {"reason": " issue_assigned ", "issue": {"id": 7, "title": "Fix it"}}
    → WakePayload(reason="issue_assigned", issue=WakeIssue(id=None, title="Fix it", …), …)

The agent gets the payload as JSON too, in the order of the fields (`stringify_wake_payload`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.base.json_readers import (
    as_flag,
    as_number,
    as_object,
    as_objects,
    as_text,
    as_trimmed,
    as_trimmed_texts,
)
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.templates import compact_json

T = TypeVar("T")

_SUMMARY_CHARS = 12_000
_BRANCH_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTINUATION_VERSION = 1
"""The only version of `executionContinuation` that is read."""


def _anything(value: object) -> object:
    """A value of any shape; blank text and empty values are None."""
    if isinstance(value, str):
        return value if value.strip() else None
    return value or None


def _facts(value: object) -> JsonMap | None:
    """An object as it is; None if it is empty or no object."""
    return as_object(value) or None


def _body(value: object) -> str | None:
    """Text that is not blank, untrimmed."""
    return value if isinstance(value, str) and value.strip() else None


def _envelope(value: object) -> JsonMap | None:
    """A conversation envelope, if it has the known version."""
    envelope = as_object(value)
    return envelope if envelope.get("version") == _CONTINUATION_VERSION else None


def _question_response(value: object) -> JsonMap | None:
    """An object whose `summary`, if it is text, has a limited length."""
    answer = as_object(value)
    summary = answer.get("summary")
    return {**answer, "summary": summary[:_SUMMARY_CHARS]} if isinstance(summary, str) else answer or None


def _branch(value: object) -> str | None:
    """A branch name fit for a sentence: one line of limited length."""
    branch = as_trimmed(value)
    return as_trimmed(_CONTROL.sub("", branch)[:_BRANCH_CHARS]) if branch else None


def _trimmed_or_empty(value: object) -> str:
    return as_text(value).strip()


Trimmed: TypeAlias = Annotated[str | None, as_trimmed]
TrimmedTexts: TypeAlias = Annotated[list[str], as_trimmed_texts]
Flag: TypeAlias = Annotated[bool, as_flag]
Facts: TypeAlias = Annotated[JsonMap | None, _facts]
ManyFacts: TypeAlias = Annotated[list[JsonMap], as_objects]
Anything: TypeAlias = Annotated[object, _anything]
Body: TypeAlias = Annotated[str | None, _body]


@dataclass(frozen=True, slots=True)
class WakeIssue:
    """The issue to work on; `id`, `identifier` or `title` is set."""

    id: Trimmed
    identifier: Trimmed
    title: Trimmed
    description: Body
    description_truncated: Flag
    status: Trimmed
    work_mode: Trimmed
    priority: Trimmed


@dataclass(frozen=True, slots=True)
class WakeComment:
    id: Trimmed
    issue_id: Trimmed
    body: Annotated[str, as_text]
    body_truncated: Flag
    created_at: Trimmed
    author_type: Trimmed
    author_id: Trimmed


@dataclass(frozen=True, slots=True)
class WakeWorkspace:
    branch_name: Annotated[str | None, _branch]


def _issue(value: object) -> WakeIssue | None:
    issue = _read(WakeIssue, as_object(value))
    return issue if issue.id or issue.identifier or issue.title else None


def _workspace(value: object) -> WakeWorkspace | None:
    workspace = _read(WakeWorkspace, as_object(value))
    return workspace if workspace.branch_name else None


def _comments(value: object) -> list[WakeComment]:
    """The comments that have a body."""
    return [_comment(given) for given in as_objects(value) if _body(given.get("body"))]


def _comment(given: JsonMap) -> WakeComment:
    """One comment. Its author is an object or two flat fields."""
    author = as_object(given.get("author"))
    nested = {"authorType": as_trimmed(author.get("type")), "authorId": as_trimmed(author.get("id"))}
    return _read(WakeComment, {**given, **{name: label for name, label in nested.items() if label}})


@dataclass(frozen=True, slots=True)
class WakePayload:
    """Why the agent was woken."""

    reason: Trimmed
    execution_continuation: Annotated[JsonMap | None, _envelope]
    recovery: Facts
    issue: Annotated[WakeIssue | None, _issue]
    checked_out_by_harness: Flag
    external_chat_execution_bound: Flag
    external_chat_provider: Trimmed
    external_chat_question_response: Anything
    skill_test: Anything
    simplified_english_interactions: Flag
    dependency_blocked_interaction: Flag
    tree_hold_interaction: Flag
    active_tree_hold: Facts
    unresolved_blocker_issue_ids: TrimmedTexts
    unresolved_blocker_summaries: ManyFacts
    execution_stage: Facts
    continuation_summary: Anything
    plan_review_context: Facts
    document_review_context: Facts
    annotation_deltas: ManyFacts
    liveness_continuation: Facts
    task_watchdog: Facts
    interaction_id: Trimmed
    source_run_id: Trimmed
    interaction_kind: Trimmed
    interaction_status: Trimmed
    external_interaction_continuation: Flag
    checkbox_selection: Facts
    question_response: Annotated[JsonMap | None, _question_response]
    execution_workspace: Annotated[WakeWorkspace | None, _workspace]
    agent_message: Anything
    child_issue_summaries: ManyFacts
    child_issue_summary_truncated: Flag
    comment_ids: TrimmedTexts
    latest_comment_id: Trimmed
    comments: Annotated[list[WakeComment], _comments]
    truncated: Flag
    fallback_fetch_needed: Flag
    connector_skill_instructions: Annotated[str, _trimmed_or_empty]
    requested_count: int = 0
    """Comments that wait for the agent: the host's count, else the length of `comments` or `comment_ids`."""
    included_count: int = 0
    """Comments in this payload."""
    missing_count: int = 0
    """Comments that wait but are not in this payload."""

    @property
    def has_content(self) -> bool:
        """Whether the payload holds more than a reason and flags. If not, the agent gets no wake prompt."""
        return any(getattr(self, name) for name in _CONTENT_FIELDS)

    @property
    def is_recovery(self) -> bool:
        """Whether this run recovers an earlier run that went wrong."""
        return bool(self.recovery) or self.reason == "source_scoped_recovery_action"

    @property
    def hands_over_task(self) -> bool:
        """Whether even a resumed session must be given the whole task."""
        return self.is_recovery or self.reason in _ASSIGNMENT_REASONS


_ASSIGNMENT_REASONS = frozenset(
    {"issue_assigned", "issue_reopened_via_comment", "issue_recovery_action_restored", "issue_tree_restored"}
)
_CONTENT_FIELDS = (
    "execution_continuation",
    "comments",
    "comment_ids",
    "annotation_deltas",
    "child_issue_summaries",
    "unresolved_blocker_issue_ids",
    "unresolved_blocker_summaries",
    "active_tree_hold",
    "execution_stage",
    "continuation_summary",
    "plan_review_context",
    "document_review_context",
    "liveness_continuation",
    "task_watchdog",
    "checkbox_selection",
    "question_response",
    "execution_workspace",
    "agent_message",
    "recovery",
    "issue",
)
_PROMPT_ONLY_FIELD = "connector_skill_instructions"
"""The field that the prompt shows and the agent's JSON does not contain."""


def read_wake_payload(value: object) -> WakePayload:
    """Any JSON as a payload; anything but an object gives an empty one. Never raises."""
    given = as_object(value)
    payload = _read(WakePayload, given)
    included = len(payload.comments)
    return replace(
        payload,
        requested_count=_count(given, "requestedCount", included or len(payload.comment_ids)),
        included_count=_count(given, "includedCount", included),
        missing_count=_count(given, "missingCount", 0),
    )


def stringify_wake_payload(payload: WakePayload) -> str | None:
    """The payload as compact JSON, or None if it has no content."""
    return compact_json(_json(payload)) if payload.has_content else None


def _read(cls: Callable[..., T], given: JsonMap) -> T:
    """An instance of one of the dataclasses above; fields without a reader keep their default."""
    return cls(**{name: reader(given.get(to_camel(name))) for name, reader in _readers(cls).items()})


@cache
def _readers(cls: Callable[..., object]) -> Mapping[str, Any]:
    """Name of a field → its reader."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def _json(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, list):
        return [_json(item) for item in value]
    if not is_dataclass(value):
        return value
    names = [field.name for field in fields(value) if field.name != _PROMPT_ONLY_FIELD]
    return {to_camel(name): _json(getattr(value, name)) for name in names}


def _count(given: JsonMap, name: str, default: int) -> int:
    """A count of comments, from `commentWindow` or from the payload itself; never negative."""
    window = as_object(given.get("commentWindow"))
    return max(0, int(as_number(window.get(name), as_number(given.get(name), default))))
