"""The prompt on the agent's stdin: up to five sections, in the order that Paperclip hosts use.

1. bootstrap: the config's `bootstrapPromptTemplate`, for a fresh session only;
2. wake: why the agent was woken (`plan/wake`);
3. handoff: the summary of a session that was closed;
4. task: the issue's text; its compact form, if a resumed session knows the task already;
5. template: the standing instructions; left out if there is a wake section, and either the session is resumed
   or the run recovers an earlier run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.json_readers import as_object, as_text
from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.plan.templates import (
    MAX_RENDERED_CHARS,
    RenderedTooLong,
    join_sections,
    render_template,
)
from paperclip_claude_k8s.plan.wake import WakePayload, WakeView, render_wake_prompt

HOST_TEXTS = "paperclipHostTexts"
"""Context key of texts that the host provides; each replaces the adapter's own text.

`wakePrompt` and `taskMarkdown` are finished texts, or `{"fresh": text, "resumed": text}` if they depend on
the session, which the adapter chooses. `promptTemplate` and `conversationTemplate` replace the default
templates; `promptTemplate` of the config has precedence over both.
"""

HIDDEN_KEYS = frozenset({"paperclipRuntimeTools", HOST_TEXTS})
"""Keys of the context that templates and `onMeta` do not show: the first holds a token, the other texts."""

_API = (
    "The Paperclip API is at $PAPERCLIP_API_URL; send `Authorization: Bearer $PAPERCLIP_API_KEY`, and with "
    "every change `X-Paperclip-Run-Id: $PAPERCLIP_RUN_ID`. Never print the key. Your issue, if there is one, "
    "is $PAPERCLIP_TASK_ID."
)

DEFAULT_TEMPLATE = (
    "You are {{agent.name}}, agent {{agentId}} of company {{companyId}}, in run {{runId}}.\n\n"
    f"{_API}\n\n"
    "Do the task you were given. If none stands here, take the most urgent of the issues assigned to you; if "
    "none is assigned, say so and stop. Check your work before you call it done. Before you stop, bring the "
    "issue into a status that says who moves next (done, in_review, blocked with the reason), or leave it "
    "in_progress only if something under way will wake you again. End with a short message: what you did, "
    "how you checked it, and what is left."
)

CONVERSATION_TEMPLATE = (
    "You are {{agent.name}}, agent {{agentId}} of company {{companyId}}, in a conversation (run "
    "{{runId}}).\n\n"
    f"{_API}\n\n"
    "Answer the latest message. Your last message of this run is the reply that is shown, so make it "
    "complete, and as short as the question allows. Look things up and act where the answer needs it; for "
    "larger work, propose an issue instead of starting it unasked."
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text, never empty, and `metrics`: the length of the text and of each section in characters."""

    text: str = field(repr=False)
    metrics: Mapping[str, int]


def assemble_prompt(
    ctx: ExecutionContext, config: AdapterConfig, wake: WakePayload, *, resumed: bool
) -> Prompt:
    """The prompt for a fresh or a resumed session.

    Raises:
        RunFailure: `k8s_prompt_too_large`, if a template with its values in place is too long.
    """
    context = ctx.context
    host = as_object(context.get(HOST_TEXTS))
    values = _template_values(ctx)
    task = _host_text(host, "taskMarkdown", resumed=resumed)
    task = _task_markdown(context, wake, resumed=resumed) if task is None else task
    wake_text = _host_text(host, "wakePrompt", resumed=resumed)
    if wake_text is None:
        view = WakeView(
            wake,
            resumed=resumed,
            conversation=_is_conversation(context),
            suppress_issue_description=bool(task.strip()),
            # a configured template perhaps does not say how a run has to end
            include_execution_contract=config.prompt_template is not None,
        )
        wake_text = render_wake_prompt(view)
    wake_suffices = bool(wake_text.strip()) and (resumed or wake.is_recovery)
    bootstrap = "" if resumed else config.bootstrap_prompt_template or ""
    template = "" if wake_suffices else config.prompt_template or _default_template(context, host)
    sections = {
        "bootstrapPromptChars": _rendered("bootstrapPromptTemplate", bootstrap, values),
        "wakePromptChars": wake_text,
        "sessionHandoffChars": as_text(context.get("paperclipSessionHandoffMarkdown")),
        "taskContextChars": task,
        "heartbeatPromptChars": _rendered("promptTemplate", template, values),
    }
    if not join_sections(sections.values()):
        sections["heartbeatPromptChars"] = _rendered("the default template", DEFAULT_TEMPLATE, values)
    text = encodable(join_sections(sections.values()))
    lengths = {name: len(section.strip()) for name, section in sections.items()}
    return Prompt(text, {"promptChars": len(text), **lengths})


def _rendered(name: str, template: str, values: JsonMap) -> str:
    """The template with its values in place; `name` is for the message if that is too long."""
    try:
        return render_template(template, values)
    except RenderedTooLong:
        raise RunFailure(failures.template_too_long(name, MAX_RENDERED_CHARS)) from None


def _task_markdown(context: JsonMap, wake: WakePayload, *, resumed: bool) -> str:
    """The task's full text, or its compact form for a resumed session that knows the task."""
    full = as_text(context.get("paperclipTaskMarkdown"))
    if not full.strip():
        return ""
    if not resumed or not wake.has_content or wake.hands_over_task:
        return full
    compact = as_text(context.get("paperclipTaskMarkdownCompact"))
    return compact if compact.strip() else full


def _default_template(context: JsonMap, host: JsonMap) -> str:
    if _is_conversation(context):
        return as_text(host.get("conversationTemplate"), CONVERSATION_TEMPLATE)
    return as_text(host.get("promptTemplate"), DEFAULT_TEMPLATE)


def _is_conversation(context: JsonMap) -> bool:
    return context.get("conversationMode") is True


def _host_text(host: JsonMap, key: str, *, resumed: bool) -> str | None:
    """The host's text for this kind of session: None without such a text, "" to leave the section out."""
    given = host.get(key)
    chosen = given.get("resumed" if resumed else "fresh") if isinstance(given, dict) else given
    return chosen if isinstance(chosen, str) else None


def _template_values(ctx: ExecutionContext) -> JsonMap:
    agent = {"id": ctx.agent.id, "name": ctx.agent.name or ctx.agent.id, "companyId": ctx.agent.company_id}
    return {
        "agentId": ctx.agent.id,
        "companyId": ctx.agent.company_id,
        "runId": ctx.run_id,
        "company": {"id": ctx.agent.company_id},
        "agent": agent,
        "run": {"id": ctx.run_id, "source": "on_demand"},
        "context": {key: value for key, value in ctx.context.items() if key not in HIDDEN_KEYS},
    }
