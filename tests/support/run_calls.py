"""Scenarios of a run, each with every API call that it makes: the points at which a host can die.

A call that is made and not listed fails `tests/run/test_crashes.py`. A new call is added here, which also
tests a crash before and after it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.captures import capture
from tests.support.fake_cluster import NAMESPACE, FakeCluster, PodScript
from tests.support.hosts import Host, started

from paperclip_claude_k8s.devcluster.job_controller import mark_deleted
from paperclip_claude_k8s.devcluster.kinds import PODS

WHOLE = capture("02")
HALF = WHOLE[: WHOLE.index(b'{"type":"result"')]
SHORT = PodScript(output=((0.0, HALF), (25.0, WHOLE[len(HALF) :])), ends_at=26.0)
SLOW_START = PodScript(
    waiting=((16.0, "ContainerCreating", ""),), output=((0.0, HALF), (25.0, WHOLE[len(HALF) :])), ends_at=26.0
)
DYING = replace(SHORT, stops_in=12.0)
LONG = PodScript(output=((0.0, HALF), (200.0, WHOLE[len(HALF) :])), ends_at=201.0)
SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
UNKNOWN_SESSION_OUTPUT = (
    b'{"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"asked","num_turns":0,'
    b'"errors":["No conversation found with session ID: asked"]}\n'
)


def loses_session(pod: Any) -> PodScript:
    """An agent that does not know the session that it should resume."""
    resumes = "--resume" in pod["spec"]["containers"][0]["command"]
    return PodScript(output=((0.0, UNKNOWN_SESSION_OUTPUT if resumes else WHOLE),), exit_code=int(resumes))


async def nothing(_fake: FakeCluster) -> None:
    """No earlier run."""


async def host_left(fake: FakeCluster) -> None:
    """A host shuts down during its run."""
    zero = Host(fake, "host-zero")
    async with started(zero, 10):
        await zero.adapter.shutdown()


async def host_disconnected(fake: FakeCluster) -> None:
    """A host loses its connection during its run."""
    zero = Host(fake, "host-zero")
    async with started(zero, 10):
        zero.disconnect()
    await zero.adapter.shutdown()


async def host_disconnected_before_the_secret(fake: FakeCluster) -> None:
    fake.faults.refuse("create", "secrets", 503, times=10_000)
    await host_disconnected(fake)
    fake.faults.refusals.clear()


async def host_left_and_the_run_ended(fake: FakeCluster) -> None:
    await host_left(fake)
    await asyncio.sleep(30)


async def host_left_and_the_pod_is_gone(fake: FakeCluster) -> None:
    await host_left_and_the_run_ended(fake)
    for pod in list(fake.store.list(PODS)):
        fake.store.remove(PODS, NAMESPACE, pod["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `calls`: all API calls of its host, in order."""

    calls: tuple[str, ...]
    pod_script: PodScript | Callable[[Any], PodScript] = SHORT
    more: dict[str, Any] = field(default_factory=dict)
    """Further entries of the context."""
    before: Callable[[FakeCluster], Awaitable[None]] = nothing
    stopped_after: float | None = None
    """Seconds until the host stops the run; None: it does not."""
    forbidden: tuple[str, str] | None = None
    """(verb, resource) of a right that the hosts do not have."""
    refused: tuple[str, str, int] | None = None
    """(verb, resource, status) of calls that fail while the first host lives."""
    keeps_taken_jobs: bool = False
    """Jobs whose results were taken are kept until their TTL."""
    codes: frozenset[str | None] = frozenset({None})
    """Error codes that are correct for the next host."""
    during: Callable[[FakeCluster], None] | None = None
    """What happens during the run."""
    agents: dict[str, int] = field(default_factory=lambda: {"": 1})
    """The number of agents that run in all, by the last of these calls that was answered before the death."""


def delete_its_pod(fake: FakeCluster) -> None:
    for pod in fake.store.list(PODS):
        mark_deleted(fake.store, pod, None)


def times(call: str, count: int) -> tuple[str, ...]:
    """The same call this many times."""
    return (call, *(f"{call} ({nth})" for nth in range(2, count + 1)))


ACQUIRE = ("create_lease of process", "create_lease of slot", "list_leases")
LIST = ("list_jobs", "list_pods")
LAUNCH = (*LIST, "create_job", "list_jobs (2)", "create_secret")
WATCH = ("watch_jobs", "watch_pods", "log followed")
SLOW_WATCH = ("watch_jobs", "watch_pods", *times("log followed", 16), "list_events")
"""Calls for a Pod that starts late: its log is tried until it opens, and its Events are read."""
LIST_AND_WATCH = ("list_jobs (2)", "list_pods (2)", *WATCH)
RENEW = "replace_lease of process"
DONE = "delete_job in the background"
RELEASE = ("delete_lease of slot", "delete_lease of process")
WAIT_FOR_EXPIRY = ("read_lease of slot", *times("read_lease of process", 35), "replace_lease of slot")
TAKE_OVER = (*ACQUIRE, *WAIT_FOR_EXPIRY, "delete_lease of process", "delete_lease of process (2)")
TWICE_AFTER_DELETION = {"": 1, DONE: 2}
"""A host that dies after it deleted its Job and before it returns loses the result: the agent runs again."""
RESUMES = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
OTHER_WAKE = {"taskId": "task-1", "paperclipTaskMarkdown": "Something else."}

SCENARIOS: dict[str, Scenario] = {
    "a good run": Scenario(
        (*ACQUIRE, *LAUNCH, *SLOW_WATCH, *times(RENEW, 2), DONE, *RELEASE),
        SLOW_START,
        agents=TWICE_AFTER_DELETION,
    ),
    "a stopped run": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, "delete_job in the foreground"),
            *(*times("read_pod", 4), "read_job", *times("log read", 2), DONE, *RELEASE),
        ),
        stopped_after=15,
        agents={"": 1, "delete_job in the foreground": 2},
    ),
    "a retained run": Scenario(
        (*ACQUIRE, *LAUNCH, *WATCH, RENEW, "patch_job", *RELEASE),
        more={"config": {"retainJobs": True}},
        keeps_taken_jobs=True,
    ),
    "a lost session": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, DONE),
            *("list_jobs (3)", "list_pods (2)", "create_job (2)", "list_jobs (4)", "create_secret (2)"),
            *(*(f"{call} (2)" for call in WATCH), f"{DONE} (2)", *RELEASE),
        ),
        loses_session,
        more={"runtime": RESUMES},
        agents={"": 2, DONE: 3, "create_secret (2)": 2, f"{DONE} (2)": 4},
    ),
    "a refused Secret": Scenario((*ACQUIRE, *LAUNCH, DONE, *RELEASE), refused=("create", "secrets", 422)),
    "no right to Leases": Scenario(
        ("create_lease of process", *LAUNCH, *SLOW_WATCH, DONE),
        SLOW_START,
        forbidden=("create", "leases"),
        agents=TWICE_AFTER_DELETION,
    ),
    "an adopting run": Scenario(
        (*ACQUIRE, *LIST, "read_secret", "patch_job", *LIST_AND_WATCH, DONE, *RELEASE),
        more={"runId": "run-2"},
        before=host_left,
        agents=TWICE_AFTER_DELETION,
    ),
    "taking over a run": Scenario(
        (
            *(*TAKE_OVER, *LIST, "read_secret", *LIST_AND_WATCH, *times("log read", 2)),
            *(*times(RENEW, 9), DONE, "delete_lease of slot"),
        ),
        LONG,
        before=host_disconnected,
        agents=TWICE_AFTER_DELETION,
    ),
    "taking over a Job without Secret": Scenario(
        (
            *(*TAKE_OVER, *LIST, "read_secret", DONE, "list_jobs (2)", "list_pods (2)"),
            *(
                "create_job",
                "list_jobs (3)",
                "create_secret",
                *WATCH,
                *times(RENEW, 4),
                f"{DONE} (2)",
                "delete_lease of slot",
            ),
        ),
        before=host_disconnected_before_the_secret,
        agents={"": 1, f"{DONE} (2)": 2},
    ),
    "an unclaimed result": Scenario(
        (*ACQUIRE, *LIST, "read_job", "list_pods (3)", *LIST_AND_WATCH, DONE, *RELEASE),
        before=host_left_and_the_run_ended,
        agents=TWICE_AFTER_DELETION,
    ),
    "an unclaimed result of another wake": Scenario(
        (*ACQUIRE, *LAUNCH, "patch_job", "list_pods (2)", *WATCH, RENEW, DONE, *RELEASE),
        before=host_left_and_the_run_ended,
        more={"runId": "run-2", "context": OTHER_WAKE},
        keeps_taken_jobs=True,
        agents={"": 2, DONE: 3},
    ),
    "a deleted Pod": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, "delete_secret", "patch_job", RENEW, "read_job"),
            *("read_pod", *times("list_events", 2), "log read", DONE, *RELEASE),
        ),
        DYING,
        during=delete_its_pod,
        codes=frozenset({None, "k8s_pod_disrupted", "k8s_pod_reattach_failed"}),
        agents=TWICE_AFTER_DELETION,
    ),
    "a lost result": Scenario(
        (
            *(*ACQUIRE, "list_jobs", "read_job", *times("list_pods", 3)),
            *("list_jobs (2)", "watch_jobs", "watch_pods", DONE, *RELEASE),
        ),
        before=host_left_and_the_pod_is_gone,
        codes=frozenset({"k8s_pod_reattach_failed"}),
        agents=TWICE_AFTER_DELETION,
    ),
}
NOT_CALLED_BY_RUNS = frozenset(
    {
        *("server_version", "claim_access_modes", "may"),  # calls of the environment test
        *("patch_secret", "delete_pod"),  # for old servers and lost labels: tests/run/test_disruption.py
        *("home_pod", "default_namespace"),  # before anything is created
        "close",
    }
)
"""Methods of the port that a run never calls after its first object was created."""
