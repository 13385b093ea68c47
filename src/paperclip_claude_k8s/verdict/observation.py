"""All evidence of one run, gathered before anything is tidied."""

from dataclasses import dataclass, field, replace

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
class RunFacts:
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
    facts: RunFacts
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
    def terminated(self) -> Terminated | None:
        """How the agent's container ended, where that was seen."""
        return self.ending.terminated

    @property
    def exit_code(self) -> int | None:
        return self.terminated.exit_code if self.terminated is not None else None

    @property
    def termination_message(self) -> str:
        """The container's termination message, unless it is the relay's summary of the run.

        Of a container without a message Kubernetes takes the end of its log instead
        (`FallbackToLogsOnError`): then what the agent printed as JSON, and what is left of it, is no message.
        """
        if self.terminated is None or self.relay is not None:
            return ""
        lines = self.terminated.message.split("\n")
        return "\n".join(line for line in lines if '":' not in line and not line.startswith("\x1e")).strip()


LOST = "the result event was lost with the log; what the relay noted of it counts"
NOT_THE_END = "a part of the log was lost in which the CLI went on after the last result that was heard"
WENT_ON = frozenset({"answer", "init"})
"""What the relay saw last where the CLI went on after a result."""


def recover_result(told: Transcript, relay: RelaySummary | None) -> Transcript:
    """The transcript with the relay's word for how the run ended, where that was not heard; else as it is.

    As in the log itself, a result counts only where the CLI did not go on after it. What the relay says is
    asked where nothing of a result was heard, or where bytes are missing that the relay counted.
    A failed result's session is not taken: for an unknown session the CLI prints the id it was asked for.
    """
    if relay is None or not _may_have_missed_the_end(told, relay):
        return told
    if relay.is_error is not None:
        return told if _is_the_one_heard(told, relay) else _with_result(told, relay)
    if told.result is None or relay.last not in WENT_ON:
        return told
    warnings = (*told.warnings, NOT_THE_END)
    return replace(told, result=None, overtaken=True, cut_short=True, empty_reply=False, warnings=warnings)


def _may_have_missed_the_end(told: Transcript, relay: RelaySummary) -> bool:
    heard_a_result = told.result is not None or told.overtaken
    return not heard_a_result or told.bytes < relay.bytes


def _is_the_one_heard(told: Transcript, relay: RelaySummary) -> bool:
    result = told.result
    return (
        result is not None
        and result.get("subtype") == relay.subtype
        and bool(result.get("is_error")) is relay.is_error
        and relay.cost_usd in {None, told.reported_usage.total_cost}
    )


def _with_result(told: Transcript, relay: RelaySummary) -> Transcript:
    facts = {"type": "result", "subtype": relay.subtype, "is_error": relay.is_error}
    return replace(
        told,
        result={key: value for key, value in facts.items() if value is not None},
        session_id=told.session_id or (None if relay.is_error else relay.session_id),
        reported_usage=told.reported_usage.with_lost_result(relay.cost_usd),
        overtaken=False,
        cut_short=False,
        empty_reply=False,
        warnings=(*told.warnings, LOST),
    )
