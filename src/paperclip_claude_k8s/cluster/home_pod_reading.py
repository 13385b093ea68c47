"""Reads what Jobs inherit from the home pod, the Pod of this process: its image, environment and volumes.

Jobs inherit the claim that is mounted at `/paperclip`, Secrets, ConfigMaps, and projected volumes of these
and of the downward API, with every mount of the container: path, `subPath`, `readOnly`. Other volumes have no
meaning in another Pod (emptyDir, tokens of the home pod's service account), or may not be given to an agent
(folders of the node, other claims). `HomePod.not_inherited` lists them for the run's log.

A `subPathExpr` becomes a `subPath` here, because its variables have other values in the agent's Pod. A mount
whose variables are unknown here is not inherited: without its `subPath` it would show other folders.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.json_readers import get_object, get_objects, get_text, get_text_map
from paperclip_claude_k8s.cluster.labels import SHARED_MOUNT
from paperclip_claude_k8s.cluster.model import HomeMount, HomePod, NotInherited
from paperclip_claude_k8s.cluster.variable_references import expand, unknown_references

Json: TypeAlias = Mapping[str, Any]

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path
"""Where Kubernetes mounts a token of the Pod's service account; every Pod gets its own."""
_INHERITED = ("secret", "configMap", "projected")
_PROJECTED = frozenset({"secret", "configMap", "downwardAPI"})
"""Sources of a projected volume that another Pod can project too."""


def read_home_pod(pod: Json, container_name: str) -> HomePod:
    """What Jobs inherit from this Pod and from its container of that name, or else its first container."""
    meta, spec = get_object(pod, "metadata"), get_object(pod, "spec")
    containers = get_objects(spec, "containers")
    named = [container for container in containers if container.get("name") == container_name]
    container: Json = (named or containers or [{}])[0]
    mounts, not_inherited = _mounts(spec, container, _known_values(meta, container))
    claim = next((_claim(mount.volume) for mount in mounts if mount.path == SHARED_MOUNT), "")
    return HomePod(
        namespace=get_text(meta, "namespace"),
        name=get_text(meta, "name"),
        image=get_text(container, "image"),
        env=get_objects(container, "env"),
        env_from=get_objects(container, "envFrom"),
        image_pull_secrets=get_objects(spec, "imagePullSecrets"),
        dns_policy=get_text(spec, "dnsPolicy"),
        dns_config=dict(get_object(spec, "dnsConfig")) or None,
        node_selector=get_text_map(spec, "nodeSelector"),
        tolerations=get_objects(spec, "tolerations"),
        affinity=dict(get_object(spec, "affinity")) or None,
        claim_name=claim,
        mounts=tuple(mounts),
        not_inherited=tuple(not_inherited),
    )


def _known_values(meta: Json, container: Json) -> dict[str, str]:
    """Variables of the container whose values are certain: plain ones, and name and namespace of the Pod."""
    fields = {"metadata.name": get_text(meta, "name"), "metadata.namespace": get_text(meta, "namespace")}
    known: dict[str, str] = {}
    for entry in get_objects(container, "env"):
        name = get_text(entry, "name")
        known.pop(name, None)
        path = get_text(get_object(get_object(entry, "valueFrom"), "fieldRef"), "fieldPath")
        if "valueFrom" not in entry:
            known[name] = expand(get_text(entry, "value"), known)
        elif path in fields:
            known[name] = fields[path]
    return known


def _mounts(
    spec: Json, container: Json, known: Mapping[str, str]
) -> tuple[list[HomeMount], list[NotInherited]]:
    """The container's mounts, in their order: those that Jobs inherit, and the others."""
    volumes = {get_text(volume, "name"): volume for volume in get_objects(spec, "volumes")}
    given = [
        (mount, volumes[get_text(mount, "name")], unknown_references(get_text(mount, "subPathExpr"), known))
        for mount in get_objects(container, "volumeMounts")
        if get_text(mount, "name") in volumes and _path(mount) != TOKEN_MOUNT
    ]
    shared_claim = next(
        (_claim(volume) for mount, volume, unknown in given if _path(mount) == SHARED_MOUNT and not unknown),
        "",
    )
    inherited: list[HomeMount] = []
    left_out: list[NotInherited] = []
    for mount, volume, unknown in given:
        why = _why_not_inherited(volume, shared_claim)
        if unknown:
            why = f"the value of {', '.join(unknown)} in its subPathExpr is unknown"
        if why:
            left_out.append(NotInherited(_path(mount), get_text(mount, "name"), why))
        else:
            sub_path = get_text(mount, "subPath") or expand(get_text(mount, "subPathExpr"), known)
            inherited.append(HomeMount(_path(mount), volume, sub_path, mount.get("readOnly") is True))
    return inherited, left_out


def _why_not_inherited(volume: Json, shared_claim: str) -> str:
    """Why Jobs do not mount this volume; "" if they do."""
    if _claim(volume):
        return "" if _claim(volume) == shared_claim else f"a claim that is not mounted at {SHARED_MOUNT}"
    kind = next((key for key in volume if key != "name"), "")
    if kind not in _INHERITED:
        return kind or "emptyDir"  # the default of a volume that names no kind
    sources = {key for source in get_objects(get_object(volume, "projected"), "sources") for key in source}
    others = sources - _PROJECTED
    return f"projected {', '.join(sorted(others))}" if others else ""


def _claim(volume: Json) -> str:
    return get_text(get_object(volume, "persistentVolumeClaim"), "claimName")


def _path(mount: Json) -> str:
    path = get_text(mount, "mountPath")
    return path.rstrip("/") or path
