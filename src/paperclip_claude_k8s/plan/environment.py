"""The environment of the agent's container: what goes into it, and why.

Three layers, a later one wins:

1. the home pod's variables, so that an operator sets a model key or a proxy once for host and agents;
2. the run's own (`run_variables.py`): who the agent is, its task, its token for the host's API;
3. the config's `env`, which may override everything but HOME and the PAPERCLIP_* variables of the run.

Then each variable gets a route to the Pod. Secret ones go into the run Secret, because many may read the Job:
those with a secret name, those with a credential in their value, JSON, which quotes what people wrote, and
every value that contains another secret. Values longer than Linux accepts become files, and a variable with
the suffix `_FILE` holds the path. Everything else is a plain value. `valueFrom` and `envFrom` entries of the
home pod are passed on, because only the cluster can resolve them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.models import BEDROCK_SWITCH, uses_bedrock
from paperclip_claude_k8s.host.redact import holds_secret, is_secret_name
from paperclip_claude_k8s.plan.addresses import API_URL, choose_api_url, is_loopback
from paperclip_claude_k8s.plan.host_only import SERVER_SECRETS, pod_value
from paperclip_claude_k8s.plan.inherited import Inherited, inherited_environment
from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR, to_pod_path
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.run_variables import (
    API_KEY,
    WAKE_PAYLOAD,
    WAKE_PAYLOAD_FILE,
    PodView,
    bearer_tokens,
    run_variables,
)
from paperclip_claude_k8s.plan.templates import encodable
from paperclip_claude_k8s.plan.wake import WakePayload

ENV_STRING_BYTES = 100 * 1024
"""Longest environment string; well below 128 KiB, which Linux refuses at exec."""
_LEGAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
"""Accepted by every shell and every Kubernetes version, and short enough for a key of a Secret."""

_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
FILE_PREFIX = "env-"
"""Prefix of the name of a file that holds a variable too long for the environment."""
_AGENT_HEADER = "X-Anthropic-Agent-Id"
_SEARCHED_CHARS = 8
"""Secret values of at least this length are searched for inside other values."""

_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Environment:
    """The agent's variables by their route to the Pod."""

    literals: Mapping[str, str] = field(repr=False)
    """Plain values."""
    secrets: Mapping[str, str] = field(repr=False)
    """Values for the run Secret."""
    value_from: tuple[JsonObject, ...] = ()
    env_from: tuple[JsonObject, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """File name → value that is too long for an environment string."""
    oversized: tuple[str, ...] = ()
    """Names of the variables that became files."""
    dropped: tuple[str, ...] = ()
    """Names of the variables that were left out: useless or harmful in a Pod, or not representable there."""
    overruled: tuple[str, ...] = ()
    """Names of the variables that the config may not set."""

    @property
    def api_url(self) -> str:
        """The host's address as the Pod reaches it; "" if only the cluster can resolve it."""
        return self.literals.get(API_URL) or self.secrets.get(API_URL, "")

    @property
    def on_bedrock(self) -> bool:
        """Whether the agent uses Amazon Bedrock; a switch that only the cluster can read is assumed on."""
        return uses_bedrock({**self.literals, **self.secrets}) or BEDROCK_SWITCH in _names(self.value_from)

    @property
    def names(self) -> frozenset[str]:
        """Names of the variables that are not empty; those of `env_from` are unknown here."""
        filled = {name for name, value in {**self.literals, **self.secrets}.items() if value}
        return frozenset({*filled, *(str(entry["name"]) for entry in self.value_from)})


def layer_environment(
    ctx: ExecutionContext, wake: WakePayload, config: AdapterConfig, site: RunSite, workdir: str
) -> Environment:
    """Resolve all layers. Of this process's own environment only the API's address is used."""
    home = site.home
    inherited = inherited_environment(home)
    shared_dir = (config.shared_volume_dir or POD_HOME) if home and home.claim_name else None
    api_url = choose_api_url(site.process_env, inherited.literals, config.env.get(API_URL, ""))
    pod = PodView(workdir, api_url, lambda path: to_pod_path(path, shared_dir) if shared_dir else None)
    own = run_variables(ctx, wake, pod)
    configured = {name: value for name, value in config.env.items() if not _is_ours(name, own)}
    overruled = {
        name for name, value in config.env.items() if name not in configured and own.get(name) != value
    }
    if is_loopback(api_url) and API_URL in _names(inherited.value_from):
        del own[API_URL]  # the home pod's entry may be better than loopback, and cannot be worse
    usable, dropped = _usable({**inherited.literals, **configured}, shared_dir, api_url)
    usable.pop("HOME", None)  # the home pod's; the Pod's own is fixed
    # The run's variables win over the home pod's, and the config's win over both; `configured` holds only
    # those that the config may set. The header comes last, because it extends what the layers have set.
    on_top = {name: usable[name] for name in configured if name in usable}
    merged = _with_agent_header({**usable, **own, **on_top}, ctx, inherited)
    environment = _by_route(merged, inherited, bearer_tokens(ctx))
    return replace(
        environment,
        overruled=tuple(sorted(_shown(name) for name in overruled)),
        dropped=tuple(sorted(_shown(name) for name in {*dropped, *inherited.dropped} - environment.names)),
    )


def _is_ours(name: str, own: Mapping[str, str]) -> bool:
    """Whether the config may not set this variable, because it is part of the run's identity."""
    if name in {API_KEY, WAKE_PAYLOAD_FILE, "HOME"}:
        return True
    return name.startswith("PAPERCLIP_") and name in own


def _usable(
    variables: Mapping[str, str], shared_dir: str | None, api_url: str
) -> tuple[dict[str, str], set[str]]:
    """The variables that are usable in a Pod, with their values there, and the names of the others."""
    kept: dict[str, str] = {}
    dropped: set[str] = set()
    for name, host_value in variables.items():
        value = pod_value(name, host_value, shared_dir=shared_dir, api_url=api_url)
        if value is None or "\0" in value or not _LEGAL_NAME.fullmatch(name):
            dropped.add(name)
        else:
            kept[name] = encodable(value)
    return kept, dropped


def _with_agent_header(
    variables: dict[str, str], ctx: ExecutionContext, inherited: Inherited
) -> dict[str, str]:
    """The variables, with a header that names the agent to the model API.

    Unchanged if the home pod may bring headers that only the cluster can resolve: a plain value would hide
    them.
    """
    present = variables.get(_HEADERS, "")
    referred = inherited.env_from or _HEADERS in _names(inherited.value_from)
    named = any(
        line.partition(":")[0].strip().lower() == _AGENT_HEADER.lower() for line in present.splitlines()
    )
    if (referred and _HEADERS not in variables) or named or not ctx.agent.id.isprintable():
        return variables
    header = f"{_AGENT_HEADER}: {ctx.agent.id}"
    return {**variables, _HEADERS: f"{present.rstrip()}\n{header}" if present.strip() else header}


def _by_route(variables: Mapping[str, str], inherited: Inherited, tokens: frozenset[str]) -> Environment:
    """Choose the route of each variable. The host's own secrets that an `envFrom` may bring are set to ""."""
    hidden = dict.fromkeys(SERVER_SECRETS - variables.keys(), "") if inherited.env_from else {}
    large = {name: value for name, value in variables.items() if _bytes(name, value) > ENV_STRING_BYTES}
    fixed = {"HOME": POD_HOME, **{_path_variable(name): f"{RUN_DIR}/{_file_name(name)}" for name in large}}
    small = {name: value for name, value in variables.items() if name not in large and name not in fixed}
    secrets = hidden | _secret_ones(small, tokens)
    literals = {name: value for name, value in small.items() if name not in secrets} | fixed
    known = {*literals, *secrets, *large}
    return Environment(
        literals=dict(sorted(literals.items())),
        secrets=dict(sorted(secrets.items())),
        value_from=tuple(entry for entry in inherited.value_from if entry["name"] not in known),
        env_from=inherited.env_from,
        files={_file_name(name): large[name] for name in sorted(large)},
        oversized=tuple(sorted(large)),
    )


def _secret_ones(variables: Mapping[str, str], tokens: Iterable[str]) -> dict[str, str]:
    """The variables that are secret by name or value, or contain a secret or token (paths do not count)."""
    secrets = {name: value for name, value in variables.items() if _is_secret(name, value)}
    known = {*tokens, *secrets.values()}
    known = {value for value in known if len(value) >= _SEARCHED_CHARS and not value.startswith("/")}
    quoting = {name: value for name, value in variables.items() if any(part in value for part in known)}
    return secrets | quoting


def _is_secret(name: str, value: str) -> bool:
    """JSON and headers hold texts of people and services, which may include credentials."""
    return is_secret_name(name) or name.endswith("_JSON") or name == _HEADERS or holds_secret(value)


def _names(entries: Iterable[JsonObject]) -> set[object]:
    return {entry.get("name") for entry in entries}


def _shown(name: str) -> str:
    """An unchecked name, made fit for a log line."""
    return name if name.isprintable() and len(name) <= _SHOWN_CHARS else ascii(name[:_SHOWN_CHARS])


def _bytes(name: str, value: str) -> int:
    return len(f"{name}={value}".encode())


def _path_variable(name: str) -> str:
    return WAKE_PAYLOAD_FILE if name == WAKE_PAYLOAD else f"{name}_FILE"


def _file_name(name: str) -> str:
    return "wake-payload.json" if name == WAKE_PAYLOAD else f"{FILE_PREFIX}{name}"
