"""What the agent is asked: sections in the host's order (HOST.md 8, SPEC 6)."""

from collections.abc import Mapping
from dataclasses import dataclass

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.templates import join_sections, render_template

DEFAULT_TEMPLATE = (
    "You are {{agent.name}}, agent {{agent.id}} of company {{companyId}}. Continue your work: do what your task asks, "
    "then say in a few sentences what you did and what is left."
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text on the agent's stdin, and the length of each section in characters."""

    text: str
    metrics: Mapping[str, int]


def assemble_prompt(ctx: ExecutionContext, config: AdapterConfig, *, resumed: bool) -> Prompt:
    """Bootstrap on fresh sessions, then task, then the rendered template."""
    values = {
        "agentId": ctx.agent.id,
        "companyId": ctx.agent.company_id,
        "runId": ctx.run_id,
        "company": {"id": ctx.agent.company_id},
        "agent": {
            "id": ctx.agent.id,
            "name": ctx.agent.name or ctx.agent.id,
            "companyId": ctx.agent.company_id,
        },
        "run": {"id": ctx.run_id, "source": "on_demand"},
        "context": ctx.context,
    }
    bootstrap = "" if resumed else render_template(config.bootstrap_prompt_template or "", values)
    task = ctx.context.get("paperclipTaskMarkdown")
    task = task if isinstance(task, str) else ""
    heartbeat = render_template(config.prompt_template or DEFAULT_TEMPLATE, values)
    text = join_sections([bootstrap, task, heartbeat])
    return Prompt(
        text,
        {
            "promptChars": len(text),
            "bootstrapPromptChars": len(bootstrap),
            "taskContextChars": len(task),
            "heartbeatPromptChars": len(heartbeat),
        },
    )
