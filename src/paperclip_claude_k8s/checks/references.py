"""Reads a Job's manifest: its Pod, the agent's variables, and the Secrets and claims that the Pod needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_object, get_objects, get_text
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.plan.upload_parts import part_name


@dataclass(frozen=True, slots=True)
class References:
    """Names of objects in the Job's namespace, sorted. `secrets` does not contain optional Secrets.

    `secret_keys`: Secret and key for each variable that needs one.
    """

    secrets: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    secret_keys: tuple[tuple[str, str], ...] = ()


def pod_manifest(job: JsonObject) -> JsonObject:
    """The Job's Pod as the Job controller would create it.

    Its owner is the Job, under an invented uid: some admission policies require an owner.
    """
    template, meta = get_object(get_object(job, "spec"), "template"), get_object(job, "metadata")
    owner = {
        "apiVersion": job["apiVersion"],
        "kind": job["kind"],
        "name": meta["name"],
        "uid": "00000000-0000-4000-8000-000000000000",
        "controller": True,
    }
    name = f"{get_text(meta, 'name')[:57]}-check"  # at most 63 characters, like the names of Jobs
    named = {"name": name, "ownerReferences": [owner]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": get_object(template, "metadata") | named,
        "spec": template["spec"],
    }


def references(job: JsonObject, own_secret: str) -> References:
    """The references of this Job, except those to its own Secrets.

    These are its run Secret (`own_secret`) and the Secret with part 0 of an upload: an upload can have more
    parts, but the sample workspace of the environment test has only this one.
    """
    spec = get_object(get_object(get_object(job, "spec"), "template"), "spec")

    def is_own(name: str) -> bool:
        return name == own_secret or name == part_name(own_secret, 0)

    secrets = {name for name in _secrets(spec) if not is_own(name)}
    claims = {
        get_text(get_object(v, "persistentVolumeClaim"), "claimName") for v in get_objects(spec, "volumes")
    }
    pulling = {get_text(secret, "name") for secret in get_objects(spec, "imagePullSecrets")}
    keys = {(name, key) for name, key in _secret_keys(spec) if not is_own(name)}
    names, pulling_names, claim_names = (tuple(sorted(each - {""})) for each in (secrets, pulling, claims))
    return References(names, pulling_names, claim_names, tuple(sorted(keys)))


def agent_variables(job: JsonObject) -> frozenset[str]:
    """Names of the variables in the `env` of the agent's container that have a value or a source."""
    spec = get_object(get_object(get_object(job, "spec"), "template"), "spec")
    return frozenset(
        get_text(entry, "name")
        for container in get_objects(spec, "containers")
        if container.get("name") == AGENT_CONTAINER
        for entry in get_objects(container, "env")
        if entry.get("value") or entry.get("valueFrom")
    )


def _secret_keys(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in (*get_objects(spec, "initContainers"), *get_objects(spec, "containers")):
        for entry in get_objects(container, "env"):
            reference = get_object(get_object(entry, "valueFrom"), "secretKeyRef")
            if reference and reference.get("optional") is not True:
                yield get_text(reference, "name"), get_text(reference, "key")


def _secrets(spec: Mapping[str, Any]) -> Iterator[str]:
    for container in (*get_objects(spec, "initContainers"), *get_objects(spec, "containers")):
        for source in get_objects(container, "envFrom"):
            yield from _name_if_required(get_object(source, "secretRef"), "name")
    yield from (name for name, _ in _secret_keys(spec))
    for volume in get_objects(spec, "volumes"):
        yield from _name_if_required(get_object(volume, "secret"), "secretName")
        for source in get_objects(get_object(volume, "projected"), "sources"):
            yield from _name_if_required(get_object(source, "secret"), "name")


def _name_if_required(reference: Mapping[str, Any], key: str) -> Iterator[str]:
    if reference.get("optional") is not True:
        yield get_text(reference, key)
