"""Variables that join the telemetry of Claude Code with that of the run."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from urllib.parse import quote

from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.host.context import ExecutionContext

RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
ENABLED = "CLAUDE_CODE_ENABLE_TELEMETRY"


def with_resource_attributes(
    variables: Mapping[str, str], ctx: ExecutionContext, referred: AbstractSet[object]
) -> dict[str, str]:
    """The variables; run, agent and company are appended to the value of OTEL_RESOURCE_ATTRIBUTES.

    They are appended only if the run has a trace or Claude Code's telemetry is enabled, and not if only the
    cluster can resolve the present value. `referred`: the variables that only the cluster can resolve.
    """
    wanted = ctx.traceparent or variables.get(ENABLED) or ENABLED in referred
    if not wanted or (RESOURCE_ATTRIBUTES in referred and RESOURCE_ATTRIBUTES not in variables):
        return dict(variables)
    ids = {
        "claude_k8s.run.id": ctx.run_id,
        "gen_ai.agent.id": ctx.agent.id,
        "claude_k8s.company.id": ctx.agent.company_id,
    }
    ours = [f"{name}={quote(encodable(value), safe='')}" for name, value in ids.items() if value]
    present = variables.get(RESOURCE_ATTRIBUTES, "").strip().strip(",")
    return {**variables, RESOURCE_ATTRIBUTES: ",".join([*([present] if present else []), *ours])}
