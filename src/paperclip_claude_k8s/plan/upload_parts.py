"""Content that is too large for one Secret reaches the Pod in parts, each of which is a Secret of the Job.

It is a packed folder of the host, or an archive of skills. The Secrets need no right besides those of every
run, the Pod needs no way to the host, and the cluster removes them with the Job. The Pod cannot start until
all of them exist.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Self

from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS

PART_KEY = "part"
"""The only key of such a Secret."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A packed folder."""

    size: int
    """Bytes of all parts together."""
    sha256: str
    """sha256 of all parts together."""

    @property
    def parts(self) -> int:
        """Number of parts."""
        return number_of_parts(self.size)


NOT_PACKED = Upload(size=0, sha256="")
"""The upload of a plan that is only examined, or whose folder is not packed yet."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SkillArchive:
    """A gzipped tar of skills, with the paths that they have in the bundle."""

    content: bytes = field(repr=False)
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        return cls(content, hashlib.sha256(content).hexdigest())

    @property
    def parts(self) -> int:
        """Number of parts."""
        return number_of_parts(len(self.content))

    def part(self, number: int) -> bytes:
        """One part of at most `UploadLimits.part_bytes`."""
        start = number * UPLOAD_LIMITS.part_bytes
        return self.content[start : start + UPLOAD_LIMITS.part_bytes]


def number_of_parts(size: int) -> int:
    """The parts of so many bytes. At least one, because a plan shows a Secret before its folder is packed."""
    return max(-(-size // UPLOAD_LIMITS.part_bytes), 1)


def part_name(job_name: str, number: int) -> str:
    """The name of the Secret with a part of the packed folder."""
    return f"{job_name}-upload-{number:03d}"


def skill_part_name(job_name: str, number: int) -> str:
    """The name of the Secret with a part of the archive of skills."""
    return f"{job_name}-skills-{number:03d}"


def folder_mark(folder: str) -> str:
    """The annotation's value by which a later run recognises the folder that a Job got; "" without a folder.

    A path from the cluster is never used: changes are applied only to the folder of the run's own context, if
    its mark is equal.
    """
    return hashlib.sha256(folder.encode(errors="surrogateescape")).hexdigest()[:32] if folder else ""
