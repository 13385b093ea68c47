"""What else of the namespace a Job's Pod needs, read from its manifest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.cluster.model import JsonObject


@dataclass(frozen=True, slots=True)
class References:
    """Names in the Job's namespace, sorted. Secrets a Pod starts without are not among `secrets`."""

    secrets: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()


def references(job: JsonObject, own_secret: str) -> References:
    """What this Job refers to, but for its own run Secret."""
    spec = _map(_map(_map(job, "spec"), "template"), "spec")
    secrets = {name for name in _secrets(spec) if name != own_secret}
    claims = {_text(_map(v, "persistentVolumeClaim"), "claimName") for v in _maps(spec, "volumes")}
    pulling = {_text(secret, "name") for secret in _maps(spec, "imagePullSecrets")}
    return References(*(tuple(sorted(found - {""})) for found in (secrets, pulling, claims)))


def _secrets(spec: Mapping[str, Any]) -> Iterator[str]:
    for container in (*_maps(spec, "initContainers"), *_maps(spec, "containers")):
        for source in _maps(container, "envFrom"):
            yield from _required(_map(source, "secretRef"), "name")
        for entry in _maps(container, "env"):
            yield from _required(_map(_map(entry, "valueFrom"), "secretKeyRef"), "name")
    for volume in _maps(spec, "volumes"):
        yield from _required(_map(volume, "secret"), "secretName")
        for source in _maps(_map(volume, "projected"), "sources"):
            yield from _required(_map(source, "secret"), "name")


def _required(reference: Mapping[str, Any], key: str) -> Iterator[str]:
    if reference.get("optional") is not True:
        yield _text(reference, key)


def _map(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    return value if isinstance(value, Mapping) else {}


def _maps(source: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
    value = source.get(key)
    return (
        tuple(item for item in value if isinstance(item, Mapping)) if isinstance(value, (list, tuple)) else ()
    )


def _text(source: Mapping[str, Any], key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""
