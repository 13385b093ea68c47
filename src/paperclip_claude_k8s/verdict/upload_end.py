"""What became of an uploaded folder: lines for the log, a warning, and `resultJson.workspace`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.cluster.model import PodSnapshot
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.relay.upload_scripts import UNPACK_CONTAINER
from paperclip_claude_k8s.verdict.ending import container_end

_PATHS_IN_LINE = 5
_NEXT_STEP = "; the next run of this agent in this folder takes it, if the Pod still exists then"
_LEFT = {
    "large": "above uploadLimit",
    "unread": "that could not be read in time",
    "links": "links",
    "special": "special files",
    "odd": "with names that cannot be printed",
    "git": "in .git",
}
"""Kind of what stays in the Pod → its name in messages. Ignored files are missing: nobody needs them."""


@dataclass(frozen=True, slots=True)
class UploadEnd:
    """The changes of an uploaded folder. Paths are relative to the folder."""

    lost: str = ""
    """Why no change came back and none will, as a clause; "" if the changes are not lost."""
    pending: str = ""
    """Why no change came back yet, although the Pod has them; its Job is kept for the next run."""
    by_other: bool = False
    """Whether an earlier host process has applied the changes."""
    written: int = 0
    deleted: int = 0
    kept_beside: tuple[str, ...] = ()
    """Files that were written beside the host's, because the host's had changed since the upload.

    This field and the next two have at most `UploadLimits.reported_paths` paths each, `counts` all numbers.
    """
    not_deleted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    counts: JsonMap = field(default_factory=dict)
    """Number of all paths of `kept_beside`, `not_deleted` and `refused`."""
    left: JsonMap = field(default_factory=dict)
    """Kind (see `_LEFT`) → number of what stayed in the Pod."""

    @property
    def line(self) -> str:
        """What became of the agent's changes, for the log."""
        if self.lost:
            return f"Workspace: what the agent changed is lost with the Pod: {self.lost}"
        if self.pending:
            return f"Workspace: what the agent changed is still only in the Pod: {self.pending}{_NEXT_STEP}"
        if self.by_other:
            return "Workspace: an earlier host process has applied what the agent changed"
        done = f"{_files(self.written)} written and {self.deleted} deleted in the host's folder"
        return f"Workspace: {'; '.join((done, *self._troubles()))}"

    @property
    def is_fine(self) -> bool:
        """Whether the host's folder has everything that the agent changed."""
        return not (self.lost or self.pending) and not any(self._troubles())

    def _troubles(self) -> Iterator[str]:
        if self.kept_beside:
            number = _files(self._count("kept_beside"))
            shown = _shown(self.kept_beside)
            yield f"{number} kept beside the host's, which changed since the upload ({shown})"
        if self.not_deleted:
            number = _files(self._count("not_deleted"))
            shown = _shown(self.not_deleted)
            yield f"{number} not deleted, because the host's changed since the upload ({shown})"
        if self.refused:
            yield f"{_files(self._count('refused'))} not written ({_shown(self.refused)})"
        left = [f"{self.left[kind]} {text}" for kind, text in _LEFT.items() if self.left.get(kind)]
        if left:
            yield f"lost with the Pod: {', '.join(left)}"

    def _count(self, kind: str) -> int:
        return int(self.counts.get(kind, 0))

    def warnings(self) -> Iterator[RunWarning]:
        if not self.is_fine:
            yield RunWarning(WarningCode.WORKSPACE_NOT_RETURNED, self.line.removeprefix("Workspace: "))

    def to_wire(self) -> JsonMap:
        """`resultJson.workspace`."""
        if self.lost or self.pending or self.by_other:
            why = self.lost or self.pending or "an earlier host process has applied the changes"
            return {"strategy": "upload", "reason": why, "written": None, "deleted": None}
        return {
            "strategy": "upload",
            "written": self.written,
            "deleted": self.deleted,
            "keptBeside": list(self.kept_beside),
            "notDeleted": list(self.not_deleted),
            "refused": list(self.refused),
            "counts": dict(self.counts),
            "left": dict(self.left),
        }


def upload_end(  # noqa: PLR0913  # each is one kind of change
    *,
    written: int,
    deleted: int,
    kept_beside: Sequence[str],
    not_deleted: Sequence[str],
    refused: Sequence[str],
    left: JsonMap,
) -> UploadEnd:
    """The report, with at most `UploadLimits.reported_paths` paths of each kind."""
    kinds = {"kept_beside": kept_beside, "not_deleted": not_deleted, "refused": refused}
    return UploadEnd(
        written=written,
        deleted=deleted,
        kept_beside=_first(kept_beside),
        not_deleted=_first(not_deleted),
        refused=_first(refused),
        counts={kind: len(paths) for kind, paths in kinds.items() if paths},
        left={kind: number for kind, number in left.items() if number},
    )


def _first(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        neutral(path.encode(errors="replace").decode())[:300]
        for path in paths[: UPLOAD_LIMITS.reported_paths]
    )


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


def _shown(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_PATHS_IN_LINE]) + (", …" if len(paths) > _PATHS_IN_LINE else "")


def unpack_failure(pod: PodSnapshot | None) -> Failure | None:
    """The failure of a Pod that could not unpack the folder; None for any other Pod."""
    end = container_end(pod, UNPACK_CONTAINER)
    if end is None or not end.exit_code:
        return None
    why = " ".join(end.message.split()) or f"exit code {end.exit_code} ({end.reason})"
    step = "use an image that has these programs, then run the agent again"
    if end.reason == "OOMKilled":
        step = "raise `resources.limits.memory`"
    elif "No space" in why:
        step = "free space on the node, or name what is not needed in uploadExcludes"
    return failures.workspace_unavailable(f"The agent's workspace was not unpacked: {why}", step)
