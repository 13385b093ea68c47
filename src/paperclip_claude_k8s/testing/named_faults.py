"""Faults of a cluster in memory by name, each with the error code that a run then has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.devcluster.job_controller import delete_gracefully
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, Kind
from paperclip_claude_k8s.testing.fake_cluster import FakeCluster

Object = dict[str, Any]
_NO_ERROR = None
EVERY_REQUEST = 1000
"""Number of refusals that no run uses up with its retries."""
QUOTA_MESSAGE = "exceeded quota: agents, requested: count/jobs.batch=1, used: 5, limited: 5"


@dataclass(frozen=True, slots=True)
class NamedFault:
    """Something that goes wrong on a cluster."""

    name: str
    """Its key in `FAULTS`."""
    description: str
    """What happens, as a sentence."""
    error_code: str | None
    """Error code of a run during which the fault happens once; None: it succeeds, and its log is complete."""
    cause: Callable[[FakeCluster], None]
    """Causes the fault, now."""
    before_the_run: bool = False
    """Whether the fault has to be caused before the run begins. If not, it needs a running agent."""


def _first(cluster: FakeCluster, kind: Kind) -> Object:
    obj = next(iter(cluster.store.list(kind)), None)
    if obj is None:
        raise LookupError(f"no {kind.kind} exists at this time: cause the fault while an agent runs")
    return obj


def _delete_pod(cluster: FakeCluster) -> None:
    delete_gracefully(cluster.store, _first(cluster, PODS), grace=None)


def _evict_pod(cluster: FakeCluster) -> None:
    meta = _first(cluster, PODS)["metadata"]
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}

    def mark(pod: Object) -> None:
        pod["status"].setdefault("conditions", []).append(target)

    cluster.store.update(PODS, meta["namespace"], meta["name"], mark)
    _delete_pod(cluster)


def _lose_pod(cluster: FakeCluster) -> None:
    meta = _first(cluster, PODS)["metadata"]
    cluster.store.remove(PODS, meta["namespace"], meta["name"])


def _delete_job(cluster: FakeCluster) -> None:
    meta = _first(cluster, JOBS)["metadata"]
    cluster.store.remove(JOBS, meta["namespace"], meta["name"])
    _delete_pod(cluster)


def _kill_agent(cluster: FakeCluster) -> None:
    cluster.kubelet.end_agent(_first(cluster, PODS)["metadata"]["uid"], exit_code=137, reason="OOMKilled")


def _crash_agent(cluster: FakeCluster) -> None:
    cluster.kubelet.end_agent(_first(cluster, PODS)["metadata"]["uid"], exit_code=1, reason="Error")


def _lose_image(cluster: FakeCluster) -> None:
    cluster.faults.image_is_missing = True


def _refuse_pods(cluster: FakeCluster) -> None:
    cluster.faults.pod_refusal = 'violates PodSecurity "restricted:latest": runAsNonRoot != true'


_ALL = (
    NamedFault("pod_deleted", "Somebody deletes the agent's Pod.", "k8s_pod_disrupted", _delete_pod),
    NamedFault(
        "pod_evicted", "The Pod is evicted, as `kubectl drain` does.", "k8s_pod_disrupted", _evict_pod
    ),
    NamedFault(
        "pod_lost",
        "The Pod is removed with its node, and nothing reports how it ended.",
        "k8s_pod_disrupted",
        _lose_pod,
    ),
    NamedFault("job_deleted", "Somebody deletes the Job.", "k8s_job_deleted_externally", _delete_job),
    NamedFault(
        "out_of_memory", "The kernel kills the agent (exit code 137).", "claude_truncated", _kill_agent
    ),
    NamedFault(
        "agent_crashed", "The CLI exits with code 1, without a result.", "claude_truncated", _crash_agent
    ),
    NamedFault(
        "log_dropped",
        "All open log streams break.",
        _NO_ERROR,
        lambda cluster: cluster.faults.drop_log_streams(),
    ),
    NamedFault(
        "watch_dropped",
        "All open watches end.",
        _NO_ERROR,
        lambda cluster: cluster.faults.close_watches(),
    ),
    NamedFault(
        "api_down", "The API server is down for 60 s.", _NO_ERROR, lambda cluster: cluster.go_down(60.0)
    ),
    NamedFault(
        "job_refused",
        "A quota refuses the Job.",
        "k8s_job_create_failed",
        lambda cluster: cluster.faults.refuse("create", "jobs", 403, EVERY_REQUEST, message=QUOTA_MESSAGE),
        before_the_run=True,
    ),
    NamedFault(
        "jobs_forbidden",
        "The service account may not list Jobs.",
        "k8s_concurrency_guard_unreachable",
        lambda cluster: cluster.faults.denied.add(("list", "jobs")),
        before_the_run=True,
    ),
    NamedFault(
        "pod_refused",
        "Admission refuses the Pod.",
        "k8s_pod_schedule_failed",
        _refuse_pods,
        before_the_run=True,
    ),
    NamedFault(
        "image_missing",
        "The registry does not have the image.",
        "k8s_pod_schedule_failed",
        _lose_image,
        before_the_run=True,
    ),
)
FAULTS = {fault.name: fault for fault in _ALL}
"""Name → fault."""


def cause(cluster: FakeCluster, name: str) -> None:
    """Cause a fault of `FAULTS` now.

    If several agents run, a fault of a Pod or a Job affects only one of them.

    Raises:
        ValueError: there is no fault of this name.
        LookupError: the fault needs an agent that runs, and none does.
    """
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known are {', '.join(FAULTS)}")
    FAULTS[name].cause(cluster)


@asynccontextmanager
async def inject(cluster: FakeCluster, name: str, after: float = 20.0) -> AsyncIterator[None]:
    """Cause a fault of `FAULTS` during the block: `after` seconds from its beginning, in the loop's time.

    A fault that has to be caused before a run is caused at once. If several agents run, a fault of a Pod or a
    Job affects only one of them.

    Raises:
        ValueError: there is no fault of this name.
        LookupError: no agent ran at the time of the fault, or the block had ended by then.
    """
    if name not in FAULTS or FAULTS[name].before_the_run:
        cause(cluster, name)
        yield
        return
    outcome: list[Exception | None] = []

    def act() -> None:
        try:
            cause(cluster, name)
        except LookupError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    timer = asyncio.get_running_loop().call_later(after, act)
    try:
        yield
    finally:
        timer.cancel()
    if not outcome:
        raise LookupError(f"the block ended before {name} was caused, {after:g} s after its beginning")
    if outcome[0] is not None:
        raise outcome[0]
