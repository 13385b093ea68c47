"""Kubernetes' JSON → snapshots: tolerant of whatever is missing."""

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerCondition,
    ContainerSnapshot,
    EventSnapshot,
    HomePod,
    JobRef,
    JobSnapshot,
    LeaseSnapshot,
    Listing,
    PodSnapshot,
    Running,
    SecretSnapshot,
    SecretVolume,
    Terminated,
    Waiting,
)

Json: TypeAlias = Mapping[str, Any]
S = TypeVar("S")
SHARED_MOUNT = "/paperclip"
"""Where the home container mounts the shared volume (SPEC 3)."""

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path
"""Where older clusters mount the service account's token: the host's own, never an agent's."""


def job_snapshot(job: Json) -> JobSnapshot:
    meta, spec = _map(job, "metadata"), _map(job, "spec")
    containers = _list(_map(_map(spec, "template"), "spec"), "containers")
    return JobSnapshot(
        ref=JobRef(_text(meta, "namespace"), _text(meta, "name"), _text(meta, "uid")),
        resource_version=_text(meta, "resourceVersion"),
        created=moment(meta.get("creationTimestamp")),
        labels=_texts(meta, "labels"),
        annotations=_texts(meta, "annotations"),
        conditions=_conditions(_map(job, "status")),
        image=_text(containers[0], "image") if containers else "",
        deleting=bool(meta.get("deletionTimestamp")),
        suspended=spec.get("suspend") is True,
        parallelism=1 if (pods := _number(spec, "parallelism")) is None else pods,
        replacement_policy=_text(spec, "podReplacementPolicy"),
    )


def pod_snapshot(pod: Json) -> PodSnapshot:
    meta, spec, status = _map(pod, "metadata"), _map(pod, "spec"), _map(pod, "status")
    sidecars = {
        _text(container, "name")
        for container in _list(spec, "initContainers")
        if container.get("restartPolicy") == "Always"
    }
    return PodSnapshot(
        namespace=_text(meta, "namespace"),
        name=_text(meta, "name"),
        uid=_text(meta, "uid"),
        resource_version=_text(meta, "resourceVersion"),
        job_uid=_controlling_job(meta),
        phase=_text(status, "phase"),
        reason=_text(status, "reason"),
        message=_text(status, "message"),
        node=_text(spec, "nodeName"),
        created=moment(meta.get("creationTimestamp")),
        labels=_texts(meta, "labels"),
        conditions=_conditions(status),
        init=tuple(_container(c, sidecars) for c in _list(status, "initContainerStatuses")),
        containers=tuple(_container(c, sidecars) for c in _list(status, "containerStatuses")),
        deleting=bool(meta.get("deletionTimestamp")),
        grace=_number(meta, "deletionGracePeriodSeconds") or _number(spec, "terminationGracePeriodSeconds"),
    )


def secret_snapshot(secret: Json) -> SecretSnapshot:
    meta = _map(secret, "metadata")
    return SecretSnapshot(
        namespace=_text(meta, "namespace"),
        name=_text(meta, "name"),
        uid=_text(meta, "uid"),
        owners=tuple(_text(owner, "uid") for owner in _list(meta, "ownerReferences")),
        only_pod=b64decode(_text(_map(secret, "data"), ONLY_POD_KEY)).decode(errors="replace"),
    )


def event_snapshot(event: Json) -> EventSnapshot:
    about, series = _map(event, "involvedObject"), _map(event, "series")
    seen = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
    )
    return EventSnapshot(
        uid=_text(_map(event, "metadata"), "uid"),
        kind=_text(event, "type"),
        reason=_text(event, "reason"),
        message=_text(event, "message"),
        about=f"{_text(about, 'kind')}/{_text(about, 'name')}",
        seen=moment(seen),
        count=_number(series, "count") or _number(event, "count") or 1,
    )


def lease_snapshot(lease: Json) -> LeaseSnapshot:
    meta, spec = _map(lease, "metadata"), _map(lease, "spec")
    return LeaseSnapshot(
        namespace=_text(meta, "namespace"),
        name=_text(meta, "name"),
        resource_version=_text(meta, "resourceVersion"),
        holder=_text(spec, "holderIdentity"),
        labels=_texts(meta, "labels"),
        annotations=_texts(meta, "annotations"),
        renewed=moment(spec.get("renewTime")),
    )


def home_pod(pod: Json, container_name: str) -> HomePod:
    """What Jobs inherit of this Pod: of its container with that name, else of its first one."""
    meta, spec = _map(pod, "metadata"), _map(pod, "spec")
    containers = _list(spec, "containers")
    named = [container for container in containers if container.get("name") == container_name]
    home: Json = (named or containers or [{}])[0]
    return HomePod(
        namespace=_text(meta, "namespace"),
        name=_text(meta, "name"),
        image=_text(home, "image"),
        env=_list(home, "env"),
        env_from=_list(home, "envFrom"),
        image_pull_secrets=_list(spec, "imagePullSecrets"),
        dns_policy=_text(spec, "dnsPolicy"),
        dns_config=dict(_map(spec, "dnsConfig")) or None,
        node_selector=_texts(spec, "nodeSelector"),
        tolerations=_list(spec, "tolerations"),
        affinity=dict(_map(spec, "affinity")) or None,
        claim_name=_claim_name(spec, home),
        secret_volumes=tuple(_secret_volumes(spec, home)),
    )


def listing(answer: Json, read: Callable[[Json], S]) -> Listing[S]:
    """The answer of a list call."""
    items = tuple(read(item) for item in _list(answer, "items"))
    return Listing(items, _text(_map(answer, "metadata"), "resourceVersion"))


def events_in_order(answer: Json) -> tuple[EventSnapshot, ...]:
    """The Events of a list call, oldest first."""
    unknown = datetime.min.replace(tzinfo=UTC)
    events = (event_snapshot(item) for item in _list(answer, "items"))
    return tuple(sorted(events, key=lambda event: event.seen or unknown))


def server_version(answer: Json) -> tuple[int, int]:
    """Major and minor; some providers write the minor as "29+"."""
    digits = ["".join(c for c in _text(answer, key) if c.isdecimal()) for key in ("major", "minor")]
    return int(digits[0] or 0), int(digits[1] or 0)


def access_modes(claim: Json) -> tuple[str, ...]:
    modes = _map(claim, "spec").get("accessModes")
    return tuple(mode for mode in modes if isinstance(mode, str)) if isinstance(modes, list) else ()


def is_allowed(review: Json) -> bool:
    """The answer of an access review."""
    return _map(review, "status").get("allowed") is True


def moment(text: object) -> datetime | None:
    """An RFC 3339 time, in UTC where it names no zone; None where there is none or it cannot be read."""
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _text(source: Json, key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""


def _map(source: Json, key: str) -> dict[str, Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def _texts(source: Json, key: str) -> dict[str, str]:
    return {name: value for name, value in _map(source, key).items() if isinstance(value, str)}


def _number(source: Json, key: str) -> int | None:
    value = source.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _list(source: Json, key: str) -> list[dict[str, Any]]:
    value = source.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _conditions(status: Json) -> tuple[Condition, ...]:
    return tuple(
        Condition(_text(c, "type"), _text(c, "status"), _text(c, "reason"), _text(c, "message"))
        for c in _list(status, "conditions")
    )


def _controlling_job(meta: Json) -> str:
    owners = _list(meta, "ownerReferences")
    return next((_text(o, "uid") for o in owners if o.get("kind") == "Job" and o.get("controller")), "")


def _container(status: Json, sidecars: set[str]) -> ContainerSnapshot:
    return ContainerSnapshot(
        name=_text(status, "name"),
        now=_now(_map(status, "state")),
        container_id=_text(status, "containerID"),
        image=_text(status, "image"),
        restarts=_number(status, "restartCount") or 0,
        sidecar=_text(status, "name") in sidecars,
        last=last if isinstance(last := _now(_map(status, "lastState")), Terminated) else None,
    )


def _now(state: Json) -> ContainerCondition | None:
    if "terminated" in state:
        end = _map(state, "terminated")
        return Terminated(
            exit_code=_number(end, "exitCode"),
            reason=_text(end, "reason"),
            message=_text(end, "message"),
            signal=_number(end, "signal") or None,
            started=moment(end.get("startedAt")),
            finished=moment(end.get("finishedAt")),
        )
    if "running" in state:
        return Running(moment(_map(state, "running").get("startedAt")))
    if "waiting" in state:
        waiting = _map(state, "waiting")
        return Waiting(_text(waiting, "reason"), _text(waiting, "message"))
    return None


def _mounts(container: Json) -> dict[str, str]:
    """Volume name → where this container mounts it."""
    return {_text(m, "name"): _text(m, "mountPath") for m in _list(container, "volumeMounts")}


def _claim_name(spec: Json, container: Json) -> str:
    mounts = _mounts(container)
    for volume in _list(spec, "volumes"):
        claim = _map(volume, "persistentVolumeClaim")
        if claim and mounts.get(_text(volume, "name"), "").rstrip("/") == SHARED_MOUNT:
            return _text(claim, "claimName")
    return ""


def _secret_volumes(spec: Json, container: Json) -> Sequence[SecretVolume]:
    mounts = _mounts(container)
    found = []
    for volume in _list(spec, "volumes"):
        secret, name = _map(volume, "secret"), _text(volume, "name")
        if secret and name in mounts and mounts[name] != TOKEN_MOUNT:
            found.append(
                SecretVolume(
                    name=name,
                    secret=_text(secret, "secretName"),
                    mount_path=mounts[name],
                    optional=secret.get("optional") is True,
                    items=tuple(_list(secret, "items")),
                    default_mode=_number(secret, "defaultMode"),
                )
            )
    return found
