"""Everything that was observed of one run, collected before its Job is deleted.

`recover_result` completes the transcript if a part of the log was lost: the relay, which starts the agent
(the Claude Code CLI) and sees all of its output, leaves a summary in the container's termination message.
"""

from dataclasses import dataclass, field, replace

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.claude.accounting import ReportedUsage
from paperclip_claude_k8s.claude.events import believable_cost
from paperclip_claude_k8s.claude.result_fields import known_fields
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.cluster.model import Condition, Known, Terminated
from paperclip_claude_k8s.podlog.log_report import LogReport
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Disrupted,
    Ending,
    Exited,
    JobGone,
    NotStarted,
    PodLost,
    Untrackable,
)
from paperclip_claude_k8s.verdict.upload_end import UploadEnd
from paperclip_claude_k8s.verdict.workspace_end import WorkspaceEnd


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was known of Job and Pod at the end, for messages. Durations in seconds."""

    job: str
    namespace: str
    conditions: tuple[Condition, ...] = ()
    seconds_running: float | None = None
    pod_phase: str = ""
    pod_gone: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """How the run ended and what the agent printed. `log` is None if the agent's container never ran.

    `relay` is the relay's summary; None if it left none, for example because the Pod was deleted.
    """

    ending: Ending
    transcript: Transcript
    log: LogReport | None
    relay: RelaySummary | None
    facts: RunFacts
    known: Known = field(default_factory=Known)
    """The last known state of Job and Pod."""
    workspace: WorkspaceEnd | UploadEnd | None = None
    """What became of a cloned or an uploaded workspace; None if there was none."""
    phases: tuple[tuple[str, int], ...] = ()
    """Duration of each phase: name and milliseconds, in order."""

    @property
    def end_unknown(self) -> bool:
        """Whether the agent may still work, so that its Job must not be deleted."""
        failure = self.ending.failure if isinstance(self.ending, NotStarted) else None
        return isinstance(self.ending, Untrackable) or (failure is not None and failure.keeps_job)

    @property
    def agent_ended(self) -> bool:
        """Whether the agent's container ran and ended, but not because this process stopped it.

        A stop deletes the Job. A deadline that the Job itself exceeded leaves it finished.
        """
        job = self.known.job
        by_job = isinstance(self.ending, DeadlinePassed) and job is not None and job.finished is not None
        return by_job or isinstance(self.ending, (Exited, Disrupted, JobGone, PodLost))

    @property
    def terminated(self) -> Terminated | None:
        """How the agent's container ended, if that was reported."""
        return self.ending.terminated

    @property
    def exit_code(self) -> int | None:
        return self.terminated.exit_code if self.terminated is not None else None

    @property
    def termination_message(self) -> str:
        """The container's termination message; empty if it is the relay's summary of the run.

        If a failed container left no message, Kubernetes uses the end of its log (`FallbackToLogsOnError`).
        Lines of JSON, whole or cut, and the relay's marked lines are removed from it.
        """
        if self.terminated is None or self.relay is not None:
            return ""
        lines = self.terminated.message.split("\n")
        return "\n".join(line for line in lines if '":' not in line and not line.startswith("\x1e")).strip()


# Warnings that `recover_result` adds.
RESULT_FROM_RELAY = RunWarning(
    WarningCode.RESULT_FROM_RELAY, "result event missing from the log; using the relay's summary"
)
RESULT_NOT_LAST = RunWarning(
    WarningCode.RESULT_OVERTAKEN,
    "the CLI continued after the last result that was read; that part of the log is missing",
)
FOREIGN_OUTPUT = RunWarning(
    WarningCode.FOREIGN_OUTPUT,
    "the output that was read is not what the relay counted: another program wrote into the output's copy on "
    "the shared volume, from which the log was completed; result, session and cost are those that the relay "
    "noted",
)
CONTINUING_EVENTS = frozenset({"answer", "init"})
"""Values of `RelaySummary.last` that show that the CLI continued after a result."""


def recover_result(
    transcript: Transcript, relay: RelaySummary | None, log: LogReport | None = None
) -> Transcript:
    """The transcript, with the end of the run taken from the relay's summary if the log lacks it.

    The summary is only used if no result was read, if fewer bytes were read than the relay counted, or if
    some of the output is not the agent's. As in the log itself, a result counts only if the CLI did not
    continue after it. The session id of a failed result is not used: for an unknown session the CLI prints
    the id that was requested.
    """
    if relay is None:
        return transcript
    is_read = _is_result_read(transcript, relay)
    foreign = _has_foreign_lines(transcript, relay, log)
    if foreign:
        transcript = _without_foreign_facts(transcript, relay)
    elif not _may_have_missed_the_end(transcript, relay):
        return transcript
    if relay.is_error is not None:  # the relay saw a result that nothing followed
        return transcript if is_read else _with_result(transcript, relay)
    if transcript.result is None or (relay.last not in CONTINUING_EVENTS and not foreign):
        return transcript  # no result to drop
    warnings = (*transcript.warnings, RESULT_NOT_LAST)
    return replace(
        transcript, result=None, overtaken=True, cut_short=True, empty_reply=False, warnings=warnings
    )


def _has_foreign_lines(transcript: Transcript, relay: RelaySummary, log: LogReport | None) -> bool:
    """Whether some of the output, read from the copy on the volume, is not the agent's.

    More was read than the relay counted, or as much with another digest. If the relay counted nothing, this
    is unknown, and taken as False: its disk was full, or the agent killed a process of the relay.
    """
    if relay.bytes == 0 or transcript.bytes != relay.bytes:
        return transcript.bytes > relay.bytes > 0
    return log is not None and log.filled > 0 and relay.sha256 not in {None, log.sha256}


def _without_foreign_facts(transcript: Transcript, relay: RelaySummary) -> Transcript:
    """The transcript, with session and cost from the relay, because other programs wrote into the output."""
    return replace(
        transcript,
        session_id=None if relay.is_error else relay.session_id,
        reported_usage=ReportedUsage(total_cost=believable_cost(relay.cost_usd)),
        warnings=(*transcript.warnings, FOREIGN_OUTPUT),
    )


def _may_have_missed_the_end(transcript: Transcript, relay: RelaySummary) -> bool:
    """Whether the transcript may lack the agent's last events."""
    has_result = transcript.result is not None or transcript.overtaken
    return transcript.unread_result or not has_result or transcript.bytes < relay.bytes


def _is_result_read(transcript: Transcript, relay: RelaySummary) -> bool:
    """Whether the transcript's result is the one in the relay's summary."""
    result = transcript.result
    return (
        result is not None
        and result.get("subtype") == relay.subtype
        and bool(result.get("is_error")) is relay.is_error
        and relay.cost_usd in {None, transcript.reported_usage.total_cost}
    )


def _with_result(transcript: Transcript, relay: RelaySummary) -> Transcript:
    """The transcript with the result of the relay's summary."""
    facts = {"type": "result", "subtype": relay.subtype, "is_error": relay.is_error}
    return replace(
        transcript,
        result=known_fields({key: value for key, value in facts.items() if value is not None}),
        session_id=transcript.session_id or (None if relay.is_error else relay.session_id),
        reported_usage=transcript.reported_usage.with_lost_result(believable_cost(relay.cost_usd)),
        unread_result=False,
        overtaken=False,
        cut_short=False,
        empty_reply=False,
        warnings=(*transcript.warnings, RESULT_FROM_RELAY),
    )
