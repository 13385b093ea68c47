"""Frozen snapshots of Kubernetes objects, with the few fields the adapter needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Literal, TypeAlias, TypeVar

from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, QUEUE_LABEL

JsonObject: TypeAlias = dict[str, object]
"""A Kubernetes object as JSON, such as a manifest."""

Snapshot = TypeVar("Snapshot")
_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class JobRef:
    """Identifies a Job; the uid distinguishes it from a later Job of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = field(default=None, compare=False)
    """When the status last changed."""

    @property
    def is_true(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A Job as the API server returned it at one time."""

    ref: JobRef
    resource_version: str
    created: datetime | None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    image: str = ""
    deleting: bool = False
    suspended: bool = False
    parallelism: int = 1
    claims: frozenset[str] = frozenset()
    """Names of the PersistentVolumeClaims that its Pods mount."""
    replacement_policy: str = ""
    """`podReplacementPolicy` as the server stored it; "" from a server that drops the field (before 1.29)."""
    warnings: tuple[str, ...] = ()
    """The server's warnings in its response to the create call; not part of the object."""

    @property
    def created_or_earliest(self) -> datetime:
        """The time by which Jobs are sorted. A Job without a time of creation counts as the oldest."""
        return self.created or _EARLIEST

    @property
    def finished(self) -> Condition | None:
        """The `Complete` or `Failed` condition with status True, if the Job has one."""
        return next((c for c in self.conditions if c.type in {"Complete", "Failed"} and c.is_true), None)

    @property
    def queued(self) -> bool:
        """Whether a queue suspends and admits the Job. If not, a person has to resume a suspended Job."""
        return QUEUE_LABEL in self.labels

    @property
    def replaces_terminating_pods(self) -> bool:
        """Whether the Job controller starts another Pod while the containers of a deleted one still run."""
        return self.replacement_policy != "Failed"


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Terminated:
    exit_code: int | None
    reason: str = ""
    message: str = ""
    signal: int | None = None
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def never_ran(self) -> bool:
        """Whether the container runtime could not start the container."""
        return self.reason in {"StartError", "ContainerCannotRun"}


ContainerState: TypeAlias = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    """One container of a Pod; `state` is None until the kubelet has reported one."""

    name: str
    state: ContainerState | None = None
    container_id: str = ""
    image: str = ""
    sidecar: bool = False
    last: Terminated | None = None
    """How the container ended the last time, if it was restarted."""


@dataclass(frozen=True, slots=True)
class PodSnapshot:
    """A Pod as the API server returned it at one time.

    `job_uid` is the uid of the Job that controls it; empty once the Job controller has released the Pod.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    job_uid: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    node: str = ""
    created: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    init_containers: tuple[ContainerSnapshot, ...] = ()
    containers: tuple[ContainerSnapshot, ...] = ()
    claims: frozenset[str] = frozenset()
    """Names of the PersistentVolumeClaims that it mounts."""
    deleting: bool = False
    grace: float | None = None
    """Seconds between SIGTERM and SIGKILL when the Pod is deleted."""

    @property
    def is_over(self) -> bool:
        """Whether no container runs or will run, according to the phase."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def agent_may_work(self) -> bool:
        """Whether the agent's container runs or may still start. Other containers can outlive it."""
        agent = self.agent
        return not self.is_over and not (agent is not None and isinstance(agent.state, Terminated))

    @property
    def agent(self) -> ContainerSnapshot | None:
        """The agent's container; None while the Pod's status does not list it."""
        return next((c for c in self.containers if c.name == AGENT_CONTAINER), None)

    def container(self, name: str) -> ContainerSnapshot | None:
        """The container or init container of this name; Kubernetes lets no two have the same."""
        return next((c for c in (*self.init_containers, *self.containers) if c.name == name), None)

    def condition(self, kind: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)


@dataclass(frozen=True, slots=True)
class Known:
    """The last known state of one Job and its Pod. `*_gone`: a read or a watch showed that object gone."""

    job: JobSnapshot | None = None
    pod: PodSnapshot | None = None
    job_gone: bool = False
    pod_gone: bool = False
    pod_is_final: bool = False
    """`pod` is the Pod's last state: the watch reported the deletion, and missed no event before it."""
    seen_by: str = "watch"
    """How `job_gone` was observed, for messages: "watch" or "direct read"."""
    log_opened: bool = False
    """The Pod's log could be opened, so its agent container has started, whatever the status says."""
    stopped_by_job: Literal["", "suspended", "parallelism"] = ""
    """Which field of the Job, changed while the Pod existed, made the Job controller delete the Pod."""

    @property
    def pod_released(self) -> bool:
        """Whether the Job controller has released the Pod because its labels or owner were changed."""
        job, pod = self.job, self.pod
        return job is not None and pod is not None and pod.job_uid != job.ref.uid

    @property
    def agent_began(self) -> bool:
        """Whether the agent's container was seen running or terminated, or its log could be opened.

        If the runtime could not start the container, an opened log does not count: it may exist all the same.
        """
        agent = self.pod.agent if self.pod is not None else None
        state = agent.state if agent is not None else None
        if isinstance(state, Terminated):
            return not state.never_ran
        return self.log_opened or isinstance(state, Running)


@dataclass(frozen=True, slots=True)
class EventSnapshot:
    """One Kubernetes Event, with its latest message; `count` is how often it occurred."""

    uid: str
    type: str
    """Normal or Warning."""
    reason: str
    message: str
    about: str = ""
    """Kind and name of the object that the Event is about, as KIND/NAME."""
    seen: datetime | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class SecretSnapshot:
    """A Secret without its values, except `only_pod`. `owners` are the uids in its owner references."""

    namespace: str
    name: str
    uid: str
    owners: tuple[str, ...] = ()
    only_pod: str = ""
    """Uid of the only Pod that may run the agent, if the Secret contains one."""
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClaimSnapshot:
    """A PersistentVolumeClaim. `size` is what it requests, as the quantity that its creator wrote."""

    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    created: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotated: bool = False
    """Whether it has any annotations, even ones that `annotations` leaves out because they are not the
    adapter's. If not, a patch must first create the field."""
    access_modes: tuple[str, ...] = ()
    storage_class: str | None = None
    """None: the claim names no class, and the cluster has no default one."""
    size: str = ""
    phase: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class LeaseSnapshot:
    namespace: str
    name: str
    resource_version: str
    holder: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    renewed: datetime | None = None


@dataclass(frozen=True, slots=True)
class HomePod:
    """What Jobs inherit from the Pod in which this process runs. `JsonObject`s are parts of its spec."""

    namespace: str
    name: str
    image: str
    env: Sequence[JsonObject] = field(default=(), repr=False)
    env_from: Sequence[JsonObject] = ()
    image_pull_secrets: Sequence[JsonObject] = ()
    dns_policy: str = ""
    dns_config: JsonObject | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[JsonObject] = ()
    affinity: JsonObject | None = None
    claim_name: str = ""
    """The claim that is mounted at `/paperclip`."""
    mounts: Sequence["HomeMount"] = ()
    not_inherited: Sequence["NotInherited"] = ()


@dataclass(frozen=True, slots=True)
class HomeMount:
    """One mount of the home pod's container. `volume` is an entry of the Pod's `volumes`."""

    path: str
    volume: JsonObject
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class NotInherited:
    """A mount of the home pod's container that Jobs do not get. `why`: its kind of volume, or the reason."""

    path: str
    volume: str
    why: str


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[Snapshot]):
    """One event of a watch. `gone`: the object was deleted or left the label selection."""

    snapshot: Snapshot
    gone: bool = False
    size: int = field(default=0, compare=False)
    """Size of the event in JSON, in bytes."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """The watch is alive and has reported every change up to this version."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class Listing(Generic[Snapshot]):
    """Response of a list call: the items, and the version from which a watch continues."""

    items: tuple[Snapshot, ...]
    resource_version: str
    size: int = 0
    """Size of the items in JSON, in bytes."""
