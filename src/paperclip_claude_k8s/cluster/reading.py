"""Makes snapshots of objects in Kubernetes' JSON. A missing or malformed field becomes its default."""

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from paperclip_claude_k8s.base.json_readers import (
    Json,
    as_texts,
    get_int,
    get_object,
    get_objects,
    get_text,
    get_text_map,
)
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY, PREFIX
from paperclip_claude_k8s.cluster.model import (
    ClaimSnapshot,
    Condition,
    ContainerSnapshot,
    ContainerState,
    EventSnapshot,
    JobRef,
    JobSnapshot,
    LeaseSnapshot,
    Listing,
    PodSnapshot,
    Running,
    SecretSnapshot,
    Terminated,
    Waiting,
)
from paperclip_claude_k8s.cluster.port import MAX_MESSAGE_CHARS

S = TypeVar("S")
MAX_LABEL_CHARS = 256
"""Longest value of a label that is kept; Kubernetes allows 63."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
"""Names and uids of objects. They become parts of paths on the shared volume: no other text is accepted."""


def job_snapshot(job: Json) -> JobSnapshot:
    meta, spec = get_object(job, "metadata"), get_object(job, "spec")
    pod_spec = get_object(get_object(spec, "template"), "spec")
    containers = get_objects(pod_spec, "containers")
    return JobSnapshot(
        ref=JobRef(_name(meta, "namespace"), _name(meta, "name"), _name(meta, "uid")),
        resource_version=get_text(meta, "resourceVersion"),
        created=parse_time(meta.get("creationTimestamp")),
        labels=_labels(meta),
        annotations=_our_annotations(meta),
        conditions=_conditions(get_object(job, "status")),
        image=_shown(containers[0], "image") if containers else "",
        claims=_claims(pod_spec),
        deleting=bool(meta.get("deletionTimestamp")),
        suspended=spec.get("suspend") is True,
        parallelism=1 if (pods := get_int(spec, "parallelism")) is None else pods,
        replacement_policy=get_text(spec, "podReplacementPolicy"),
    )


def pod_snapshot(pod: Json) -> PodSnapshot:
    meta, spec, status = get_object(pod, "metadata"), get_object(pod, "spec"), get_object(pod, "status")
    sidecars = {
        _shown(container, "name")
        for container in get_objects(spec, "initContainers")
        if container.get("restartPolicy") == "Always"
    }
    return PodSnapshot(
        namespace=_name(meta, "namespace"),
        name=_name(meta, "name"),
        uid=_name(meta, "uid"),
        resource_version=get_text(meta, "resourceVersion"),
        job_uid=_controlling_job(meta),
        phase=_shown(status, "phase"),
        reason=_shown(status, "reason"),
        message=_shown(status, "message"),
        node=_shown(spec, "nodeName"),
        created=parse_time(meta.get("creationTimestamp")),
        labels=_labels(meta),
        conditions=_conditions(status),
        init_containers=tuple(_container(c, sidecars) for c in get_objects(status, "initContainerStatuses")),
        containers=tuple(_container(c, sidecars) for c in get_objects(status, "containerStatuses")),
        claims=_claims(spec),
        deleting=bool(meta.get("deletionTimestamp")),
        grace=get_int(meta, "deletionGracePeriodSeconds") or get_int(spec, "terminationGracePeriodSeconds"),
    )


def secret_snapshot(secret: Json) -> SecretSnapshot:
    meta = get_object(secret, "metadata")
    return SecretSnapshot(
        namespace=_name(meta, "namespace"),
        name=_name(meta, "name"),
        uid=_name(meta, "uid"),
        owners=tuple(get_text(owner, "uid") for owner in get_objects(meta, "ownerReferences")),
        only_pod=_decoded(get_text(get_object(secret, "data"), ONLY_POD_KEY)),
        keys=frozenset(get_object(secret, "data")),
    )


def event_snapshot(event: Json) -> EventSnapshot:
    about, series = get_object(event, "involvedObject"), get_object(event, "series")
    seen = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
    )
    return EventSnapshot(
        uid=get_text(get_object(event, "metadata"), "uid"),
        type=_shown(event, "type"),
        reason=_shown(event, "reason"),
        message=_shown(event, "message"),
        about=f"{_shown(about, 'kind')}/{_shown(about, 'name')}",
        seen=parse_time(seen),
        count=get_int(series, "count") or get_int(event, "count") or 1,
    )


def lease_snapshot(lease: Json) -> LeaseSnapshot:
    meta, spec = get_object(lease, "metadata"), get_object(lease, "spec")
    return LeaseSnapshot(
        namespace=_name(meta, "namespace"),
        name=_name(meta, "name"),
        resource_version=get_text(meta, "resourceVersion"),
        holder=_shown(spec, "holderIdentity"),
        labels=_labels(meta),
        annotations=_our_annotations(meta),
        renewed=parse_time(spec.get("renewTime")),
    )


def listing(response: Json, read: Callable[[Json], S]) -> Listing[S]:
    """The response of a list call."""
    items = tuple(read(item) for item in get_objects(response, "items"))
    return Listing(items, get_text(get_object(response, "metadata"), "resourceVersion"))


def events_in_order(response: Json) -> tuple[EventSnapshot, ...]:
    """The Events in the response of a list call, oldest first."""
    unknown = datetime.min.replace(tzinfo=UTC)
    events = (event_snapshot(item) for item in get_objects(response, "items"))
    return tuple(sorted(events, key=lambda event: event.seen or unknown))


def server_version(response: Json) -> tuple[int, int]:
    """Major and minor version; some providers write the minor version as "29+"."""
    digits = ["".join(c for c in get_text(response, key) if c.isdecimal()) for key in ("major", "minor")]
    return int(digits[0][:9] or 0), int(digits[1][:9] or 0)


def claim_snapshot(claim: Json) -> ClaimSnapshot:
    meta, spec = get_object(claim, "metadata"), get_object(claim, "spec")
    requests = get_object(get_object(spec, "resources"), "requests")
    return ClaimSnapshot(
        namespace=_name(meta, "namespace"),
        name=_name(meta, "name"),
        uid=_name(meta, "uid"),
        resource_version=get_text(meta, "resourceVersion"),
        created=parse_time(meta.get("creationTimestamp")),
        labels=_labels(meta),
        annotations=_our_annotations(meta),
        annotated=bool(get_object(meta, "annotations")),
        access_modes=tuple(as_texts(spec.get("accessModes"))),
        storage_class=_shown(spec, "storageClassName") if "storageClassName" in spec else None,
        size=_shown(requests, "storage"),
        phase=_shown(get_object(claim, "status"), "phase"),
        deleting=bool(meta.get("deletionTimestamp")),
    )


def is_allowed(review: Json) -> bool:
    """The result of an access review."""
    return get_object(review, "status").get("allowed") is True


def _claims(pod_spec: Json) -> frozenset[str]:
    """The claims that a Pod mounts."""
    volumes = get_objects(pod_spec, "volumes")
    names = (get_text(get_object(v, "persistentVolumeClaim"), "claimName") for v in volumes)
    return frozenset(name for name in names if name)


def _decoded(data: str) -> str:
    """A value of a Secret; "" if it is not base64."""
    try:
        return b64decode(data).decode(errors="replace")
    except ValueError:
        return ""


def _name(meta: Json, key: str) -> str:
    """A name, a namespace or a uid; "" if the text cannot be one."""
    text = get_text(meta, key)
    return text if _NAME.fullmatch(text) else ""


def _shown(source: Json, key: str) -> str:
    """A text for people, cut and without control characters, whoever wrote it."""
    return neutral(get_text(source, key)[:MAX_MESSAGE_CHARS])


def _labels(meta: Json) -> dict[str, str]:
    """The labels. Values that are too long for a label are cut, because they would make a table too wide."""
    return {name: neutral(text[:MAX_LABEL_CHARS]) for name, text in get_text_map(meta, "labels").items()}


def _our_annotations(meta: Json) -> dict[str, str]:
    """The adapter's own annotations; others, which may be long, are not needed."""
    return {key: text for key, text in _shown_map(meta, "annotations").items() if key.startswith(PREFIX)}


def _shown_map(source: Json, key: str) -> dict[str, str]:
    """A map of texts, parts of which are shown to people."""
    return {name: neutral(text) for name, text in get_text_map(source, key).items()}


def _conditions(status: Json) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            _shown(c, "type"),
            _shown(c, "status"),
            _shown(c, "reason"),
            _shown(c, "message"),
            parse_time(c.get("lastTransitionTime")),
        )
        for c in get_objects(status, "conditions")
    )


def _controlling_job(meta: Json) -> str:
    owners = get_objects(meta, "ownerReferences")
    return next((get_text(o, "uid") for o in owners if o.get("kind") == "Job" and o.get("controller")), "")


def _container(status: Json, sidecars: set[str]) -> ContainerSnapshot:
    return ContainerSnapshot(
        name=_shown(status, "name"),
        state=_state(get_object(status, "state")),
        container_id=_shown(status, "containerID"),
        image=_shown(status, "image"),
        sidecar=_shown(status, "name") in sidecars,
        last=last if isinstance(last := _state(get_object(status, "lastState")), Terminated) else None,
    )


def _state(state: Json) -> ContainerState | None:
    if "terminated" in state:
        end = get_object(state, "terminated")
        return Terminated(
            exit_code=get_int(end, "exitCode"),
            reason=_shown(end, "reason"),
            message=_shown(end, "message"),
            signal=get_int(end, "signal") or None,
            started=parse_time(end.get("startedAt")),
            finished=parse_time(end.get("finishedAt")),
        )
    if "running" in state:
        return Running(parse_time(get_object(state, "running").get("startedAt")))
    if "waiting" in state:
        waiting = get_object(state, "waiting")
        return Waiting(_shown(waiting, "reason"), _shown(waiting, "message"))
    return None
