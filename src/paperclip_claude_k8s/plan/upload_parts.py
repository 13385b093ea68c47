"""A packed folder on its way into the Pod: in parts, each of which is a Secret that the Job owns.

The Secrets need no right besides those of every run, the Pod needs no way to the host, and the cluster
removes them with the Job. The Pod cannot start until all of them exist.
"""

import hashlib
from dataclasses import dataclass

PART_KEY = "part"


@dataclass(frozen=True, slots=True)
class Upload:
    """A packed folder."""

    parts: int
    sha256: str
    """sha256 of all parts together."""
    size: int = 0
    """Bytes of all parts together."""


NOT_PACKED = Upload(1, "")
"""The upload of a plan that is only examined, or whose folder was not packed yet."""


def part_name(job_name: str, number: int) -> str:
    """The name of a part's Secret."""
    return f"{job_name}-upload-{number:03d}"


def folder_mark(folder: str) -> str:
    """The annotation's value by which a later run recognises the folder that a Job got; "" without a folder.

    A path from the cluster is never used: changes are applied only to the folder of the run's own context, if
    its mark is equal.
    """
    return hashlib.sha256(folder.encode(errors="surrogateescape")).hexdigest()[:32] if folder else ""
