"""Disruptions of a running Job and its Pod, for tests on a cluster in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.in_memory_runs import PARTIAL, WHOLE

from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.job_controller import delete_gracefully
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog, PodScript

SLOW_TO_STOP = PodScript(output=((0.0, PARTIAL),), ends_at=9999.0, stops_in=12.0)
"""Runs for another twelve seconds after SIGTERM."""
DELAYED_RESULT = PodScript(output=((0.0, PARTIAL), (100.0, WHOLE[len(PARTIAL) :])), ends_at=101.0)
"""Prints everything but its result at once, and the result after 100 s."""
DISRUPT_AFTER = 20.0
"""Seconds from the start of a run to the disruption."""
Object = dict[str, Any]


def only(fake: FakeCluster, kind: Any) -> Object:
    """The object of this kind, in tests in which there is only one."""
    found: Object = next(iter(fake.store.list(kind)))
    return found


def change(fake: FakeCluster, kind: Any, edit: Callable[[Object], object]) -> None:
    """Apply `edit` to the object that `only` returns."""
    name = only(fake, kind)["metadata"]["name"]

    def changed(found: Object) -> None:
        edit(found)

    fake.store.update(kind, NAMESPACE, name, changed)


def delete_pod(fake: FakeCluster) -> None:
    delete_gracefully(fake.store, only(fake, PODS), None)


def delete_pod_by_force(fake: FakeCluster) -> None:
    """Remove the Pod object at once, as `kubectl delete --force` does; its container ends later."""
    fake.store.remove(PODS, NAMESPACE, only(fake, PODS)["metadata"]["name"])


def suspend(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["spec"].update(suspend=True))


def scale_down(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["spec"].update(parallelism=0))


def taint(fake: FakeCluster) -> None:
    """Delete the Pod as the taint controller does: it also records an Event."""
    pod = only(fake, PODS)
    Events(fake.store, "taint-controller").record(
        pod, "Normal", "TaintManagerEviction", "Marking for deletion Pod"
    )
    delete_pod(fake)


async def run_disrupted(
    fake: FakeCluster, run: Any, act: Callable[[FakeCluster], None], after: float = DISRUPT_AFTER, **more: Any
) -> tuple[ExecutionResult, HostLog]:
    """Run an agent, and disrupt it with `act` `after` seconds later. `more`: entries of the run's context."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(**more))
        await asyncio.sleep(after)
        act(fake)
    outcome: tuple[ExecutionResult, HostLog] = running.result()
    return outcome


def release_pod(fake: FakeCluster) -> None:
    """Remove the Pod's labels: the Job controller then releases it and creates another Pod."""
    change(fake, PODS, lambda pod: pod["metadata"].update(labels={}))
