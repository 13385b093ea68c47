"""What the administrator of this host lets a config use. `policy.toml` documents every field.

A policy is one JSON or YAML object. Its keys are the fields in camelCase; a field that it leaves out has its
default. "Config" stands for everything that the host passes in: an agent's settings and the context of a run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel, to_snake

from paperclip_claude_k8s.host.quantity import parse_bytes, parse_cpu
from paperclip_claude_k8s.host.validators import Dollars, Flag, Seconds, Whole

POLICY_VARIABLE = "CLAUDE_K8S_POLICY"
"""Environment variable with the path of the policy's file."""
POLICY_FILE = f"the file named by {POLICY_VARIABLE}"
"""The policy's file, for messages."""
PAPERCLIP_INSTANCE, SHARED_VOLUME, SERVER_SKILLS = "$PAPERCLIP_INSTANCE", "$SHARED_VOLUME", "$SERVER_SKILLS"
"""Words with which an entry of `Folders` may begin; `policy_folders.py` says what they stand for."""
FOLDER_WORDS = (PAPERCLIP_INSTANCE, SHARED_VOLUME, SERVER_SKILLS)
EVERYTHING = ("*",)
DEFAULT_REPOSITORIES = ("https://*", "ssh://*")
"""Repositories by protocol. Over other protocols, everyone on the way can read and change what is sent."""
_WORKSPACES = (f"{PAPERCLIP_INSTANCE}/workspaces", f"{PAPERCLIP_INSTANCE}/projects", SHARED_VOLUME)
"""Folders in which the host's agents work. The server keeps its keys and its database next to them, so the
folder above them is not allowed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that a config asks for and the policy does not allow."""

    key: str
    """What asks for it, such as `kubeconfig` or `podTemplate.spec.nodeName`."""
    rule: str
    """Why it is not allowed, as a phrase without secrets."""
    field: str
    """The field of the policy, in camelCase, by which the administrator can allow it; "" if no field can."""


class PolicyInvalid(ValueError):
    """A policy cannot be used; the message names the field and what is expected."""


def _texts(expected: str, is_valid: Callable[[str], bool]) -> BeforeValidator:
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(text, str) and text.strip() and is_valid(text) for text in value
        ):
            raise ValueError(f"a list of {expected}")
        return tuple(value)

    return BeforeValidator(read)


def _is_folder(text: str) -> bool:
    return text.startswith("/") or text.split("/", 1)[0] in {"~", *FOLDER_WORDS}


def _quantity(parse: Callable[[object], object]) -> BeforeValidator:
    def read(value: object) -> str:
        parse(value)
        return str(value).strip()

    return BeforeValidator(read)


Folders: TypeAlias = Annotated[
    tuple[str, ...], _texts(f"paths that begin with /, ~, {' or '.join(FOLDER_WORDS)}", _is_folder)
]
"""Each allows itself and everything below it."""
Patterns: TypeAlias = Annotated[
    tuple[str, ...], _texts('names or patterns, such as ["agents-*"]', lambda _: True)
]
"""Each allows the names that match it as a whole: `*` stands for any text, `?` for one character."""
Cpu: TypeAlias = Annotated[str, _quantity(parse_cpu)]
Bytes: TypeAlias = Annotated[str, _quantity(parse_bytes)]


class Policy(BaseModel):
    """What configs may use. The default suits a host whose administrator is the only author of configs."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True)

    kubeconfigs: Folders | None = None
    kube_contexts: Patterns = EVERYTHING
    exec_plugins: Patterns = ()
    exec_plugin_variables: Patterns = ()
    instruction_roots: Folders = (f"{PAPERCLIP_INSTANCE}/companies/*/agents/*/instructions", *_WORKSPACES)
    skill_roots: Folders = (f"{PAPERCLIP_INSTANCE}/skills", SERVER_SKILLS, *_WORKSPACES)
    upload_roots: Folders = _WORKSPACES
    shared_volume_dirs: Folders | None = None
    mcp_baseline: Flag | None = None
    company_volumes: Flag = False

    namespaces: Patterns = EVERYTHING
    images: Patterns = EVERYTHING
    repositories: Patterns = DEFAULT_REPOSITORIES
    service_accounts: Patterns = EVERYTHING
    runtime_classes: Patterns = EVERYTHING
    priority_classes: Patterns = EVERYTHING
    queues: Patterns = EVERYTHING
    claim_creation: Flag = True
    storage_classes: Patterns = EVERYTHING
    docker: Flag = True
    root_user: Flag = True

    labels: Patterns = EVERYTHING
    annotations: Patterns = EVERYTHING
    tolerations: Patterns = EVERYTHING

    pod_template: Flag = True
    privileged: Flag = True
    capabilities: Patterns = EVERYTHING
    host_namespaces: Flag = True
    node_names: Patterns = EVERYTHING
    volume_types: Patterns = EVERYTHING
    secrets: Patterns = EVERYTHING
    config_maps: Patterns = EVERYTHING
    claims: Patterns = EVERYTHING
    service_account_tokens: Flag = True

    max_timeout_sec: Seconds | None = None
    max_ttl_seconds_after_finished: Seconds | None = None
    max_turns_per_run: Whole | None = None
    max_cost_usd_per_run: Dollars | None = None
    max_cost_usd_per_agent_per_day: Dollars | None = None
    max_cpu: Cpu | None = None
    max_memory: Bytes | None = None
    max_log_size: Bytes | None = None
    max_session_volume_size: Bytes | None = None

    @classmethod
    def read(cls, given: "Policy | Mapping[str, Any]") -> "Policy":
        """Return `given` as a `Policy`.

        Raises:
            PolicyInvalid: a field is unknown, has a wrong value, or is there twice in two spellings.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, Mapping):
            names = [to_snake(str(key)) for key in given]
            for name in names:
                if names.count(name) > 1:
                    raise PolicyInvalid(f"{to_camel(name)} is there twice: leave one out")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise PolicyInvalid(_explain(error)) from None

    def allows(self, field: str, name: str) -> bool:
        """Whether a field that is a flag or a list of patterns allows this name. `field`: in camelCase."""
        allowed = getattr(self, to_snake(field))
        return allowed if isinstance(allowed, bool) else matches(name, allowed)

    def allows_exec_plugin(self, command: str) -> bool:
        """Whether a kubeconfig may run this command on the host. `command`: as the kubeconfig spells it."""
        return matches(command, self.exec_plugins)

    def allows_plugin_variable(self, name: str) -> bool:
        """Whether exec plugins get this variable of the host beside the ordinary ones."""
        return matches(name, self.exec_plugin_variables)

    def extended(self, more: Mapping[str, Sequence[str]]) -> "Policy":
        """The policy with more entries in the lists that `more` names; a list of None counts as empty."""
        added = {to_snake(key): tuple(entries) for key, entries in more.items()}
        lists = {name: (*(getattr(self, name) or ()), *entries) for name, entries in added.items()}
        return self.model_copy(update=lists)

    def to_wire(self) -> dict[str, Any]:
        """Return every field in camelCase, as JSON."""
        return self.model_dump(mode="json", by_alias=True)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches one of the patterns as a whole: `*` is any text, `?` is one character."""
    return any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(map(str, first["loc"][:1]))
    if first["type"] == "extra_forbidden":
        return f"{key} is not a field of the policy (`claude-k8s policy` prints all fields)"
    expected = str(first.get("ctx", {}).get("error", first["msg"]))
    return f"{key}: expected {expected}" if key else f"expected one object ({expected})"
