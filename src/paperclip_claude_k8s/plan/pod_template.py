"""`podTemplate`: an operator's overlay over the Pod, laid on last, and what it may not touch (SPEC 3)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, RESERVED_PREFIXES
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.redact import holds_secret, is_secret_name
from paperclip_claude_k8s.plan.paths import RUN_DIR, SCRATCH_DIR
from paperclip_claude_k8s.plan.strategic_merge import merge

CONTAINERS = ("initContainers", "containers")
_RESTARTS = ("restartPolicy", "restartPolicyRules")
"""Whether the kubelet starts a container again in its place (Kubernetes 1.34 and newer)."""
_FIXED = ("command", "args", "terminationMessagePath", "terminationMessagePolicy", *_RESTARTS)
"""The relay, and where it leaves its summary: without them no run could be judged. No agent runs twice."""
_RESTART_ALONE = "Restart"
"""The one action of a restart rule that leaves the other containers of the Pod alone."""
_FIXED_MOUNTS = frozenset({RUN_DIR, SCRATCH_DIR})
_FIXED_VARIABLES = ("PAPERCLIP_", "HOME")
_FIXED_VOLUMES = frozenset({"run", "run-secret"})


@dataclass(frozen=True, slots=True)
class Overlay:
    """What to lay over the Pod's template; secret values in it travel in the run Secret, key → value."""

    template: JsonMap = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_overlay(template: JsonMap | None, secret_name: str) -> Overlay:
    """The configured overlay with a reference to the run Secret in place of each secret-looking value."""
    if not template:
        return Overlay()
    secrets: dict[str, str] = {}
    spec: JsonMap = dict(template.get("spec") or {})
    for kind in CONTAINERS:
        if kind in spec:
            spec[kind] = [_hidden(container, secret_name, secrets) for container in spec[kind] or ()]
    return Overlay({**template, "spec": spec}, secrets)


def _hidden(container: JsonMap, secret_name: str, secrets: dict[str, str]) -> JsonMap:
    env = [_reference(entry, container, secret_name, secrets) for entry in container.get("env") or ()]
    return {**container, "env": env} if env else dict(container)


def _reference(entry: JsonMap, container: JsonMap, secret_name: str, secrets: dict[str, str]) -> JsonMap:
    name, value = str(entry.get("name", "")), entry.get("value")
    if not isinstance(value, str) or not value or not (is_secret_name(name) or holds_secret(value)):
        return dict(entry)
    key = f"pod.{container.get('name', '')}.{name}"
    secrets[key] = value
    rest = {part: given for part, given in entry.items() if part != "value"}
    return {**rest, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}


def apply_overlay(template: JsonMap, overlay: Overlay) -> JsonMap:
    """The Pod's template under the overlay, with what a run cannot do without put back."""
    if not overlay.template:
        return template
    merged = merge(template, overlay.template)
    return {
        "metadata": _metadata(template["metadata"], merged.get("metadata") or {}),
        "spec": _spec(template["spec"], merged.get("spec") or {}),
    }


def refused_paths(template: JsonMap, overlay: Overlay) -> tuple[str, ...]:
    """Where the overlay was not followed, as paths; nothing where it was."""
    if not overlay.template:
        return ()
    return tuple(sorted(_differing(merge(template, overlay.template), apply_overlay(template, overlay), "")))


def _metadata(ours: JsonMap, merged: JsonMap) -> JsonMap:
    """Labels and annotations only: name and namespace are the controller's."""
    return {part: _kept(ours.get(part) or {}, merged.get(part) or {}) for part in ("labels", "annotations")}


def _kept(ours: JsonMap, merged: JsonMap) -> JsonMap:
    theirs = {key: value for key, value in merged.items() if not key.startswith(RESERVED_PREFIXES)}
    return {**theirs, **{key: value for key, value in ours.items() if key.startswith(RESERVED_PREFIXES)}}


def _spec(ours: JsonMap, merged: JsonMap) -> JsonMap:
    agent = _named(ours["containers"], AGENT_CONTAINER)
    containers = merged.get("containers") or ()
    theirs = next((c for c in containers if c.get("name") == AGENT_CONTAINER), agent)
    others = [container for container in containers if container.get("name") != AGENT_CONTAINER]
    own_init = {container["name"]: container for container in ours.get("initContainers") or ()}
    init = [
        _init(own_init.get(container["name"]), container) for container in merged.get("initContainers") or ()
    ]
    fixed = [volume for volume in ours["volumes"] if volume["name"] in _FIXED_VOLUMES]
    volumes = [v for v in merged.get("volumes") or () if v.get("name") not in _FIXED_VOLUMES]
    return {
        **merged,
        "restartPolicy": ours["restartPolicy"],
        "containers": [_agent(agent, theirs), *map(_restarting_alone, others)],
        "volumes": [*fixed, *volumes],
        **({"initContainers": init} if init else {}),
    }


def _init(ours: JsonMap | None, theirs: JsonMap) -> JsonMap:
    """An init container or sidecar: one of ours is started as often as we said."""
    return _restarting_alone(theirs) if ours is None else _with_ours(ours, theirs, _RESTARTS)


def _restarting_alone(container: JsonMap) -> JsonMap:
    """A container of the overlay, without rules by which its end restarts the agent as well."""
    rules = container.get("restartPolicyRules")
    if not isinstance(rules, list):
        return container
    kept = [rule for rule in rules if isinstance(rule, Mapping) and rule.get("action") == _RESTART_ALONE]
    rest = {key: value for key, value in container.items() if key != "restartPolicyRules"}
    return {**rest, "restartPolicyRules": kept} if kept else rest


def _with_ours(ours: JsonMap, theirs: JsonMap, keys: tuple[str, ...]) -> JsonMap:
    """Theirs, but for these keys: each as ours has it, or not at all."""
    rest = {key: value for key, value in theirs.items() if key not in keys}
    return {**rest, **{key: ours[key] for key in keys if key in ours}}


def _agent(ours: JsonMap, theirs: JsonMap) -> JsonMap:
    """The agent's container: what the relay stands on, and what the run says of itself, are ours."""
    return {
        **_resized_in_place(_with_ours(ours, theirs, _FIXED)),
        "env": _put_back(ours["env"], theirs.get("env") or (), "name", _is_fixed_variable),
        "volumeMounts": _put_back(
            ours["volumeMounts"], theirs.get("volumeMounts") or (), "mountPath", _FIXED_MOUNTS.__contains__
        ),
    }


def _resized_in_place(container: JsonMap) -> JsonMap:
    """Without the wish to be started again when its resources change."""
    policies = container.get("resizePolicy")
    if not isinstance(policies, list):
        return container
    restarts = {"restartPolicy": "RestartContainer"}.items()
    kept = [policy for policy in policies if not (isinstance(policy, Mapping) and policy.items() >= restarts)]
    return {**container, "resizePolicy": kept}


def _is_fixed_variable(name: str) -> bool:
    return name.startswith(_FIXED_VARIABLES)


def _put_back(ours: Any, theirs: Any, key: str, is_fixed: Any) -> list[JsonMap]:  # noqa: ANN401  # lists of JSON
    fixed = {item[key]: item for item in ours if is_fixed(item[key])}
    others = [item for item in theirs if not is_fixed(str(item.get(key, "")))]
    return [*others, *fixed.values()]


def _named(items: Any, name: str) -> JsonMap:  # noqa: ANN401  # a list of JSON
    found: JsonMap = next(item for item in items if item["name"] == name)
    return found


def _differing(wished: Any, got: Any, where: str) -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Paths at which two values differ; items of lists go by their name, order aside."""
    if isinstance(wished, Mapping) and isinstance(got, Mapping):
        for key in {*wished, *got}:
            yield from _differing(wished.get(key), got.get(key), f"{where}.{key}" if where else key)
    elif isinstance(wished, list) and isinstance(got, list):
        yield from _differing(_by_name(wished), _by_name(got), where)
    elif wished != got:
        yield where


def _by_name(items: list[Any]) -> Any:  # noqa: ANN401  # a map, or what cannot be one
    keys = [
        item.get("name") or item.get("mountPath") if isinstance(item, Mapping) else None for item in items
    ]
    return dict(zip(keys, items, strict=True)) if all(keys) else tuple(map(str, items))
