"""The run log: a copy of the agent's stdout on the shared volume, which fills gaps in the container's log.

Each Pod of the Job writes a file of its own, with a part of the Pod's uid in its name:
`run-logs/<company>/<agent>/<run>.0a1b2c3d.ndjson`. Two Pods must never write the same file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.paths import POD_HOME

RUN_LOG_FOLDER = "run-logs"
_SUFFIX = ".ndjson"
_POD_CHARS = 8
"""Characters of the Pod's uid in the file's name."""


@dataclass(frozen=True, slots=True)
class RunLogPlan:
    """Where the run log is written.

    `path` is relative to the shared volume, without the Pod's part. `volume_here` is the volume's mount point
    in this process's file system; None if it is not mounted here.
    """

    path: str
    volume_here: str | None

    @property
    def in_pod(self) -> str:
        return f"{POD_HOME}/{self.path}"


def path_of_pod(path: str, pod_uid: str) -> str:
    """The file of one Pod. `path` is that of the plan and of the Job's annotation, without the Pod's part."""
    return f"{path.removesuffix(_SUFFIX)}.{pod_uid[:_POD_CHARS]}{_SUFFIX}"


def is_of_run(name: str, run_file: str) -> bool:
    """Whether `name` is that of a file of one run. `run_file`: the file's name without the Pod's part."""
    stem = re.escape(run_file.removesuffix(_SUFFIX))
    return re.fullmatch(rf"{stem}(\.[0-9a-f]{{{_POD_CHARS}}})?{re.escape(_SUFFIX)}", name) is not None


def plan_run_log(
    config: AdapterConfig, identity: Identity, claim_name: str, volume_here: str | None, attempt: int = 1
) -> RunLogPlan | None:
    """Where the run log is written, or None if there is to be none.

    If `teeRunLog` is unset, there is one if both this process and the Pod mount the shared volume.
    """
    wanted = volume_here is not None if config.tee_run_log is None else config.tee_run_log
    if not wanted or not claim_name:
        return None
    name = identity.job_name(attempt) if identity.run is None or attempt > 1 else identity.run
    parts = (RUN_LOG_FOLDER, identity.company or "none", identity.agent, f"{name}{_SUFFIX}")
    return RunLogPlan("/".join(parts), volume_here)


def tee_run_log_notes(config: AdapterConfig, claim_name: str, volume_here: str | None) -> Iterator[str]:
    """A note if `teeRunLog` has no effect, or less than expected."""
    if not config.tee_run_log:
        return
    if not claim_name:
        yield "teeRunLog has no effect: the Job has no shared volume"
    elif volume_here is None:
        yield (
            "teeRunLog copies the output to the shared volume, but this process does not mount it: gaps in "
            "the log are not filled, and the files are never removed; set sharedVolumeDir to its mount point"
        )
