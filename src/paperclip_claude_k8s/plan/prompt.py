"""What the agent is asked: sections in the host's order (HOST.md 8, SPEC 6)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.plan.templates import encodable, join_sections, render_template
from paperclip_claude_k8s.plan.tolerant_readers import as_object, as_text
from paperclip_claude_k8s.plan.wake import is_recovery_wake, render_wake_prompt, select_task_markdown

HOST_TEXTS = "paperclipHostTexts"
"""Context key of texts the host's own code has made; each wins over ours.

`wakePrompt` and `taskMarkdown` are finished texts, or `{"fresh": text, "resumed": text}` where they depend on
the session, which is chosen only here. `promptTemplate` and `conversationTemplate` stand in for our default
templates; a template of the config wins over both.
"""

CONTEXT_TOKENS = frozenset({"paperclipRuntimeTools", HOST_TEXTS})
"""Parts of the context nobody is shown: a token (HOST.md 3.3), and a means of ours."""

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
    """The text on the agent's stdin, never empty, and the length of each section in characters."""

    text: str = field(repr=False)
    metrics: Mapping[str, int]


def assemble_prompt(ctx: ExecutionContext, config: AdapterConfig, *, resumed: bool) -> Prompt:
    """Bootstrap (fresh only), wake, handoff, task, template; no template where the wake says it all."""
    context = ctx.context
    host = as_object(context.get(HOST_TEXTS))
    values = _template_values(ctx)
    template = config.prompt_template or _default_template(context, host)
    task = _host_text(host, "taskMarkdown", resumed=resumed)
    task = select_task_markdown(context, resumed=resumed) if task is None else task
    wake = _host_text(host, "wakePrompt", resumed=resumed)
    wake = _wake_prompt(ctx, config, task, resumed=resumed) if wake is None else wake
    said_by_wake = bool(wake.strip()) and (resumed or is_recovery_wake(context.get("paperclipWake")))
    sections = {
        "bootstrapPromptChars": ""
        if resumed
        else render_template(config.bootstrap_prompt_template or "", values),
        "wakePromptChars": wake,
        "sessionHandoffChars": as_text(context.get("paperclipSessionHandoffMarkdown")),
        "taskContextChars": task,
        "heartbeatPromptChars": "" if said_by_wake else render_template(template, values),
    }
    if not join_sections(sections.values()):
        sections["heartbeatPromptChars"] = render_template(DEFAULT_TEMPLATE, values)
    text = encodable(join_sections(sections.values()))
    lengths = {name: len(section.strip()) for name, section in sections.items()}
    return Prompt(text, {"promptChars": len(text), **lengths})


def _wake_prompt(ctx: ExecutionContext, config: AdapterConfig, task: str, *, resumed: bool) -> str:
    """An operator's own template knows nothing of how a run has to end, so the wake prompt says it then."""
    return render_wake_prompt(
        ctx.context.get("paperclipWake"),
        resumed=resumed,
        conversation=_is_conversation(ctx.context),
        suppress_issue_description=bool(task.strip()),
        include_execution_contract=config.prompt_template is not None,
    )


def _default_template(context: JsonMap, host: JsonMap) -> str:
    if _is_conversation(context):
        return as_text(host.get("conversationTemplate"), CONVERSATION_TEMPLATE)
    return as_text(host.get("promptTemplate"), DEFAULT_TEMPLATE)


def _is_conversation(context: JsonMap) -> bool:
    return context.get("conversationMode") is True


def _host_text(host: JsonMap, key: str, *, resumed: bool) -> str | None:
    """The host's text for this kind of session; None where it gave none, "" where it has nothing to say."""
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
        "context": {key: value for key, value in ctx.context.items() if key not in CONTEXT_TOKENS},
    }
