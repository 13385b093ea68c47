"""Where a copy of the agent's stdout is kept on the shared volume, to fill gaps in the log from (SPEC 5).

Each Pod of the Job has a copy of its own, named after the Pod: two Pods must never write one file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.paths import POD_HOME

FOLDER = "run-logs"
_ENDING = ".ndjson"
_POD_CHARS = 8
"""So much of the Pod's uid stands in the name of its file."""


@dataclass(frozen=True, slots=True)
class RunLogPlan:
    """The path below the shared volume, without the Pod's part, and where that volume is here, if it is."""

    path: str
    volume_here: str | None

    @property
    def in_pod(self) -> str:
        return f"{POD_HOME}/{self.path}"


def path_of_pod(path: str, pod_uid: str) -> str:
    """The path of the file that a Pod's relay writes, from the one that the Job's annotation names."""
    return f"{path.removesuffix(_ENDING)}.{pod_uid[:_POD_CHARS]}{_ENDING}"


def is_of_run(name: str, run_name: str) -> bool:
    """Whether a file of this name belongs to the run, whose name without a Pod's part is `run_name`."""
    stem = re.escape(run_name.removesuffix(_ENDING))
    return re.fullmatch(rf"{stem}(\.[0-9a-f]{{{_POD_CHARS}}})?{re.escape(_ENDING)}", name) is not None


def plan_run_log(
    config: AdapterConfig, who: Identity, claim: str, volume_here: str | None, attempt: int = 1
) -> RunLogPlan | None:
    """On where the volume is mounted here too, or where the config says so; never without a volume."""
    wanted = volume_here is not None if config.tee_run_log is None else config.tee_run_log
    if not wanted or not claim:
        return None
    name = who.job_name(attempt) if who.run is None or attempt > 1 else who.run
    return RunLogPlan("/".join((FOLDER, who.company or "none", who.agent, f"{name}{_ENDING}")), volume_here)


def why_without_effect(config: AdapterConfig, claim: str, volume_here: str | None) -> Iterator[str]:
    """What a person who set `teeRunLog` should know."""
    if not config.tee_run_log:
        return
    if not claim:
        yield "teeRunLog has no effect: the Job has no shared volume"
    elif volume_here is None:
        yield (
            "teeRunLog keeps the output on the shared volume, but that is not mounted here: no gap can be "
            "filled from it and nobody removes it; set sharedVolumeDir to where it is mounted"
        )
