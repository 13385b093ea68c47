"""The settings of a run: lenient input, exact output.

Forms, people and older hosts write settings in different ways. Before validation the input is tidied, in
this order: known keys get their camelCase name, `resources` becomes four flat keys, the form's `envVars` is
merged into `env`, and values that mean "unset" are dropped. `settings.toml` documents every setting.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel, to_snake

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.input_bounds import count_chars, find_excess
from paperclip_claude_k8s.host.quantity import parse_bytes, parse_cpu
from paperclip_claude_k8s.host.session_volume_settings import SessionVolumeSettings
from paperclip_claude_k8s.host.skills import find_excess_skills
from paperclip_claude_k8s.host.validators import (
    AutoFlag,
    Dollars,
    Environment,
    Flag,
    HostPath,
    Kubeconfigs,
    Objects,
    PodTemplate,
    Seconds,
    Servers,
    Str,
    TextList,
    TextMap,
    Whole,
    choice,
    read_variables,
)
from paperclip_claude_k8s.host.workspace_settings import WorkspaceSettings

_SEARCHED_FOR_SECRETS = frozenset({"extra_args", "mcp_servers", "pod_template"})
"""Settings whose texts are searched for secrets."""
SECRET_KEYS = frozenset({"env", "mcpServers", "extraArgs", "podTemplate"})
"""Keys whose values may contain credentials, and are never quoted in an error."""

FORM_SECTION = "formSection"
"""Key under which the form stores which further settings it shows. Nothing else reads it."""
HOST_KEYS = frozenset(
    {
        FORM_SECTION,
        "command",
        "instructionsBundleMode",
        "instructionsEntryFile",
        "instructionsRootPath",
        "managedAiConnection",
        "paperclipConnectorSkillDigest",
        "paperclipRuntimeSkills",
        "paperclipSkillSync",
    }
)
"""Keys that the host or its form adds to configs; they are not reported as unknown."""

ZERO_MEANS_DEFAULT = frozenset(
    {
        "ttlSecondsAfterFinished",
        "graceSec",
        "stopGraceSec",
        "scheduleTimeoutSec",
        "imagePullTimeoutSec",
        "missingImageTimeoutSec",
        "startTimeoutSec",
        "terminatingWaitSec",
        "rtkMaxOutputBytes",
    }
)
"""Keys for which 0 means unset: a form writes 0 for an empty number field, and 0 would make no sense."""

_ALIASES = {"thinkingEffort": "effort", "args": "extraArgs"}
"""Older name of a setting → its current name; if a config has both, the value of the current name is used."""
_CURRENT_NAMES = {to_snake(old): new for old, new in _ALIASES.items()} | _ALIASES
"""`_ALIASES`, with the snake_case spelling of the older names too."""

FORM_ENV = "envVars"
"""Key under which a form writes `env`, as text: the host accepts `env` itself only as an object.

If both set a variable, the value in `env` is used.
"""

_RESOURCE_KEYS = tuple(
    f"resources.{kind}.{resource}" for kind in ("requests", "limits") for resource in ("cpu", "memory")
)


class ConfigInvalid(ValueError):
    """A setting has a wrong value.

    The message names the key, what is expected and the value, except the value of a key in `SECRET_KEYS`.
    """


def _read_cpu(value: object) -> str:
    parse_cpu(value)
    return str(value).strip()


def _read_bytes(value: object) -> str:
    parse_bytes(value)
    return str(value).strip()


Cpu = Annotated[str, BeforeValidator(_read_cpu)]
Bytes = Annotated[str, BeforeValidator(_read_bytes)]


class AdapterConfig(SessionVolumeSettings, WorkspaceSettings):
    """Every setting of one run, with defaults filled in. Read it with `AdapterConfig.read`.

    Fields ending in `_sec` are seconds and may have fractions. CPU, memory and `log_size_limit` are
    Kubernetes quantities. `docs/configuration.md` describes each field; its source is `settings.toml`.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    model: Str | None = None
    effort: Str | None = None
    cwd: HostPath | None = None
    instructions_file_path: HostPath | None = None
    prompt_template: Str | None = None
    bootstrap_prompt_template: Str | None = None
    max_turns_per_run: Whole = 0
    max_cost_usd_per_run: Dollars = 0.0
    dangerously_skip_permissions: Flag = True
    allowed_tools: TextList = ()
    extra_args: TextList = Field(default=(), repr=False)
    env: Environment = Field(default={}, repr=False)
    mcp_servers: Servers = Field(default={}, repr=False)

    namespace: Str | None = None
    image: Str | None = None
    image_pull_policy: Annotated[str, choice("Always", "IfNotPresent", "Never")] = "IfNotPresent"
    kubeconfig: Kubeconfigs | None = None
    kube_context: Str | None = None
    claim_name: Str | None = None
    test_with_probe: Flag = False
    service_account_name: Str | None = None
    runtime_class_name: Str | None = None
    priority_class_name: Str | None = None
    queue_name: Str | None = None

    cpu_request: Cpu = "1000m"
    memory_request: Bytes = "2Gi"
    cpu_limit: Cpu = "4000m"
    memory_limit: Bytes = "8Gi"

    node_selector: TextMap | None = None
    labels: TextMap = Field(default={})
    tolerations: Objects | None = None
    pod_template: PodTemplate | None = Field(default=None, repr=False)
    run_as_user: Whole | None = 1000

    ttl_seconds_after_finished: Seconds = 3600
    timeout_sec: Seconds = 0
    grace_sec: Seconds = 60
    stop_grace_sec: Seconds = 20
    result_grace_sec: Seconds = 300
    schedule_timeout_sec: Seconds = 120
    image_pull_timeout_sec: Seconds = 900
    missing_image_timeout_sec: Seconds = 60
    start_timeout_sec: Seconds = 120
    terminating_wait_sec: Seconds = 60
    concurrency_wait_sec: Seconds = 14_400

    retain_jobs: Flag = False
    reattach_orphaned_jobs: Flag = True
    protect_from_eviction: Flag = True
    refresh_on_spawn: Flag = True
    continuation_marker: Flag = True
    concurrency_scope: Annotated[Literal["agent", "task"], choice("agent", "task")] = "agent"
    prompt_delivery: Annotated[Literal["secret", "init"], choice("secret", "init")] = "secret"

    shared_volume_dir: HostPath | None = None
    tee_run_log: AutoFlag = None
    retain_run_logs: Flag = False
    log_format: Annotated[Literal["auto", "text", "events"], choice("auto", "text", "events")] = "auto"
    log_size_limit: Bytes = "10Gi"

    enable_rtk: Flag = False
    rtk_max_output_bytes: Whole = 50_000
    enable_docker: Flag = False
    job_events: Flag = False
    docker_image: Str = "docker:28-dind"
    quota_gate_url: Str | None = None

    @model_validator(mode="before")
    @classmethod
    def _tidy_input(cls, given: Any) -> Any:  # noqa: ANN401  # whatever the host stored
        if not isinstance(given, Mapping):
            return given
        return _without_unset(_with_form_env(_with_flat_resources(_with_current_names(given))))

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "AdapterConfig":
        """Read the config of a run as the host passes it; unknown keys are ignored.

        Raises:
            ConfigInvalid: a setting has a wrong value, or a value is too deep, too long or too large.
        """
        for key, value in given.items():
            if excess := find_excess(value):
                raise ConfigInvalid(f"config.{str(key)[:80]} {excess}")
        if excess := next(find_excess_skills(given), None):
            raise ConfigInvalid(f"config.{excess}")
        try:
            config = cls.model_validate(given)
        except ValidationError as error:
            raise ConfigInvalid(_explain(error)) from None
        _check_sizes(config)
        if config.kube_context is not None and config.kubeconfig is None:
            raise ConfigInvalid("config.kubeContext needs kubeconfig: only a kubeconfig has contexts")
        return config

    @property
    def env_values(self) -> Mapping[str, str]:
        """The variables of `env` that have a value."""
        return {name: value for name, value in self.env.items() if isinstance(value, str)}

    @property
    def env_references(self) -> Mapping[str, JsonMap]:
        """The variables of `env` that refer to a Secret or ConfigMap: name → `valueFrom` of the variable."""
        return {name: source for name, source in self.env.items() if not isinstance(source, str)}

    @property
    def log_limit_bytes(self) -> int:
        """`log_size_limit` in bytes."""
        return parse_bytes(self.log_size_limit)


def _check_sizes(config: AdapterConfig) -> None:
    """Raise `ConfigInvalid` for so much text that other runs would wait while this one is prepared."""
    total = 0
    for name in AdapterConfig.model_fields:
        size = count_chars(getattr(config, name))
        total += size
        if name in _SEARCHED_FOR_SECRETS and size > LIMITS.examined_chars:
            key = documented_key(to_camel(name))
            raise ConfigInvalid(f"config.{key} has more than {LIMITS.examined_chars} characters")
    if total > LIMITS.config_chars:
        raise ConfigInvalid(f"config has more than {LIMITS.config_chars} characters")


def unknown_keys(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that are not settings, sorted, without those that the host itself adds."""
    known = {field.alias or name for name, field in AdapterConfig.model_fields.items()}
    known |= {*AdapterConfig.model_fields, *HOST_KEYS, *_ALIASES, *_RESOURCE_KEYS, "resources", FORM_ENV}
    return tuple(sorted(key for key in given if key not in known and not key.startswith("paperclip")))


def older_names(key: str) -> tuple[str, ...]:
    """Return the older names of the setting with this camelCase key."""
    return tuple(old for old, new in _ALIASES.items() if new == key)


def _with_current_names(given: Mapping[str, Any]) -> JsonMap:
    """Return `given` with each setting under its current name, in camelCase."""
    renamed = {_CURRENT_NAMES[key]: value for key, value in given.items() if key in _CURRENT_NAMES}
    plain = {
        to_camel(key) if key in AdapterConfig.model_fields else key: value
        for key, value in given.items()
        if key not in _CURRENT_NAMES
    }
    return renamed | plain  # the current name takes precedence


def _with_flat_resources(given: JsonMap) -> JsonMap:
    """Return `given` with `resources` in four flat keys, such as `cpuLimit`.

    A dotted key, such as `resources.limits.cpu`, takes precedence over the nested object, and both over a
    flat key in `given`.
    """
    nested = given.get("resources")
    if nested is not None and not isinstance(nested, Mapping):
        raise ValueError("resources: expected an object with requests and limits")
    flat = dict(given)
    for dotted in _RESOURCE_KEYS:
        _, kind, resource = dotted.split(".")
        inner = (nested or {}).get(kind)
        value = given.get(dotted, inner.get(resource) if isinstance(inner, Mapping) else None)
        if value is not None:
            flat[f"{resource}{kind.removesuffix('s').capitalize()}"] = value
    return flat


def _with_form_env(given: JsonMap) -> JsonMap:
    """Return `given` with a form's `envVars` merged into `env`.

    An invalid `env` is left for the validator.
    """
    lines = given.get(FORM_ENV)
    if lines is None or lines == "":
        return given
    try:
        from_form = read_variables(lines)
    except ValueError as error:
        raise ValueError(f"{FORM_ENV}: expected {error}") from None
    try:
        return given | {"env": from_form | read_variables(given.get("env") or {})}
    except ValueError:
        return given


def _without_unset(given: JsonMap) -> JsonMap:
    """Return `given` without values that mean "unset": blank text, nulls, and 0 where it makes no sense."""
    return {key: value for key, value in given.items() if not _is_unset(key, value)}


def _is_unset(key: str, value: object) -> bool:
    if key == "runAsUser" and value is None:
        return False  # null is a value of this setting: the cluster chooses the user id
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return key in ZERO_MEANS_DEFAULT and value == 0 and not isinstance(value, bool)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    expected = str(first.get("ctx", {}).get("error", first["msg"]))
    if not first["loc"]:  # raised by `_tidy_input`: the text begins with the key
        return f"config.{expected}"
    key = str(first["loc"][0])
    shown = "(value not shown)" if key in SECRET_KEYS else f"got {_short(first['input'])}"
    return f"config.{documented_key(key)}: expected {expected}, {shown}"


def documented_key(key: str) -> str:
    """Return a setting's camelCase key as documents show it: that of a resource is dotted."""
    for dotted in _RESOURCE_KEYS:
        _, kind, resource = dotted.split(".")
        if key == f"{resource}{kind.removesuffix('s').capitalize()}":
            return dotted
    return key


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
