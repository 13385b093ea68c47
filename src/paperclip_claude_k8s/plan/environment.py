"""The agent's environment, lowest layer first: home pod, run, config (SPEC 3, HOST.md 7.6)."""

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
"""Longest environment string: Linux refuses one of 128 KiB at exec, with some distance."""
_LEGAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
"""What every shell and every Kubernetes takes, and short enough for a Secret's key."""

_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
FILE_PREFIX = "env-"
"""Begins the name of a file that holds a variable too long for the environment."""
_AGENT_HEADER = "X-Anthropic-Agent-Id"
_TELLING_CHARS = 8
"""A secret value this long or longer is looked for inside other values."""

_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Environment:
    """What goes into the Pod as plain values, what through the run Secret, and what home refers to.

    `files` are name → text for the run Secret: values too long for an environment string, whose variable is
    replaced by one that names the file. The rest are names, for a line to the host: `oversized` travel as
    files, `dropped` mean nothing in a Pod, `overruled` the config may not set.
    """

    literals: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    value_from: tuple[JsonObject, ...] = ()
    env_from: tuple[JsonObject, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    oversized: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()

    @property
    def api_url(self) -> str:
        """The host's address as the Pod reaches it; "" where only the cluster knows it."""
        return self.literals.get(API_URL) or self.secrets.get(API_URL, "")

    @property
    def on_bedrock(self) -> bool:
        """Does the agent talk to Amazon Bedrock? A switch only the cluster can read is believed to be on."""
        return uses_bedrock({**self.literals, **self.secrets}) or BEDROCK_SWITCH in _names(self.value_from)

    @property
    def names(self) -> frozenset[str]:
        """Variables that hold something, by name; what `env_from` brings is known to the cluster only."""
        held = {name for name, value in {**self.literals, **self.secrets}.items() if value}
        return frozenset({*held, *(str(entry["name"]) for entry in self.value_from)})


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
    wished = {name: value for name, value in config.env.items() if not _is_ours(name, own)}
    overruled = {name for name, value in config.env.items() if name not in wished and own.get(name) != value}
    if is_loopback(api_url) and API_URL in _names(inherited.value_from):
        del own[API_URL]  # only the cluster knows it, and it cannot be worse than our own loopback
    usable, dropped = _usable({**inherited.literals, **wished}, shared_dir, api_url)
    usable.pop("HOME", None)  # home's own HOME; the Pod's is fixed
    on_top = {name: usable[name] for name in wished if name in usable}
    merged = _with_agent_header({**usable, **own, **on_top}, ctx, inherited)
    travelling = _sorted_out(merged, inherited, bearer_tokens(ctx))
    return replace(
        travelling,
        overruled=tuple(sorted(_shown(name) for name in overruled)),
        dropped=tuple(sorted(_shown(name) for name in {*dropped, *inherited.dropped} - travelling.names)),
    )


def _is_ours(name: str, own: Mapping[str, str]) -> bool:
    """May the config not set this? Its identity is the run's own word (HOST.md 7.6)."""
    if name in {API_KEY, WAKE_PAYLOAD_FILE, "HOME"}:
        return True
    return name.startswith("PAPERCLIP_") and name in own


def _usable(
    variables: Mapping[str, str], shared_dir: str | None, api_url: str
) -> tuple[dict[str, str], set[str]]:
    """Those that mean something in a Pod, and the names of the others."""
    kept: dict[str, str] = {}
    dropped: set[str] = set()
    for name, given in variables.items():
        value = pod_value(name, given, shared_dir=shared_dir, api_url=api_url)
        if value is None or "\0" in value or not _LEGAL_NAME.fullmatch(name):
            dropped.add(name)
        else:
            kept[name] = encodable(value)
    return kept, dropped


def _with_agent_header(
    variables: dict[str, str], ctx: ExecutionContext, inherited: Inherited
) -> dict[str, str]:
    """Names the agent to the model's API, unless that would hide headers only the cluster can resolve."""
    present = variables.get(_HEADERS, "")
    unseen = _HEADERS not in variables and (inherited.env_from or _HEADERS in _names(inherited.value_from))
    named = any(
        line.partition(":")[0].strip().lower() == _AGENT_HEADER.lower() for line in present.splitlines()
    )
    if unseen or named or not ctx.agent.id.isprintable():
        return variables
    header = f"{_AGENT_HEADER}: {ctx.agent.id}"
    return {**variables, _HEADERS: f"{present.rstrip()}\n{header}" if present.strip() else header}


def _sorted_out(variables: Mapping[str, str], inherited: Inherited, tokens: frozenset[str]) -> Environment:
    """Decide for each variable how it travels."""
    hidden = dict.fromkeys(SERVER_SECRETS - variables.keys(), "") if inherited.env_from else {}
    large = {name: value for name, value in variables.items() if _bytes(name, value) > ENV_STRING_BYTES}
    fixed = {"HOME": POD_HOME, **{_pointer(name): f"{RUN_DIR}/{_file_name(name)}" for name in large}}
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
    """By name, by shape, and whatever repeats a value that is secret elsewhere; paths are no secrets."""
    secrets = {name: value for name, value in variables.items() if _is_secret(name, value)}
    telling = {*tokens, *secrets.values()}
    telling = {value for value in telling if len(value) >= _TELLING_CHARS and not value.startswith("/")}
    repeating = {name: value for name, value in variables.items() if any(part in value for part in telling)}
    return secrets | repeating


def _is_secret(name: str, value: str) -> bool:
    """JSON and headers carry what people and services wrote, so nobody can vouch for them."""
    return is_secret_name(name) or name.endswith("_JSON") or name == _HEADERS or holds_secret(value)


def _names(entries: Iterable[JsonObject]) -> set[object]:
    return {entry.get("name") for entry in entries}


def _shown(name: str) -> str:
    """A name nobody vouches for, as a log line bears it."""
    return name if name.isprintable() and len(name) <= _SHOWN_CHARS else ascii(name[:_SHOWN_CHARS])


def _bytes(name: str, value: str) -> int:
    return len(f"{name}={value}".encode())


def _pointer(name: str) -> str:
    return WAKE_PAYLOAD_FILE if name == WAKE_PAYLOAD else f"{name}_FILE"


def _file_name(name: str) -> str:
    return "wake-payload.json" if name == WAKE_PAYLOAD else f"{FILE_PREFIX}{name}"
