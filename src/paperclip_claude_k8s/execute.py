"""One run, as a table of contents."""

from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.failures import RunFailure, config_invalid
from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.announce import announce, get_ready
from paperclip_claude_k8s.run.answer import answer
from paperclip_claude_k8s.run.launch import launch
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.observe import observe
from paperclip_claude_k8s.run.prepare import identity_of, prepare, read_config
from paperclip_claude_k8s.run.runlog import put_away
from paperclip_claude_k8s.run.tend import tended
from paperclip_claude_k8s.verdict.report import Asked, apologize


async def execute(given: ExecutionContext | Mapping[str, Any], process: Process) -> ExecutionResult:
    """Run one agent once. Expected failures are results; only cancellation and bugs escape."""
    asked = Asked(now=process.house.now())
    try:
        ctx = ExecutionContext.read(given)
    except ContextInvalid as error:
        return apologize(config_invalid(str(error)), asked)
    say = Narrator(ctx)
    try:
        return await _run(ctx, process, say)
    except RunFailure as stop:
        await say.warn(stop.failure.message)
        return apologize(stop.failure, asked)


async def _run(ctx: ExecutionContext, process: Process, say: Narrator) -> ExecutionResult:
    who, config = identity_of(ctx), read_config(ctx)
    ports = process.ports(config.kubeconfig)
    await get_ready(ctx, config, say)
    plan = await prepare(ctx, who, config, ports, say)
    async with ports.turns.of(who.agent):
        await announce(ctx, plan)
        launched = await launch(plan, ports, say)
    async with tended(launched, plan, ports, say):
        sighting = await observe(ctx, plan, launched, ports, say)
    result = answer(sighting, plan, ports.house)
    await put_away(plan, ports.house, succeeded=result.error_code is None)
    return result
