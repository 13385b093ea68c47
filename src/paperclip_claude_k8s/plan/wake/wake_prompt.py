"""The wake prompt: what changed, what is wanted, what was said. HOST.md 7.4's order, our own words."""

from paperclip_claude_k8s.plan.templates import join_sections
from paperclip_claude_k8s.plan.tolerant_readers import as_object, as_text
from paperclip_claude_k8s.plan.wake.continuation import continuation
from paperclip_claude_k8s.plan.wake.contracts import contract, external_answer, heading
from paperclip_claude_k8s.plan.wake.conversation import answers, comments, spoken_sections
from paperclip_claude_k8s.plan.wake.facts import conditions, overview, task
from paperclip_claude_k8s.plan.wake.payload import normalize_wake_payload
from paperclip_claude_k8s.plan.wake.situation import checked_out, situation
from paperclip_claude_k8s.plan.wake.view import WakeView

_SECTIONS = (
    heading,
    external_answer,
    contract,
    overview,
    continuation,
    task,
    conditions,
    spoken_sections,
    situation,
    checked_out,
    comments,
    answers,
)


def render_wake_prompt(
    payload: object,
    *,
    resumed: bool = False,
    conversation: bool = False,
    suppress_issue_description: bool = False,
    include_execution_contract: bool = False,
) -> str:
    """What the agent is told of its wake; "" where the payload says nothing. Takes raw payloads too."""
    normalized = normalize_wake_payload(payload)
    if normalized is None:
        return ""
    view = WakeView(normalized, resumed, conversation, suppress_issue_description, include_execution_contract)
    return join_sections([*(section(view) for section in _SECTIONS), _connector_skills(payload)])


def _connector_skills(payload: object) -> str:
    given = as_text(as_object(payload).get("connectorSkillInstructions")).strip()
    return f"## Assigned connector skills\n\n{given}" if given else ""
