"""The state that the tasks of one observation share; `end` and `request_stop` end the observation.

Everything runs in one TaskGroup. Watchers are the tasks, timers and periodic tasks that are needed only until
the ending: those that detect it, and those that report to the host meanwhile. The first ending that is
reported counts. All watchers are then cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.aio import PeriodicTask
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.host.context import StoppableContext
from paperclip_claude_k8s.instrumentation.event_types import RunStopping, StopCause
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock, StartSignals
from paperclip_claude_k8s.run.agent_log import AgentLog
from paperclip_claude_k8s.run.exit_wait import ExitWait
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.returned_changes import ReturnedChanges, has_changes, has_our_folder
from paperclip_claude_k8s.run.start_gate import StartGate
from paperclip_claude_k8s.run.stop import StopLimits, stop_agent
from paperclip_claude_k8s.verdict.ending import Ending, StopReason

_STOP_CAUSES: dict[StopReason, StopCause] = {
    StopReason.CANCEL: "cancel",
    StopReason.DEADLINE: "deadline",
    StopReason.NO_EXIT: "no_exit",
    StopReason.BUDGET: "budget",
}
_Watcher: TypeAlias = asyncio.Task[None] | asyncio.TimerHandle | PeriodicTask


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """The Job of a run while it is observed. Times are those of the event loop's clock."""

    ctx: StoppableContext
    launched: LaunchedJob
    slot_lock: SlotLock
    ports: Ports
    narrator: Narrator
    job_watch: JobWatch
    group: asyncio.TaskGroup

    plan: RunPlan = field(init=False)
    agent_log: AgentLog = field(init=False)
    gate: StartGate = field(init=False)
    gate_task: PeriodicTask = field(init=False)
    """Keeps a second Pod from starting the agent. Not a watcher: it goes on until the gate is closed."""
    ending: asyncio.Future[Ending] = field(init=False)
    began_at: float = field(init=False)
    running_since: float | None = None
    """When it was observed that the agent's container runs or has run."""
    ended_at: float = 0.0
    """When the ending was reported."""
    stop_reason: StopReason | None = None
    """Why we are stopping the agent ourselves."""
    known_cost: float = 0.0
    """What the results so far say that the run has cost, in US dollars."""
    exit_wait: ExitWait | None = None
    """None: an agent that does not exit is never stopped."""

    log_task: asyncio.Task[None] | None = None
    """Follows the agent's log; started as soon as the Pod has a node, before the container runs."""
    log_pod_uid: str = ""
    """Uid of the Pod whose log is followed."""
    log_stopped: bool = False
    """The last stream of the log has ended or was refused, and none was opened since."""
    log_ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the last stream of the log that was opened has ended by itself."""
    silent_since: float = 0.0
    """Start of the silence after which Job and Pod are read. Each read moves it into the future."""
    start_mark_seen: bool = False
    """The Pod's start mark was found on the shared volume, and removed."""
    clone_reported: bool = False
    """A status line has said what was cloned as the agent's workspace."""
    changes: ReturnedChanges | None = None
    """What the agent changed in an uploaded folder, as far as it was read."""
    changes_task: asyncio.Task[None] | None = None
    _watchers: list[_Watcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        job, plan, loop = self.launched.job, self.launched.plan, asyncio.get_running_loop()
        self.plan = plan
        limit = plan.config.log_limit_bytes
        self.agent_log = AgentLog(self.ports, self.narrator, self.job_watch, plan.volume_here, limit)
        secret, adopted = self.launched.secret, self.launched.adopted
        self.gate = StartGate(job, plan, secret, adopted, self.job_watch, self.ports, self.narrator)
        self.gate_task = PeriodicTask(self.group, "gate", self.gate.update)
        self.ending = loop.create_future()
        self.began_at = loop.time()

    @property
    def start_marks(self) -> tuple[StartSignals, str] | None:
        """The start marks and their volume's path; None if process and Pod do not both mount the volume."""
        starts, volume = self.ports.start_marks, self.plan.volume_here
        return (starts, volume) if starts is not None and volume and self.plan.shares_volume else None

    def start_task(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a watcher."""
        self._watchers.append(self.group.create_task(work, name=name))

    def add_periodic(self, name: str, work: Callable[[], Awaitable[float | None]]) -> PeriodicTask:
        """Add a watcher that runs on demand or after the seconds that `work` returns."""
        task = PeriodicTask(self.group, name, work)
        self._watchers.append(task)
        return task

    def add_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._watchers.append(asyncio.get_running_loop().call_later(seconds, callback))

    def cancel_watchers(self) -> None:
        while self._watchers:
            self._watchers.pop().cancel()

    def end(self, ending: Ending) -> None:
        """Report an ending. Only the first one counts."""
        if not self.ending.done():
            self.ending.set_result(ending)

    def request_stop(self, reason: StopReason) -> None:
        """Stop the agent. Only the first request counts, and none after the ending."""
        if self.stop_reason is None and not self.ending.done():
            self.stop_reason = reason
            self.narrator.events.emit(RunStopping, _STOP_CAUSES[reason])
            self.start_task("stop", self._stop(reason))

    def read_changes(self) -> None:
        """Begin to read what the agent has changed in an uploaded folder. Idempotent.

        Does not wait until the Pod's status shows the containers: a busy kubelet reports them seconds after
        they have begun, and the log of a stopped Pod is removed sooner.
        """
        pod, job = self.job_watch.known.pod, self.launched.job
        uploaded = has_changes(job) and has_our_folder(job, self.plan)
        if uploaded and pod is not None and self.changes_task is None:
            self.changes = ReturnedChanges(pod.namespace, pod.name, self.ports)
            self.changes_task = self.group.create_task(self.changes.read(), name="changes")

    def stop_reading_changes(self) -> None:
        if self.changes_task is not None and not self.changes_task.done():
            self.changes_task.cancel()

    async def _stop(self, reason: StopReason) -> None:
        self.read_changes()  # the Pod is gone soon
        config = self.plan.config
        limits = StopLimits(config.result_grace_sec, self.known_cost, config.max_cost_usd_per_run)
        self.end(await stop_agent(reason, self.job_watch, self.ports, self.narrator, limits))
