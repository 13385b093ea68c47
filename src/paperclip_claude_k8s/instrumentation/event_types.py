"""The events that the adapter emits: what happened, when, and in which run. Immutable values.

An event says what happened; it is no request and has no effect. `docs/observability.md` lists all of them.
Each class also says how the event is logged: the logger, the level, and the text. The field `error_message`
may quote an agent or a server and is therefore never logged.
"""

import logging
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias

Outcome: TypeAlias = Literal["succeeded", "failed", "cancelled", "submitted", "detached", "crashed"]
"""How a call of `execute` ended. `cancelled`: the host stopped the run. `submitted`: the command line created
the Job and does not wait. `detached`: the host cancelled the task, and the Job stays. `crashed`: a bug."""
StartPhase: TypeAlias = Literal["schedule", "pull", "start"]
"""What a Pod that has not started is waiting for. `schedule`: a node. `pull`: images and volumes. `start`:
init containers and Secrets."""
StopCause: TypeAlias = Literal["cancel", "deadline", "no_exit", "budget"]
"""Why the adapter stops an agent. `cancel`: the host asks for it. `deadline`: `timeoutSec` is over.
`no_exit`: the agent did not exit after its result. `budget`: its cost has passed `maxCostUsdPerRun`."""
WatchChange: TypeAlias = Literal["failing", "recovered", "refused"]
LeaseChange: TypeAlias = Literal["acquired", "taken_over", "released", "lapsed", "unavailable"]

ROOT_LOGGER = "paperclip_claude_k8s"
NOT_LOGGED = frozenset({"at", "run", "error_message"})


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which run an event is about. Fields that are not known yet, or do not exist, are empty."""

    execution: int = 0
    """Number of the call of `execute` within this process. It differs even between two calls for one run."""
    run_id: str = ""
    """The host's id of the run."""
    agent_id: str = ""
    """The host's id of the agent."""
    agent_name: str = ""
    """The agent's name for people."""
    company_id: str = ""
    """The host's id of the company."""
    namespace: str = ""
    """Namespace of the Job, as soon as it is known."""
    job: str = ""
    """Name of the Job, as soon as the run has one."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    at: datetime
    """When it happened, in UTC, by the clock of this process."""

    LOGGER: ClassVar[str] = ROOT_LOGGER
    LEVEL: ClassVar[int] = logging.DEBUG
    """The highest level at which events of this class are logged."""
    TEXT: ClassVar[str] = ""
    """The log message, with the event's fields in braces."""

    @property
    def level(self) -> int:
        """The level at which this event is logged."""
        return self.LEVEL

    def describe(self) -> str:
        """Return the log message."""
        return self.TEXT.format_map(self.facts())

    def facts(self) -> dict[str, Any]:
        """Return the fields that are logged, by name: all but the time, the run and error messages."""
        return {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in NOT_LOGGED
        }


@dataclass(frozen=True, slots=True)
class RunEvent(Event):
    """Something that happened in a run."""

    run: RunInfo
    """The run."""

    LOGGER: ClassVar[str] = f"{ROOT_LOGGER}.runs"


@dataclass(frozen=True, slots=True)
class RunReceived(RunEvent):
    """The host called `execute`, and the context is valid."""

    TEXT: ClassVar[str] = "received"


@dataclass(frozen=True, slots=True)
class LaunchBegan(RunEvent):
    """The run has waited for its turn, because only a few runs launch at a time; now it is launched."""

    queued_seconds: float
    """How long the run waited for its turn."""

    TEXT: ClassVar[str] = "launch begins after {queued_seconds:.3f} s in the queue"


@dataclass(frozen=True, slots=True)
class RunLaunched(RunEvent):
    """The run's Job was created, and its Pod may start."""

    job_uid: str
    """Uid of the Job."""
    image: str
    """The agent's image."""
    model: str
    """The configured model; "" for the CLI's default."""
    resumed_session: str
    """Id of the session that the agent continues; "" for a new one."""
    attempt: int
    """1, or 2 if the session of the first attempt could not be resumed."""

    LEVEL: ClassVar[int] = logging.INFO
    TEXT: ClassVar[str] = "launched its Job, image {image}"


@dataclass(frozen=True, slots=True)
class RunAdopted(RunEvent):
    """The run continues with an existing Job, which an earlier process or call had created."""

    job_uid: str
    """Uid of the Job."""
    prior_run: str
    """The run to which the Job belonged before; "" if unknown."""
    finished: bool
    """Whether the Job had already finished, so that only its result is read."""
    prior_traceparent: str
    """The trace context of the call that created the Job; "" if it had none."""

    LEVEL: ClassVar[int] = logging.INFO
    TEXT: ClassVar[str] = "adopted its Job (prior run: {prior_run}, finished: {finished})"


@dataclass(frozen=True, slots=True)
class StartPhaseBegan(RunEvent):
    """The agent's container has not started yet, and now waits for something else than before."""

    phase: StartPhase
    """What it waits for."""

    TEXT: ClassVar[str] = "waits for its start: {phase}"


@dataclass(frozen=True, slots=True)
class AgentStarted(RunEvent):
    """The agent's container runs or has run."""

    pod: str
    """Name of the Pod."""
    pod_uid: str
    """Uid of the Pod."""
    node: str
    """Name of the node."""
    seconds: float
    """Seconds since the Job was launched or adopted."""

    LEVEL: ClassVar[int] = logging.INFO
    TEXT: ClassVar[str] = "agent started in Pod {pod} on node {node} after {seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class LogReconnecting(RunEvent):
    """The stream of the agent's log broke or could not be opened. At most one event per run and minute."""

    attempts: int
    """Failed attempts since the previous event of this kind."""
    error_message: str
    """Why."""

    TEXT: ClassVar[str] = "reconnects to the agent's log, failed attempts: {attempts}"


@dataclass(frozen=True, slots=True)
class LogGap(RunEvent):
    """The cluster did not deliver a part of the agent's log."""

    missing_bytes: int | None
    """Size of the part; None if unknown."""
    missing_lines: int | None
    """Lines of the part; None if unknown."""
    restored: bool
    """Whether the part was read from the copy on the shared volume, so that nothing is lost."""

    LEVEL: ClassVar[int] = logging.WARNING
    TEXT: ClassVar[str] = "gap in the agent's log: {missing_lines} lines, restored: {restored}"

    @property
    def level(self) -> int:
        """A restored gap needs no attention."""
        return logging.DEBUG if self.restored else logging.WARNING


@dataclass(frozen=True, slots=True)
class RunStopping(RunEvent):
    """The adapter begins to stop the agent."""

    reason: StopCause
    """Why."""

    TEXT: ClassVar[str] = "stops the agent: {reason}"


@dataclass(frozen=True, slots=True)
class SessionLost(RunEvent):
    """The session could not be resumed; a second attempt with a new session follows."""

    session: str
    """Id of the session."""

    TEXT: ClassVar[str] = "session {session} cannot be resumed; a second attempt follows"


@dataclass(frozen=True, slots=True)
class RunStatus(RunEvent):
    """The adapter wrote a line into the run's log."""

    text: str
    """The line. It may quote Kubernetes."""
    warning: bool
    """Whether the line is a warning."""

    TEXT: ClassVar[str] = "{text}"


@dataclass(frozen=True, slots=True)
class LogTotals:
    """How much of the agent's log was delivered."""

    bytes: int = 0
    """Bytes of the agent's stdout."""
    lines: int = 0
    """Lines of the agent's stdout."""
    reconnects: int = 0
    """Streams that replaced one that broke, or that continued one that had ended too early."""
    gaps: int = 0
    """Parts of the log that are lost."""
    complete: bool | None = None
    """Whether the delivered log matches the Pod's counts; None if the Pod's counts are unknown."""


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Tokens of one run, as in the result's `usage`."""

    input: int = 0
    """Input, with cache writes and without cache reads."""
    output: int = 0
    """Generated by the model."""
    cached_input: int = 0
    """Cache reads."""


@dataclass(frozen=True, slots=True)
class RunEnded(RunEvent):
    """The call of `execute` has ended. This is the last event of the call."""

    outcome: Outcome
    """How the call ended."""
    error_code: str
    """The result's `errorCode`; "" without one."""
    error_family: str
    """The result's `errorFamily`; "" without one."""
    error_message: str
    """The result's `errorMessage`, which may quote the agent; "" without one."""
    seconds: float
    """Seconds since the call of `execute`."""
    phases: tuple[tuple[str, float], ...]
    """The result's `phases`, in seconds: `start`, `run` and `complete`. Empty without an observed Job."""
    model: str
    """The model that the agent reported; "" if none did."""
    provider: str
    """Who serves the model: `anthropic` or `aws_bedrock`; "" if unknown."""
    session: str
    """Id of the agent's session; "" if unknown."""
    cost_usd: float | None
    """Cost in US dollars; None if unknown."""
    tokens: TokenTotals | None
    """Tokens; None if the agent reported none."""
    log: LogTotals | None
    """How much of the log was delivered; None if no log was read."""

    LEVEL: ClassVar[int] = logging.WARNING

    @property
    def level(self) -> int:
        """WARNING if the run failed and will fail again until a person acts."""
        lasting = self.outcome in {"failed", "crashed"} and not self.error_family
        return logging.WARNING if lasting else logging.INFO

    def describe(self) -> str:
        """Return the log message, without any text of the agent."""
        code = f" ({self.error_code})" if self.error_code else ""
        cost = "unknown cost" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        return f"{self.outcome}{code} after {self.seconds:.1f} s, {cost}"


@dataclass(frozen=True, slots=True)
class ApiRequest(Event):
    """A request to the API server was answered, or failed without an answer."""

    verb: str
    """The Kubernetes verb: get, list, watch, create, update, patch or delete."""
    resource: str
    """The resource, such as `jobs` or `pods/log`."""
    status: int | None
    """HTTP status; None if no complete response arrived."""
    reason: str
    """The server's reason of a failure, such as `NotFound`; "" after a success."""
    seconds: float
    """Seconds until the whole response, or for watches and logs until its first byte."""

    LOGGER: ClassVar[str] = f"{ROOT_LOGGER}.requests"
    TEXT: ClassVar[str] = "{verb} {resource}: {status} {reason} after {seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class WatchChanged(Event):
    """The shared watch of a namespace began to fail, or works again."""

    namespace: str
    """The namespace."""
    resource: str
    """`jobs` or `pods`."""
    change: WatchChange
    """`refused`: this account may not watch the resource, for so long that the runs give up."""
    status: int | None
    """HTTP status of the failure; None after a recovery, or if no response arrived."""
    seconds: float
    """How long the watch has been failing."""

    LOGGER: ClassVar[str] = f"{ROOT_LOGGER}.watches"
    LEVEL: ClassVar[int] = logging.WARNING
    TEXT: ClassVar[str] = "watch of {resource} in {namespace}: {change} (status {status}, {seconds:.0f} s)"

    @property
    def level(self) -> int:
        """Only a refusal needs a person."""
        return logging.WARNING if self.change == "refused" else logging.DEBUG


@dataclass(frozen=True, slots=True)
class LeaseChanged(Event):
    """A slot's Lease changed its holder, or this process has trouble with its own Lease."""

    namespace: str
    """The namespace."""
    change: LeaseChange
    """`lapsed`: other processes may have considered this one dead. `unavailable`: Leases cannot be used."""
    slot: str
    """The slot; "" for the Lease of this process."""
    run_id: str
    """The run that holds the slot; "" for the Lease of this process."""

    LOGGER: ClassVar[str] = f"{ROOT_LOGGER}.leases"
    LEVEL: ClassVar[int] = logging.WARNING
    TEXT: ClassVar[str] = "Lease in {namespace}: {change} {slot} {run_id}"

    @property
    def level(self) -> int:
        """A Lease that changes hands is normal."""
        return logging.WARNING if self.change in {"lapsed", "unavailable"} else logging.DEBUG
