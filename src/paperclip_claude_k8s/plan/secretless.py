"""A run where Secrets are forbidden: what is secret stays behind, for who reads Jobs reads all the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.redact import MASK, mask_tree, shows_secret
from paperclip_claude_k8s.plan.arguments import hidden_arguments
from paperclip_claude_k8s.plan.delivery import is_private
from paperclip_claude_k8s.plan.environment import Environment
from paperclip_claude_k8s.plan.mcp import McpPlan
from paperclip_claude_k8s.plan.paths import RUN_DIR
from paperclip_claude_k8s.plan.pod_template import CONTAINERS, Overlay
from paperclip_claude_k8s.plan.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a plan may be secret; `lost` names what was."""

    environment: Environment
    mcp: McpPlan
    overlay: Overlay
    lost: tuple[str, ...] = ()

    @property
    def secrets(self) -> frozenset[str]:
        """Every value that may be shown nowhere."""
        values = (self.environment.secrets.values(), self.overlay.secrets.values(), self.mcp.secrets)
        return frozenset(value for found in values for value in found)


def without_secrets(parts: Parts) -> Parts:
    """The same parts with nothing in them that only a Secret may carry."""
    environment, files = _environment(parts.environment, parts.secrets)
    mcp = McpPlan() if parts.mcp.secrets else parts.mcp
    names = {name for name, value in parts.environment.secrets.items() if value} | files
    lost = (*sorted(names), *sorted(key.rpartition(".")[2] for key in parts.overlay.secrets))
    servers = ("its MCP servers",) if mcp is not parts.mcp else ()
    return Parts(environment, mcp, _overlay(parts.overlay), (*lost, *servers))


def public_command(argv: tuple[str, ...], secrets: frozenset[str]) -> tuple[str, ...]:
    """The command as it may stand in a Job, credentials in it masked."""
    hidden = hidden_arguments(argv, secrets).values()
    return tuple(MASK if argument in hidden else argument for argument in argv)


def public_prompt(prompt: Prompt, secrets: frozenset[str]) -> Prompt:
    """The prompt as it may stand in a Job: what it quotes of the secrets, and credentials in it, masked."""
    return replace(prompt, text=mask_tree(prompt.text, secrets))


def public_files(files: Mapping[str, str], secrets: frozenset[str]) -> Mapping[str, str]:
    """Texts of the host's as they may stand in a Job, masked like the prompt."""
    return {name: mask_tree(text, secrets) for name, text in files.items()}


def _environment(given: Environment, secrets: frozenset[str]) -> tuple[Environment, set[str]]:
    """The public part, and the variables whose files stay behind; what hides a value of home's goes on to."""
    files = {
        name: text
        for name, text in given.files.items()
        if not (is_private(name, text) or shows_secret(text, secrets))
    }
    gone = {f"{RUN_DIR}/{name}" for name in given.files.keys() - files.keys()}
    literals = {name: value for name, value in given.literals.items() if value not in gone}
    hiding = {name: "" for name, value in given.secrets.items() if not value}
    lost = {name.removesuffix("_FILE") for name in given.literals.keys() - literals.keys()}
    return replace(given, literals={**literals, **hiding}, secrets={}, files=files), lost


def _overlay(given: Overlay) -> Overlay:
    """Without the variables whose values were moved into the Secret."""
    if not given.secrets:
        return given
    spec = dict(given.template["spec"])
    for kind in CONTAINERS:
        if kind in spec:
            spec[kind] = [_public(container, given) for container in spec[kind]]
    return Overlay({**given.template, "spec": spec})


def _public(container: JsonMap, given: Overlay) -> JsonMap:
    env = [entry for entry in container.get("env") or () if _key(entry) not in given.secrets]
    return {**container, "env": env}


def _key(entry: JsonMap) -> str:
    source = (entry.get("valueFrom") or {}).get("secretKeyRef") or {}
    return str(source.get("key", ""))
