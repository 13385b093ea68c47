"""The wake prompt: all sections, in the order that hosts expect."""

from paperclip_claude_k8s.plan.templates import join_sections
from paperclip_claude_k8s.plan.wake.contracts import contract, external_answer, heading
from paperclip_claude_k8s.plan.wake.conversation import answers, comments, continuation, messages
from paperclip_claude_k8s.plan.wake.sections import (
    checked_out,
    conditions,
    connector_skills,
    overview,
    situation,
    task,
)
from paperclip_claude_k8s.plan.wake.view import WakeView

_SECTIONS = (
    heading,
    external_answer,
    contract,
    overview,
    continuation,
    task,
    conditions,
    messages,
    situation,
    checked_out,
    comments,
    answers,
    connector_skills,
)


def render_wake_prompt(wake: WakeView) -> str:
    """The wake prompt; "" if the payload has no content."""
    if not wake.payload.has_content:
        return ""
    return join_sections(section(wake) for section in _SECTIONS)
