"""Keeps secrets out of the Job, because whoever may read Jobs can read everything in them.

Normally a secret is stored in the run Secret and the Job refers to it. For an argument of the agent the
reference is `$(PAPERCLIP_ARGUMENT_<n>)`: Kubernetes replaces `$(NAME)` in a command with the value of that
variable, even if it comes from a Secret. For example,
`--api-key s3cret` becomes `--api-key $(PAPERCLIP_ARGUMENT_7)`.

Where this process may not create Secrets, `without_secrets` drops the secret parts of a plan instead, and the
`public_*` functions mask the secrets that the remaining texts quote.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.known_secrets import contain_secrets, mask_tree, would_be_masked
from paperclip_claude_k8s.host.redact import MASK, redact_command
from paperclip_claude_k8s.plan.delivery import escaped, is_private
from paperclip_claude_k8s.plan.environment import Environment
from paperclip_claude_k8s.plan.mcp import McpPlan
from paperclip_claude_k8s.plan.paths import RUN_DIR
from paperclip_claude_k8s.plan.pod_template import CONTAINERS, Overlay
from paperclip_claude_k8s.plan.prompt import Prompt

_ARGUMENT = "PAPERCLIP_ARGUMENT_"


def secret_arguments(argv: Sequence[str], secrets: Collection[str]) -> Mapping[str, str]:
    """Variable → argument, for each argument that contains a secret, or follows an option for a secret."""
    masked, quoting = redact_command(argv), contain_secrets(argv, secrets)
    return {
        f"{_ARGUMENT}{number}": argument
        for number, (argument, redacted, quotes) in enumerate(zip(argv, masked, quoting, strict=True))
        if argument != redacted or quotes or would_be_masked(argument, ())
    }


def command_with_references(argv: Sequence[str], hidden: Mapping[str, str]) -> list[str]:
    """The command for the Job: references in place of `hidden` arguments, `$` escaped in all others."""
    names = [f"{_ARGUMENT}{number}" for number in range(len(argv))]
    return [
        f"$({name})" if name in hidden else escaped(argument)
        for name, argument in zip(names, argv, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class SecretParts:
    """The parts of a plan that may hold secrets.

    `lost`: names of the parts that were dropped. `shown`: names of the config's variables that the Job shows.
    """

    environment: Environment
    mcp: McpPlan
    overlay: Overlay
    lost: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def secrets(self) -> frozenset[str]:
        """All secret values; none of them may be shown anywhere."""
        return frozenset(
            {*self.environment.confidential.values(), *self.overlay.secrets.values(), *self.mcp.secrets}
        )


def without_secrets(parts: SecretParts) -> SecretParts:
    """The same parts without anything that only a Secret may hold."""
    environment, lost_files = _public_environment(parts.environment, parts.secrets)
    mcp = McpPlan() if parts.mcp.secrets else parts.mcp
    names = {name for name, value in parts.environment.confidential.items() if value} | lost_files
    lost = (*sorted(names), *sorted(key.rpartition(".")[2] for key in parts.overlay.secrets))
    servers = ("its MCP servers",) if mcp is not parts.mcp else ()
    shown = tuple(sorted(parts.environment.ordinary - lost_files))
    return SecretParts(environment, mcp, _public_overlay(parts.overlay), (*lost, *servers), shown)


def public_command(argv: tuple[str, ...], secrets: frozenset[str]) -> tuple[str, ...]:
    """The command with its secret arguments masked."""
    hidden = secret_arguments(argv, secrets).values()
    return tuple(MASK if argument in hidden else argument for argument in argv)


def public_prompt(prompt: Prompt, secrets: frozenset[str]) -> Prompt:
    """The prompt, with quoted secrets and everything that looks like a credential masked."""
    return replace(prompt, text=mask_tree(prompt.text, secrets))


def public_files(files: Mapping[str, str], secrets: frozenset[str]) -> Mapping[str, str]:
    """Text files, masked like the prompt."""
    return {name: mask_tree(text, secrets) for name, text in files.items()}


def _public_environment(environment: Environment, secrets: frozenset[str]) -> tuple[Environment, set[str]]:
    """The environment without secrets, and the names of the variables whose files were dropped.

    Secret variables that are set to "" become plain ones, to go on overriding values of the home pod's
    `envFrom`. Variables of the config that nothing marks as secret become plain ones too, because a run
    without them could not work.
    """
    files = {
        name: text
        for name, text in environment.files.items()
        if not (is_private(name, text) or would_be_masked(text, secrets))
    }
    dropped_paths = {f"{RUN_DIR}/{name}" for name in environment.files.keys() - files.keys()}
    literals = {name: value for name, value in environment.literals.items() if value not in dropped_paths}
    plain = {
        name: value
        for name, value in environment.secrets.items()
        if not value or name in environment.ordinary
    }
    lost = {name.removesuffix("_FILE") for name in environment.literals.keys() - literals.keys()}
    return replace(environment, literals={**literals, **plain}, secrets={}, files=files), lost


def _public_overlay(overlay: Overlay) -> Overlay:
    """The overlay without the variables that refer to the run Secret."""
    if not overlay.secrets:
        return overlay
    spec = dict(overlay.template["spec"])
    for kind in CONTAINERS:
        if kind in spec:
            spec[kind] = [_public_container(container, overlay.secrets) for container in spec[kind]]
    return replace(overlay, template={**overlay.template, "spec": spec}, secrets={})


def _public_container(container: JsonMap, secrets: Mapping[str, str]) -> JsonMap:
    env = [entry for entry in container.get("env") or () if _secret_key(entry) not in secrets]
    return {**container, "env": env}


def _secret_key(entry: JsonMap) -> str:
    source = (entry.get("valueFrom") or {}).get("secretKeyRef") or {}
    return str(source.get("key", ""))
