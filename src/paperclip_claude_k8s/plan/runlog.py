"""Where the agent's stdout is kept on the shared volume, so that gaps in the log can be filled (SPEC 5)."""

from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.paths import POD_HOME

FOLDER = "run-logs"


@dataclass(frozen=True, slots=True)
class RunLogPlan:
    """The file's path below the shared volume, and where that volume is here; None where it is not."""

    path: str
    volume_here: str | None

    @property
    def in_pod(self) -> str:
        return f"{POD_HOME}/{self.path}"


def plan_run_log(
    config: AdapterConfig, who: Identity, claim: str, volume_here: str | None, attempt: int = 1
) -> RunLogPlan | None:
    """On where the volume is mounted here too, or where the config says so; never without a volume."""
    wanted = volume_here is not None if config.tee_run_log is None else config.tee_run_log
    if not wanted or not claim:
        return None
    name = who.job_name(attempt) if who.run is None or attempt > 1 else who.run
    return RunLogPlan("/".join((FOLDER, who.company or "none", who.agent, f"{name}.ndjson")), volume_here)


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
