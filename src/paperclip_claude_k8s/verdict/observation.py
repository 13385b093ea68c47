"""All evidence of one run, gathered before anything is tidied."""

from dataclasses import dataclass, field

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.cluster.model import Condition, Known, Terminated
from paperclip_claude_k8s.podlog.log_report import LogReport
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import (
    Disrupted,
    Ending,
    Exited,
    JobGone,
    NotStarted,
    PodLost,
    Untrackable,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was known of Job and Pod at the end. Durations in seconds."""

    job: str
    namespace: str
    conditions: tuple[Condition, ...] = ()
    seconds_running: float | None = None
    pod_phase: str = ""
    pod_gone: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """How the run ended and what the agent said. `log` and `relay` are None where there was no container."""

    ending: Ending
    transcript: Transcript
    log: LogReport | None
    relay: RelaySummary | None
    facts: Facts
    known: Known = field(default_factory=Known)
    """The last that was known of Job and Pod."""
    phases: tuple[tuple[str, int], ...] = ()
    """Name → milliseconds, in order."""

    @property
    def end_unknown(self) -> bool:
        """Nobody knows whether the agent still works: its Job is nobody's to delete."""
        failed = self.ending.failure if isinstance(self.ending, NotStarted) else None
        return isinstance(self.ending, Untrackable) or (failed is not None and failed.keeps_job)

    @property
    def agent_ended(self) -> bool:
        """The agent's container ran and ended, by itself or with its Pod."""
        return isinstance(self.ending, (Exited, Disrupted, JobGone, PodLost))

    @property
    def how(self) -> Terminated | None:
        """How the agent's container ended, where that was seen."""
        return self.ending.how

    @property
    def exit_code(self) -> int | None:
        return self.how.exit_code if self.how is not None else None

    @property
    def own_words(self) -> str:
        """The container's termination message, unless it is the relay's summary of the run.

        Of a container without a message Kubernetes takes the end of its log instead
        (`FallbackToLogsOnError`): then what the agent printed as JSON, and what is left of it, is no message.
        """
        if self.how is None or self.relay is not None:
            return ""
        lines = self.how.message.split("\n")
        return "\n".join(line for line in lines if '":' not in line and not line.startswith("\x1e")).strip()
