"""Finds the settings that the administrator's policy does not allow, without looking at files of the host."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TypeAlias

from paperclip_claude_k8s.base.json_readers import get_object
from paperclip_claude_k8s.host.config import AdapterConfig, documented_key
from paperclip_claude_k8s.host.policy import Policy, Refusal
from paperclip_claude_k8s.host.quantity import parse_bytes, parse_cpu
from paperclip_claude_k8s.host.sensitive_fields import SensitiveField, sensitive_fields, toleration_names
from paperclip_claude_k8s.host.session_volume_settings import AUTO

TEMPLATE = "podTemplate"
_SENSITIVE_LABELS = {
    "kueue.x-k8s.io/queue-name": "queues",
    "kueue.x-k8s.io/priority-class": "priorityClasses",
}
"""Label that does the same as a setting → field of the policy that governs both."""
UNLIMITED = float("inf")
Number: TypeAlias = float | Decimal
_SHOWN_CHARS = 100
"""Characters of a name or a list of names that a refusal shows."""


def config_refusals(config: AdapterConfig, policy: Policy) -> tuple[Refusal, ...]:
    """What the policy does not allow, except paths of the host, which `run/admit.py` examines."""
    rules = (_names, _labels, _tolerations, _flags, _budgets, _env, _template)
    return tuple(refusal for rule in rules for refusal in rule(config, policy))


def field_refusal(field: SensitiveField, policy: Policy, key: str) -> Refusal | None:
    """Why the policy does not allow this field of a Pod; None if it does."""
    if policy.allows(field.policy_field, field.name):
        return None
    return Refusal(key, why_refused(field.policy_field, field.name, policy), field.policy_field)


def why_refused(policy_field: str, name: str, policy: Policy) -> str:
    """Return why a name is refused: no pattern in the policy's list matches it, or a flag is off."""
    allowed = policy.to_wire()[policy_field]
    if isinstance(allowed, bool):
        return f"{policy_field} is false"
    shown = ", ".join(allowed) or "no name"
    return f"{shorten(name)} is not allowed: {policy_field} has {shorten(shown)}"


def _names(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    auto = config.session_volume == AUTO
    named = (
        ("kubeContext", "kubeContexts", config.kube_context),
        ("namespace", "namespaces", config.namespace),
        ("image", "images", config.image),
        ("dockerImage", "images", config.docker_image if config.enable_docker else None),
        ("gitImage", "images", config.git_image),
        ("gitSecret", "secrets", config.git_secret),
        ("claimName", "claims", config.claim_name),
        ("sessionVolume", "claims", config.session_claim_name),
        ("sessionVolumeClass", "storageClasses", config.session_volume_class if auto else None),
        ("serviceAccountName", "serviceAccounts", config.service_account_name),
        ("runtimeClassName", "runtimeClasses", config.runtime_class_name),
        ("priorityClassName", "priorityClasses", config.priority_class_name),
        ("queueName", "queues", config.queue_name),
    )
    for key, policy_field, name in named:
        if name is not None and not policy.allows(policy_field, name):
            yield Refusal(key, why_refused(policy_field, name, policy), policy_field)


def _labels(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    for label in config.labels:
        if not policy.allows("labels", label):
            yield Refusal(f"labels.{shorten(label)}", why_refused("labels", label, policy), "labels")
    template = get_object(get_object(config.pod_template or {}, "metadata"), "labels")
    for key, labels in (("labels", config.labels), (f"{TEMPLATE}.metadata.labels", template)):
        for label, policy_field in _SENSITIVE_LABELS.items():
            name = str(labels.get(label) or "")
            if name and not policy.allows(policy_field, name):
                yield Refusal(f"{key}.{label}", why_refused(policy_field, name, policy), policy_field)


def _tolerations(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    for name in toleration_names(config.tolerations):
        if not policy.allows("tolerations", name):
            yield Refusal("tolerations", why_refused("tolerations", name, policy), "tolerations")


def _flags(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    used = (
        ("enableDocker", "docker", config.enable_docker),
        ("sessionVolume", "claimCreation", config.session_volume == AUTO),
        ("runAsUser", "rootUser", config.run_as_user == 0),
        ("serviceAccountName", "serviceAccountTokens", config.service_account_name is not None),
        (TEMPLATE, "podTemplate", config.pod_template is not None),
    )
    for key, policy_field, is_used in used:
        if is_used and not policy.allows(policy_field, ""):
            yield Refusal(key, f"{policy_field} is false", policy_field)


def _budgets(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    """Settings above the policy's highest values. A setting of 0 that means "no limit" is above each of them.

    An agent that ignores SIGTERM works until `stopGraceSec` is over, so `maxTimeoutSec` limits it as well.
    """
    cpu, memory, log_size = policy.max_cpu, policy.max_memory, policy.max_log_size
    used_memory, used_log = parse_bytes(config.memory_limit), config.log_limit_bytes
    volume = parse_bytes(config.session_volume_size) if config.session_volume == AUTO else 0
    most_volume = policy.max_session_volume_size
    limited: tuple[tuple[str, str, Number, Number | None], ...] = (
        ("timeoutSec", "maxTimeoutSec", config.timeout_sec or UNLIMITED, policy.max_timeout_sec),
        ("stopGraceSec", "maxTimeoutSec", config.stop_grace_sec, policy.max_timeout_sec),
        (
            "ttlSecondsAfterFinished",
            "maxTtlSecondsAfterFinished",
            config.ttl_seconds_after_finished,
            policy.max_ttl_seconds_after_finished,
        ),
        ("maxTurnsPerRun", "maxTurnsPerRun", config.max_turns_per_run or UNLIMITED, policy.max_turns_per_run),
        (
            "maxCostUsdPerRun",
            "maxCostUsdPerRun",
            config.max_cost_usd_per_run or UNLIMITED,
            policy.max_cost_usd_per_run,
        ),
        ("cpuLimit", "maxCpu", parse_cpu(config.cpu_limit) or UNLIMITED, parse_cpu(cpu) if cpu else None),
        ("memoryLimit", "maxMemory", used_memory or UNLIMITED, parse_bytes(memory) if memory else None),
        (
            "logSizeLimit",
            "maxLogSize",
            used_log or UNLIMITED,
            parse_bytes(log_size) if log_size else None,
        ),
        (
            "sessionVolumeSize",
            "maxSessionVolumeSize",
            volume,
            parse_bytes(most_volume) if most_volume else None,
        ),
    )
    for key, policy_field, value, most in limited:
        if most is not None and value > most:
            fault = "there is no limit" if value == UNLIMITED else "it is too much"
            why = f"{fault}: {policy_field} is {policy.to_wire()[policy_field]}"
            yield Refusal(documented_key(key), why, policy_field)
    extra_options = {argument.partition("=")[0] for argument in config.extra_args}
    for option, key, most in (
        ("--max-turns", "maxTurnsPerRun", policy.max_turns_per_run),
        ("--max-budget-usd", "maxCostUsdPerRun", policy.max_cost_usd_per_run),
    ):
        if most is not None and option in extra_options:
            yield Refusal("extraArgs", f"{option} replaces {key}, which {key} of the policy limits", key)


def _env(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    """Variables from a Secret or ConfigMap that the policy does not allow."""
    for name, source in config.env_references.items():
        for field in sensitive_fields({"valueFrom": source}):
            refusal = field_refusal(field, policy, f"env.{shorten(name)}.{field.path}")
            if refusal is not None:
                yield refusal


def _template(config: AdapterConfig, policy: Policy) -> Iterator[Refusal]:
    for field in sensitive_fields(config.pod_template or {}):
        refusal = field_refusal(field, policy, f"{TEMPLATE}.{field.path}")
        if refusal is not None:
            yield refusal


def shorten(text: str) -> str:
    """Return the text, or the beginning of a long text: a name in a config may have any length."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
