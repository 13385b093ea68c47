"""The agent's environment, lowest layer first: home pod, run, config (SPEC 3, HOST.md 7.6)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.cluster.model import HomePod, JsonObject
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext

_SECRET_PARTS = ("key", "token", "secret", "password", "passwd", "authorization", "cookie")
_HOST_ONLY = frozenset({"TMPDIR", "TEMP", "TMP", "PAPERCLIP_TMPDIR", "GH_CONFIG_DIR"})


@dataclass(frozen=True, slots=True)
class Environment:
    """What goes into the Pod as plain values, what through the run Secret, and what home refers to."""

    literals: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    value_from: tuple[JsonObject, ...] = ()
    env_from: tuple[JsonObject, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> frozenset[str]:
        referred = (entry.get("name") for entry in self.value_from)
        return frozenset(
            {*self.literals, *self.secrets, *(name for name in referred if isinstance(name, str))}
        )


def looks_secret(name: str) -> bool:
    lowered = name.lower()
    return any(part in lowered for part in _SECRET_PARTS)


def layer_environment(
    ctx: ExecutionContext,
    config: AdapterConfig,
    home: HomePod | None,
    *,
    workdir: str,
    process_env: Mapping[str, str],
) -> Environment:
    inherited = {str(e["name"]): str(e["value"]) for e in home.env if "value" in e} if home else {}
    run = {
        "PAPERCLIP_AGENT_ID": ctx.agent.id,
        "PAPERCLIP_COMPANY_ID": ctx.agent.company_id or "",
        "PAPERCLIP_RUN_ID": ctx.run_id,
        "PAPERCLIP_API_URL": inherited.get("PAPERCLIP_API_URL") or process_env.get("PAPERCLIP_API_URL", ""),
        "PAPERCLIP_API_KEY": ctx.auth_token or "",
        "PAPERCLIP_WORKSPACE_CWD": workdir,
    }
    run = {name: value for name, value in run.items() if value}
    wished = {
        name: value
        for name, value in config.env.items()
        if name not in _HOST_ONLY
        and name != "PAPERCLIP_API_KEY"
        and not (name.startswith("PAPERCLIP_") and name in run)
    }
    merged = {**inherited, **run, **wished}
    secrets = {name: value for name, value in merged.items() if looks_secret(name)}
    literals = {name: value for name, value in merged.items() if name not in secrets}
    referred = tuple(e for e in home.env if "valueFrom" in e and e["name"] not in merged) if home else ()
    return Environment(literals, secrets, referred, tuple(home.env_from) if home else ())
