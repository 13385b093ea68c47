"""Checks whether the host server lets this adapter run the agents, and whether they can reach its API."""

from collections.abc import Iterator, Mapping

from paperclip_claude_k8s.checks.observations import PlannedRun
from paperclip_claude_k8s.host.checkup import Check
from paperclip_claude_k8s.plan.addresses import API_URL, names_own_machine

ADDRESS_HINT = (
    f"set {API_URL} in the server's environment to an address that Pods can reach, such as that of a Service "
    "or an Ingress"
)


REMOTE_EXECUTION = Check(
    code="k8s_remote_execution",
    level="error",
    message="The server runs agents in environments of its own (PAPERCLIP_EXECUTION_MODE=kubernetes, or an "
    "environment that this agent names); this adapter creates its Jobs itself, so every run is refused",
    hint="choose the local environment; where the server forces its own execution, either set "
    "PAPERCLIP_EXECUTION_MODE=any, or use the server's own Claude adapter (docs/paperclip-kubernetes.md)",
)


def server_runs_agents_itself(env: Mapping[str, str]) -> bool:
    """Whether the host server runs all agents itself. `env`: the variables of its process, which is ours."""
    return env.get("PAPERCLIP_EXECUTION_MODE", "").strip() == "kubernetes"


def api_address_checks(run: PlannedRun, *, reached: bool | None) -> Iterator[Check]:
    """Whether agents can reach the host's API. `reached`: whether the probe's Pod did; None: unknown."""
    url = run.plan.environment.api_url
    if not url or (API_URL not in run.site.process_env and names_own_machine(url)):
        return  # unknown here (from a Secret or ConfigMap), or not set (command line, no host)
    if reached:
        text = f"A Pod has reached the server at {url}"
        yield Check(code="k8s_api_url_reached", level="info", message=text)
    elif names_own_machine(url):
        yield Check(
            code="k8s_api_url_loopback",
            level="warn",
            message=f"{API_URL} is {url}, which in a Pod means the Pod itself: agents cannot reach the "
            "server",
            hint=ADDRESS_HINT,
        )
    elif reached is None:
        text, hint = (
            f"Agents use the server at {url}",
            "with `testWithProbe` on, the test tries it from a Pod",
        )
        yield Check(code="k8s_api_url", level="info", message=text, hint=hint)
    else:
        yield Check(
            code="k8s_api_url_unreachable",
            level="error",
            message=f"A Pod could not reach the server at {url}, so agents cannot read or change their tasks",
            hint=f"check DNS and NetworkPolicies, or {ADDRESS_HINT}",
        )
