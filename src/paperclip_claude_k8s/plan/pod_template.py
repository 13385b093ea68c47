"""`podTemplate`: the configured overlay, merged into the Pod last, and the fields that it may not change.

The overlay is a strategic merge patch and may change almost everything: add containers, volumes, labels or
variables, change images and resources, choose nodes. The following fields stay as the adapter sets them,
because no run works without them:

- the agent's command, which is the relay, and the path and policy of its termination message;
- the restart settings by which the agent never starts twice: `restartPolicy`, restart rules, `resizePolicy`;
- the volumes of the run's files, and the mounts of the run's files and of the relay's folder;
- the variables PAPERCLIP_* and HOME, and the empty ones that override secrets of the host in an `envFrom`;
- labels and annotations with a reserved prefix, by which the Job and its Pod are found.

After the merge they are put back (`apply_overlay`); `refused_paths` names what the overlay could not change.
Example: `{"spec": {"containers": [{"name": "claude", "command": ["sh"], "tty": true}]}}` sets `tty`, and
`spec.containers.claude.command` is refused.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, RESERVED_PREFIXES
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.redact import is_secret_name, looks_like_credential, redact_command
from paperclip_claude_k8s.plan.host_only import SERVER_SECRETS, may_be_missing
from paperclip_claude_k8s.plan.paths import RUN_DIR, SCRATCH_DIR
from paperclip_claude_k8s.plan.strategic_merge import merge

CONTAINERS = ("initContainers", "containers")
_RESTART_FIELDS = ("restartPolicy", "restartPolicyRules")
"""Fields that decide whether the kubelet restarts a container (the second since Kubernetes 1.34)."""
_FIXED_FIELDS = ("command", "args", "terminationMessagePath", "terminationMessagePolicy", *_RESTART_FIELDS)
"""Fields of the agent's container that stay as the adapter sets them."""
_RESTART_ONE_CONTAINER = "Restart"
"""The only action of a restart rule that leaves the Pod's other containers alone."""
_FIXED_MOUNTS = frozenset({RUN_DIR, SCRATCH_DIR})
_FIXED_VOLUMES = frozenset({"run", "run-secret"})


IntoSecret: TypeAlias = Callable[[str, str], JsonMap]
"""Called with a variable's name and value: puts the value into the run Secret, and returns the reference."""
_REFERENCE = re.compile(r"(?<!\$)(?:\$\$)*+\$\(")
"""The beginning of `$(NAME)`, which Kubernetes resolves, but not of `$$(NAME)`, which stands for itself."""
_ARGUMENT = "PAPERCLIP_ARGUMENT_"
"""Prefix of the names of the variables that replace secret arguments in the overlay's containers."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """The patch, with references in place of secret values, which go into the run Secret: key → value."""

    template: JsonMap = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()
    """Labels and annotations with a credential, which were dropped, as they cannot refer to a Secret."""


def read_overlay(template: JsonMap | None, secret_name: str) -> Overlay:
    """The configured overlay with each value that looks secret replaced by a reference to the run Secret.

    A value that contains `$(NAME)` is not replaced: Kubernetes does not resolve `$(NAME)` in the value of a
    Secret, and what is secret is the value of the variable NAME.
    """
    if not template:
        return Overlay()
    secrets: dict[str, str] = {}
    spec: JsonMap = dict(template.get("spec") or {})
    for kind in CONTAINERS:
        if kind in spec:
            spec[kind] = [_with_references(container, secret_name, secrets) for container in spec[kind] or ()]
    metadata, left_out = _without_credentials(template.get("metadata") or {})
    named = {"metadata": metadata} if metadata else {}
    return Overlay({**template, **named, "spec": spec}, secrets, left_out)


def _without_credentials(metadata: JsonMap) -> tuple[JsonMap, tuple[str, ...]]:
    """The metadata without labels and annotations that hold a credential, and the names of these."""
    kept, left_out = dict(metadata), []
    for part in ("labels", "annotations"):
        entries = metadata.get(part)
        if isinstance(entries, Mapping):
            shown = {key: value for key, value in entries.items() if not looks_like_credential(str(value))}
            left_out += [f"metadata.{part}.{key}" for key in entries if key not in shown]
            kept[part] = shown
    return kept, tuple(sorted(left_out))


def _with_references(container: JsonMap, secret_name: str, secrets: dict[str, str]) -> JsonMap:
    """The container with secret values replaced by references; the values are added to `secrets`."""
    into_secret = partial(_into_secret, f"pod.{container.get('name', '')}.", secret_name, secrets)
    env = [_with_reference(entry, into_secret) for entry in container.get("env") or ()]
    arguments: JsonMap = {}
    if container.get("name") != AGENT_CONTAINER:  # the agent's stay as the adapter sets them
        for part in ("command", "args"):
            if isinstance(given := container.get(part), list):
                arguments[part], hidden = _hidden_arguments(part, given, into_secret)
                env += hidden
    return {**container, **arguments, **({"env": env} if env else {})}


def _hidden_arguments(
    part: str, given: list[Any], into_secret: IntoSecret
) -> tuple[list[Any], list[JsonMap]]:
    """The arguments with `$(NAME)` in place of secret ones, and the entries of these variables."""
    texts = [argument if isinstance(argument, str) else "" for argument in given]
    masked, shown, hidden = redact_command(texts), list(given), list[JsonMap]()
    for number, (text, redacted) in enumerate(zip(texts, masked, strict=True)):
        if text != redacted and not _REFERENCE.search(text):
            name = f"{_ARGUMENT}{part.upper()}_{number}"
            shown[number] = f"$({name})"
            hidden.append({"name": name, **into_secret(name, text)})
    return shown, hidden


def _with_reference(entry: JsonMap, into_secret: IntoSecret) -> JsonMap:
    """The entry of `env` with a secret value replaced by a reference."""
    name, value = str(entry.get("name", "")), entry.get("value")
    if not isinstance(value, str) or not value or _REFERENCE.search(value):
        return dict(entry)
    if not (is_secret_name(name) or looks_like_credential(value)):
        return dict(entry)
    return {**{part: given for part, given in entry.items() if part != "value"}, **into_secret(name, value)}


def _into_secret(prefix: str, secret_name: str, secrets: dict[str, str], name: str, value: str) -> JsonMap:
    """Put the value into the run Secret as Kubernetes would resolve it, and return a reference to it."""
    key = f"{prefix}{name}"
    secrets[key] = value.replace("$$", "$")
    return {"valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}


def apply_overlay(template: JsonMap, overlay: Overlay) -> JsonMap:
    """The Pod template with the overlay merged in and the required fields put back."""
    if not overlay.template:
        return template
    merged = merge(template, overlay.template)
    return {
        "metadata": _metadata(template["metadata"], merged.get("metadata") or {}),
        "spec": _spec(template["spec"], merged.get("spec") or {}),
    }


def refused_paths(template: JsonMap, overlay: Overlay) -> tuple[str, ...]:
    """Paths of the fields that the overlay could not change."""
    if not overlay.template:
        return ()
    return tuple(
        sorted(_differing(merge(template, overlay.template), apply_overlay(template, overlay), path=""))
    )


def _metadata(ours: JsonMap, merged: JsonMap) -> JsonMap:
    """Labels and annotations; other metadata is left out, because the Job controller sets it."""
    return {
        part: _with_reserved(ours.get(part) or {}, merged.get(part) or {})
        for part in ("labels", "annotations")
    }


def _with_reserved(ours: JsonMap, merged: JsonMap) -> JsonMap:
    """The merged labels or annotations, but those with a reserved prefix as in `ours`."""
    theirs = {key: value for key, value in merged.items() if not key.startswith(RESERVED_PREFIXES)}
    return {**theirs, **{key: value for key, value in ours.items() if key.startswith(RESERVED_PREFIXES)}}


def _spec(ours: JsonMap, merged: JsonMap) -> JsonMap:
    """The merged spec with the required fields as in `ours`."""
    agent = _named(ours["containers"], AGENT_CONTAINER)
    containers = merged.get("containers") or ()
    theirs = next((c for c in containers if c.get("name") == AGENT_CONTAINER), agent)
    others = [container for container in containers if container.get("name") != AGENT_CONTAINER]
    own_init = {container["name"]: container for container in ours.get("initContainers") or ()}
    init = [
        _init_container(own_init.get(container["name"]), container)
        for container in merged.get("initContainers") or ()
    ]
    fixed = [volume for volume in ours["volumes"] if volume["name"] in _FIXED_VOLUMES]
    volumes = [v for v in merged.get("volumes") or () if v.get("name") not in _FIXED_VOLUMES]
    return {
        **merged,
        "restartPolicy": ours["restartPolicy"],
        "containers": [_agent_container(agent, theirs), *map(_without_restart_of_others, others)],
        "volumes": [*fixed, *volumes],
        **({"initContainers": init} if init else {}),
    }


def _init_container(ours: JsonMap | None, theirs: JsonMap) -> JsonMap:
    """An init container or sidecar; if the adapter built it (`ours`), its restart fields stay."""
    return _without_restart_of_others(theirs) if ours is None else _with_ours(ours, theirs, _RESTART_FIELDS)


def _without_restart_of_others(container: JsonMap) -> JsonMap:
    """A container of the overlay without rules that restart other containers when it ends."""
    rules = container.get("restartPolicyRules")
    if not isinstance(rules, list):
        return container
    kept = [
        rule for rule in rules if isinstance(rule, Mapping) and rule.get("action") == _RESTART_ONE_CONTAINER
    ]
    rest = {key: value for key, value in container.items() if key != "restartPolicyRules"}
    return {**rest, "restartPolicyRules": kept} if kept else rest


def _with_ours(ours: JsonMap, theirs: JsonMap, keys: tuple[str, ...]) -> JsonMap:
    """`theirs` with the values that `ours` has for `keys`; keys that `ours` lacks are removed."""
    rest = {key: value for key, value in theirs.items() if key not in keys}
    return {**rest, **{key: ours[key] for key in keys if key in ours}}


def _agent_container(ours: JsonMap, theirs: JsonMap) -> JsonMap:
    """The agent's container with its fixed fields, variables and mounts put back."""
    return {
        **_without_restart_on_resize(_with_ours(ours, theirs, _FIXED_FIELDS)),
        "env": _with_hiding_variables(
            ours["env"], _put_back(ours["env"], theirs.get("env") or (), "name", _is_fixed_variable)
        ),
        "volumeMounts": _put_back(
            ours["volumeMounts"], theirs.get("volumeMounts") or (), "mountPath", _FIXED_MOUNTS.__contains__
        ),
    }


def _without_restart_on_resize(container: JsonMap) -> JsonMap:
    """The container without policies that restart it when its resources change."""
    policies = container.get("resizePolicy")
    if not isinstance(policies, list):
        return container
    restarts = {"restartPolicy": "RestartContainer"}.items()
    kept = [policy for policy in policies if not (isinstance(policy, Mapping) and policy.items() >= restarts)]
    return {**container, "resizePolicy": kept}


def _is_fixed_variable(name: str) -> bool:
    return name == "HOME" or name.startswith("PAPERCLIP_")


def _with_hiding_variables(ours: list[JsonMap], merged: list[JsonMap]) -> list[JsonMap]:
    """The merged variables, and those of `ours` that hide a secret of the host which no merged one hides.

    The hiding variables come first: where `$(NAME)` stands before the variable NAME, Kubernetes resolves it
    to the value of an `envFrom`.
    """
    hidden = SERVER_SECRETS & {entry["name"] for entry in ours}
    hiding = {entry["name"]: entry for entry in merged if entry.get("name") in hidden and _hides(entry)}
    missing = [entry for entry in ours if entry["name"] in hidden - hiding.keys()]
    others = [entry for entry in merged if entry.get("name") not in hidden]
    return [*missing, *hiding.values(), *others]


def _hides(entry: JsonMap) -> bool:
    """Whether the entry surely overrides a variable of the same name from an `envFrom` without quoting it."""
    return not may_be_missing(entry) and not _REFERENCE.search(str(entry.get("value") or ""))


def _put_back(ours: Any, theirs: Any, key: str, is_fixed: Any) -> list[JsonMap]:  # noqa: ANN401  # lists of JSON
    """`theirs` with the fixed items as in `ours`. They keep their places: `$(NAME)` depends on the order."""
    fixed = {item[key]: item for item in ours if is_fixed(item[key])}
    names = [str(item.get(key, "")) for item in theirs]
    placed = [
        fixed.pop(name, None) if is_fixed(name) else item for name, item in zip(names, theirs, strict=True)
    ]
    return [*fixed.values(), *(item for item in placed if item is not None)]


def _named(items: Any, name: str) -> JsonMap:  # noqa: ANN401  # a list of JSON
    found: JsonMap = next(item for item in items if item["name"] == name)
    return found


def _differing(wanted: Any, got: Any, path: str) -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Paths at which two values differ; items of lists are compared by name, in any order."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key in {*wanted, *got}:
            yield from _differing(wanted.get(key), got.get(key), f"{path}.{key}" if path else key)
    elif isinstance(wanted, list) and isinstance(got, list):
        yield from _differing(_by_name(wanted), _by_name(got), path)
    elif wanted != got:
        yield path


def _by_name(items: list[Any]) -> dict[Any, Any] | tuple[str, ...]:
    """Name → item; if an item has no name, the items as a tuple of texts."""
    keys = [
        item.get("name") or item.get("mountPath") if isinstance(item, Mapping) else None for item in items
    ]
    named = all(isinstance(key, str) and key for key in keys)
    return dict(zip(keys, items, strict=True)) if named else tuple(map(str, items))
