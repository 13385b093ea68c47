"""A packed folder on its way into the Pod: in parts, each of which is a Secret that the Job owns.

The Secrets need no right besides those of every run, the Pod needs no way to the host, and the cluster
removes them with the Job. The Pod cannot start until all of them exist.
"""

import hashlib
from base64 import b64encode
from dataclasses import dataclass

from paperclip_claude_k8s.cluster.model import JobRef, JsonObject
from paperclip_claude_k8s.plan.identity import Identity

PART_KEY = "part"


@dataclass(frozen=True, slots=True)
class Upload:
    """A packed folder."""

    parts: int
    sha256: str
    """Of all parts together."""


NOT_PACKED = Upload(1, "")
"""The upload of a plan that is only examined, or whose folder was not packed yet."""


def part_name(job_name: str, number: int) -> str:
    """The name of a part's Secret."""
    return f"{job_name}-upload-{number:03d}"


def part_manifest(job: JobRef, identity: Identity, number: int, content: bytes) -> JsonObject:
    """The Secret of one part; the cluster deletes it with the Job, its owner."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job.uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": part_name(job.name, number),
            "namespace": job.namespace,
            "labels": dict(identity.labels),
            "ownerReferences": [owner],
        },
        "data": {PART_KEY: b64encode(content).decode()},
    }


def folder_mark(folder: str) -> str:
    """What a Job is annotated with to tell which folder of the host it has got; "" for none.

    A path from the cluster is never used: changes are applied only to the folder of the run's own context,
    if it is the same.
    """
    return hashlib.sha256(folder.encode(errors="surrogateescape")).hexdigest()[:32] if folder else ""
