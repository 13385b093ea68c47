"""The environment of the agent's container: what goes into it, and why.

Of three layers, a later one overrides the earlier ones:

1. the home pod's variables, so that a model key or a proxy is configured once for host and agents;
2. the run's variables (`run_variables.py`): who the agent is, its task, its token for the host's API;
3. the config's `env`, which may override everything but HOME and the PAPERCLIP_* variables of the run.

Then each variable gets a route to the Pod. Secret ones go into the run Secret, because many people may read
the Job. These are secret: all variables of the config, because hosts resolve bound secrets into it under any
name; variables with a secret name; values that contain a credential or another secret; and JSON and headers,
which may quote one. Values longer than Linux accepts become files, and a variable with the suffix `_FILE`
holds the path. All other variables are plain values in the Job. `valueFrom` and `envFrom` entries of the home
pod and references in the config's `env` are passed on, because only the cluster can resolve them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.known_secrets import contain_secrets
from paperclip_claude_k8s.host.models import BEDROCK_SWITCH, uses_bedrock
from paperclip_claude_k8s.host.redact import is_secret_name, looks_like_credential
from paperclip_claude_k8s.plan.addresses import API_URL, choose_api_url, names_own_machine
from paperclip_claude_k8s.plan.host_only import SERVER_SECRETS, may_be_missing, pod_value
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
from paperclip_claude_k8s.plan.telemetry_variables import with_resource_attributes
from paperclip_claude_k8s.plan.wake import WakePayload

ENV_STRING_BYTES = 100 * 1024
"""Maximum bytes of an environment string, `NAME=value`. Linux refuses 128 KiB; the rest is a margin."""
_LEGAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
"""Names that every shell and every Kubernetes version accepts, short enough for a key of a Secret."""

_HEADERS_VARIABLE = "ANTHROPIC_CUSTOM_HEADERS"
FILE_PREFIX = "env-"
"""Prefix of the name of a file that holds a variable too long for the environment."""
_AGENT_HEADER = "X-Anthropic-Agent-Id"

_LOG_CHARS = 80
"""Maximum characters of an unchecked name in a log line."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The agent's variables by their route to the Pod."""

    literals: Mapping[str, str] = field(repr=False)
    """Plain values."""
    secrets: Mapping[str, str] = field(repr=False)
    """Values for the run Secret."""
    value_from: tuple[JsonObject, ...] = ()
    """Entries of the config's and the home pod's `env` that only the cluster can resolve."""
    env_from: tuple[JsonObject, ...] = ()
    """The home pod's `envFrom`."""
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """File name → value that is too long for an environment string."""
    oversized: tuple[str, ...] = ()
    """Names of the variables that became files."""
    ordinary: frozenset[str] = frozenset()
    """Names in `secrets` and `oversized` that the config sets and that nothing marks as secret."""
    dropped: tuple[str, ...] = ()
    """Names of the variables that were left out, because they are useless, harmful or impossible in a Pod."""
    overruled: tuple[str, ...] = ()
    """Names of the variables in the config that were ignored, because the run sets them."""

    @property
    def api_url(self) -> str:
        """The host's address as the Pod reaches it; "" if only the cluster can resolve it."""
        return self.literals.get(API_URL) or self.secrets.get(API_URL, "")

    @property
    def confidential(self) -> Mapping[str, str]:
        """The variables whose name or value marks them as secret; their values may be shown nowhere."""
        return {name: value for name, value in self.secrets.items() if name not in self.ordinary}

    @property
    def on_bedrock(self) -> bool:
        """Whether the agent uses Amazon Bedrock; a switch that only the cluster can read counts as on."""
        return uses_bedrock({**self.literals, **self.secrets}) or BEDROCK_SWITCH in _names_of(self.value_from)

    @property
    def names(self) -> frozenset[str]:
        """Names of all variables that are not empty, except those from `files` and `env_from`."""
        filled = {name for name, value in {**self.literals, **self.secrets}.items() if value}
        return frozenset({*filled, *(str(entry["name"]) for entry in self.value_from)})


def layer_environment(
    ctx: ExecutionContext, wake: WakePayload, config: AdapterConfig, site: RunSite, workdir: str
) -> Environment:
    """Resolve all layers. This process's own environment is used only to find the API's address."""
    home = site.home
    inherited = inherited_environment(home)
    shared_dir = (config.shared_volume_dir or POD_HOME) if home and home.claim_name else None
    api_url = choose_api_url(site.process_env, inherited.literals, config.env_values.get(API_URL, ""))
    pod = PodView(workdir, api_url, lambda path: to_pod_path(path, shared_dir) if shared_dir else None)
    set_by_run = run_variables(ctx, wake, pod)
    fixed = {name for name in config.env if _is_fixed(name, set_by_run)}
    overruled = {name for name in fixed if set_by_run.get(name) != config.env[name]}
    configured = {name: value for name, value in config.env_values.items() if name not in fixed}
    settable = {name: source for name, source in config.env_references.items() if name not in fixed}
    references = {name: source for name, source in settable.items() if _LEGAL_NAME.fullmatch(name)}
    inherited = _with_references(inherited, references)
    set_by_run = {name: value for name, value in set_by_run.items() if name not in references}
    if names_own_machine(api_url) and API_URL in _names_of(inherited.value_from):
        del set_by_run[API_URL]  # use the home pod's entry: no worse than a loopback address
    usable, dropped = _usable_in_pod({**inherited.literals, **configured}, shared_dir, api_url)
    usable.pop("HOME", None)  # the home pod's value; in the agent's Pod HOME is fixed
    # The run's variables override the home pod's, and the config's override both; `configured` holds only
    # those that the config may set. The header is added at the end, because it extends the resulting value.
    on_top = {name: usable[name] for name in configured if name in usable}
    merged = _with_agent_header({**usable, **set_by_run, **on_top}, ctx, inherited)
    merged = with_resource_attributes(merged, ctx, _names_of(inherited.value_from))
    environment = _choose_routes(merged, inherited, bearer_tokens(ctx), frozenset(on_top))
    lost = {*dropped, *inherited.dropped, *(settable.keys() - references.keys())} - environment.names
    return replace(
        environment,
        overruled=tuple(sorted(_loggable(name) for name in overruled)),
        dropped=tuple(sorted(_loggable(name) for name in lost)),
    )


def _with_references(inherited: Inherited, references: Mapping[str, JsonObject]) -> Inherited:
    """The home pod's variables, with the config's references in place of those of the same name.

    The references come first, because a value of the home pod may contain `$(NAME)` of one of them.
    """
    ours: list[JsonObject] = [{"name": name, "valueFrom": source} for name, source in references.items()]
    theirs = [entry for entry in inherited.value_from if entry["name"] not in references]
    literals = {name: value for name, value in inherited.literals.items() if name not in references}
    return replace(inherited, literals=literals, value_from=(*ours, *theirs))


def _is_fixed(name: str, set_by_run: Mapping[str, str]) -> bool:
    """Whether the config may not set this variable: HOME and the PAPERCLIP_* variables of the run."""
    if name in {API_KEY, WAKE_PAYLOAD_FILE, "HOME"}:
        return True
    return name.startswith("PAPERCLIP_") and name in set_by_run


def _usable_in_pod(
    variables: Mapping[str, str], shared_dir: str | None, api_url: str
) -> tuple[dict[str, str], set[str]]:
    """The variables that are usable in a Pod, with their values there, and the names of the others."""
    usable: dict[str, str] = {}
    dropped: set[str] = set()
    for name, host_value in variables.items():
        value = pod_value(name, host_value, shared_dir=shared_dir, api_url=api_url)
        if value is None or "\0" in value or not _LEGAL_NAME.fullmatch(name):
            dropped.add(name)
        else:
            usable[name] = encodable(value)
    return usable, dropped


def _with_agent_header(
    variables: dict[str, str], ctx: ExecutionContext, inherited: Inherited
) -> dict[str, str]:
    """The variables, with a header that names the agent to the model API.

    They stay unchanged if the headers already name an agent, or if the home pod may bring headers that only
    the cluster can resolve: a plain value would hide those.
    """
    present = variables.get(_HEADERS_VARIABLE, "")
    referred = inherited.env_from or _HEADERS_VARIABLE in _names_of(inherited.value_from)
    names_agent = any(
        line.partition(":")[0].strip().lower() == _AGENT_HEADER.lower() for line in present.splitlines()
    )
    if (referred and _HEADERS_VARIABLE not in variables) or names_agent or not ctx.agent.id.isprintable():
        return variables
    header = f"{_AGENT_HEADER}: {ctx.agent.id}"
    return {**variables, _HEADERS_VARIABLE: f"{present.rstrip()}\n{header}" if present.strip() else header}


def _choose_routes(
    variables: Mapping[str, str], inherited: Inherited, tokens: frozenset[str], configured: frozenset[str]
) -> Environment:
    """Choose the route of each variable. The host's own secrets, which an `envFrom` may bring, become ""."""
    certain = (entry for entry in inherited.value_from if not may_be_missing(entry))
    surely_set = {*variables, *_names_of(certain)}
    hidden = dict.fromkeys(SERVER_SECRETS - surely_set, "") if inherited.env_from else {}
    large = {
        name: value for name, value in variables.items() if _string_bytes(name, value) > ENV_STRING_BYTES
    }
    added = {"HOME": POD_HOME, **{_path_variable(name): f"{RUN_DIR}/{_file_name(name)}" for name in large}}
    small = {name: value for name, value in variables.items() if name not in large and name not in added}
    marked = hidden | _secret_variables(small, tokens)
    ordinary = {name for name in configured & small.keys() if name not in marked}
    ordinary |= {name for name in configured & large.keys() if not _is_secret(name, large[name])}
    secrets = marked | {name: small[name] for name in ordinary & small.keys()}
    literals = {name: value for name, value in small.items() if name not in secrets} | added
    known = {*literals, *secrets, *large}
    return Environment(
        literals=dict(sorted(literals.items())),
        secrets=dict(sorted(secrets.items())),
        value_from=tuple(entry for entry in inherited.value_from if entry["name"] not in known),
        env_from=inherited.env_from,
        files={_file_name(name): large[name] for name in sorted(large)},
        oversized=tuple(sorted(large)),
        ordinary=frozenset(ordinary),
    )


def _secret_variables(variables: Mapping[str, str], tokens: Iterable[str]) -> dict[str, str]:
    """The variables that are secret by name or value, or contain a token or a secret value (no path)."""
    secrets = {name: value for name, value in variables.items() if _is_secret(name, value)}
    known = {*tokens, *secrets.values()}
    known = {value for value in known if not value.startswith("/")}
    others = [name for name in variables if name not in secrets]
    quoting = contain_secrets([variables[name] for name in others], known)
    return secrets | {name: variables[name] for name, quotes in zip(others, quoting, strict=True) if quotes}


def _is_secret(name: str, value: str) -> bool:
    """Whether a variable is secret by itself. JSON and headers count, because they may quote credentials."""
    return (
        is_secret_name(name)
        or name.endswith("_JSON")
        or name == _HEADERS_VARIABLE
        or looks_like_credential(value)
    )


def _names_of(entries: Iterable[JsonObject]) -> set[object]:
    return {entry.get("name") for entry in entries}


def _loggable(name: str) -> str:
    """An unchecked name, shortened and escaped for a log line."""
    return name if name.isprintable() and len(name) <= _LOG_CHARS else ascii(name[:_LOG_CHARS])


def _string_bytes(name: str, value: str) -> int:
    return len(f"{name}={value}".encode())


def _path_variable(name: str) -> str:
    return WAKE_PAYLOAD_FILE if name == WAKE_PAYLOAD else f"{name}_FILE"


def _file_name(name: str) -> str:
    return "wake-payload.json" if name == WAKE_PAYLOAD else f"{FILE_PREFIX}{name}"
