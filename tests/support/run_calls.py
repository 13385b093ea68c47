"""Scenarios of a run, each with every API call that it makes: the points at which a host can die.

A call that is made and not listed fails `tests/run/test_crashes.py`. A new call is added here, which also
tests a crash before and after it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.captures import capture
from tests.support.fake_cluster import NAMESPACE, FakeCluster, Life
from tests.support.hosts import Host, started

from paperclip_claude_k8s.devcluster.job_controller import mark_deleted
from paperclip_claude_k8s.devcluster.kinds import PODS

WHOLE = capture("02")
HALF = WHOLE[: WHOLE.index(b'{"type":"result"')]
SHORT = Life(output=((0.0, HALF), (25.0, WHOLE[len(HALF) :])), ends_at=26.0)
SLOW_START = Life(
    waiting=((16.0, "ContainerCreating", ""),), output=((0.0, HALF), (25.0, WHOLE[len(HALF) :])), ends_at=26.0
)
DYING = replace(SHORT, dies_in=12.0)
LONG = Life(output=((0.0, HALF), (200.0, WHOLE[len(HALF) :])), ends_at=201.0)
SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
UNKNOWN_SESSION = (
    b'{"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"asked","num_turns":0,'
    b'"errors":["No conversation found with session ID: asked"]}\n'
)


def forgets(pod: Any) -> Life:
    """An agent that does not know the session that it should resume."""
    resumes = "--resume" in pod["spec"]["containers"][0]["command"]
    return Life(output=((0.0, UNKNOWN_SESSION if resumes else WHOLE),), exit_code=int(resumes))


async def nothing(_fake: FakeCluster) -> None:
    """No earlier run."""


async def one_left(fake: FakeCluster) -> None:
    """A host shuts down during its run."""
    zero = Host(fake, "host-zero")
    async with started(zero, 10):
        await zero.adapter.shutdown()


async def one_vanished(fake: FakeCluster) -> None:
    """A host loses its connection during its run."""
    zero = Host(fake, "host-zero")
    async with started(zero, 10):
        zero.vanish()
    await zero.adapter.shutdown()


async def one_vanished_before_its_secret(fake: FakeCluster) -> None:
    fake.faults.refuse("create", "secrets", 503, times=10_000)
    await one_vanished(fake)
    fake.faults.refusals.clear()


async def one_left_and_it_ended(fake: FakeCluster) -> None:
    await one_left(fake)
    await asyncio.sleep(30)


async def one_left_and_its_pod_vanished(fake: FakeCluster) -> None:
    await one_left_and_it_ended(fake)
    for pod in list(fake.store.list(PODS)):
        fake.store.remove(PODS, NAMESPACE, pod["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Story:
    """One scenario. `calls`: all calls of its host, in order."""

    calls: tuple[str, ...]
    life: Life | Callable[[Any], Life] = SHORT
    more: dict[str, Any] = field(default_factory=dict)
    """Further entries of the context."""
    past: Callable[[FakeCluster], Awaitable[None]] = nothing
    stopped_after: float | None = None
    """Seconds until the host stops the run; None: it does not."""
    forbidden: tuple[str, str] | None = None
    """(verb, resource) of a right that the hosts do not have."""
    refused: tuple[str, str, int] | None = None
    """(verb, resource, status) of calls that fail while the first host lives."""
    keeps_taken: bool = False
    """Jobs whose results were delivered are kept until their TTL."""
    codes: frozenset[str | None] = frozenset({None})
    """Error codes that are correct for the next host."""
    meanwhile: Callable[[FakeCluster], None] | None = None
    """What happens during the run."""
    agents: dict[str, int] = field(default_factory=lambda: {"": 1})
    """The number of agents that run in all, by the last of these calls that was answered before the death."""


def delete_its_pod(fake: FakeCluster) -> None:
    for pod in fake.store.list(PODS):
        mark_deleted(fake.store, pod, None)


def times(call: str, count: int) -> tuple[str, ...]:
    """The same call this many times."""
    return (call, *(f"{call} ({nth})" for nth in range(2, count + 1)))


APPEAR = ("create_lease of process", "create_lease of slot", "list_leases")
LOOK = ("list_jobs", "list_pods")
GATE = (*LOOK, "create_job", "list_jobs (2)", "create_secret")
WATCH = ("watch_jobs", "watch_pods", "log followed")
SLOW_WATCH = ("watch_jobs", "watch_pods", *times("log followed", 16), "list_events")
"""Calls for a Pod that starts late: its log is tried until it opens, and its Events are read."""
LIST_AND_WATCH = ("list_jobs (2)", "list_pods (2)", *WATCH)
RENEW = "replace_lease of process"
DONE = "delete_job in the background"
GIVE_BACK = ("delete_lease of slot", "delete_lease of process")
WAIT_FOR_EXPIRY = ("read_lease of slot", *times("read_lease of process", 35), "replace_lease of slot")
INHERIT = (*APPEAR, *WAIT_FOR_EXPIRY, "delete_lease of process", "delete_lease of process (2)")
ONCE_MORE = {"": 1, DONE: 2}
"""A host that dies between the deletion of the Job and its own answer loses the result."""
ASKS = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
ELSE = {"taskId": "task-1", "paperclipTaskMarkdown": "Something else."}

STORIES: dict[str, Story] = {
    "a good run": Story(
        (*APPEAR, *GATE, *SLOW_WATCH, *times(RENEW, 2), DONE, *GIVE_BACK),
        SLOW_START,
        agents=ONCE_MORE,
    ),
    "a stopped run": Story(
        (
            *(*APPEAR, *GATE, *WATCH, "delete_job in the foreground"),
            *(*times("read_pod", 4), "read_job", *times("log read", 2), DONE, *GIVE_BACK),
        ),
        stopped_after=15,
        agents={"": 1, "delete_job in the foreground": 2},
    ),
    "a retained run": Story(
        (*APPEAR, *GATE, *WATCH, RENEW, "patch_job", *GIVE_BACK),
        more={"config": {"retainJobs": True}},
        keeps_taken=True,
    ),
    "a lost session": Story(
        (
            *(*APPEAR, *GATE, *WATCH, DONE),
            *("list_jobs (3)", "list_pods (2)", "create_job (2)", "list_jobs (4)", "create_secret (2)"),
            *(*(f"{call} (2)" for call in WATCH), f"{DONE} (2)", *GIVE_BACK),
        ),
        forgets,
        more={"runtime": ASKS},
        agents={"": 2, DONE: 3, "create_secret (2)": 2, f"{DONE} (2)": 4},
    ),
    "a refused Secret": Story((*APPEAR, *GATE, DONE, *GIVE_BACK), refused=("create", "secrets", 422)),
    "no right to Leases": Story(
        ("create_lease of process", *GATE, *SLOW_WATCH, DONE),
        SLOW_START,
        forbidden=("create", "leases"),
        agents=ONCE_MORE,
    ),
    "an adopting run": Story(
        (*APPEAR, *LOOK, "read_secret", "patch_job", *LIST_AND_WATCH, DONE, *GIVE_BACK),
        more={"runId": "run-2"},
        past=one_left,
        agents=ONCE_MORE,
    ),
    "an heir": Story(
        (
            *(*INHERIT, *LOOK, "read_secret", *LIST_AND_WATCH, *times("log read", 2)),
            *(*times(RENEW, 9), DONE, "delete_lease of slot"),
        ),
        LONG,
        past=one_vanished,
        agents=ONCE_MORE,
    ),
    "an heir of a Job without Secret": Story(
        (
            *(*INHERIT, *LOOK, "read_secret", DONE, "list_jobs (2)", "list_pods (2)"),
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
        past=one_vanished_before_its_secret,
        agents={"": 1, f"{DONE} (2)": 2},
    ),
    "an unheard result": Story(
        (*APPEAR, *LOOK, "read_job", "list_pods (3)", *LIST_AND_WATCH, DONE, *GIVE_BACK),
        past=one_left_and_it_ended,
        agents=ONCE_MORE,
    ),
    "an unheard result of another wake": Story(
        (*APPEAR, *GATE, "patch_job", "list_pods (2)", *WATCH, RENEW, DONE, *GIVE_BACK),
        past=one_left_and_it_ended,
        more={"runId": "run-2", "context": ELSE},
        keeps_taken=True,
        agents={"": 2, DONE: 3},
    ),
    "a deleted Pod": Story(
        (
            *(*APPEAR, *GATE, *WATCH, "delete_secret", "patch_job", RENEW, "read_job"),
            *("read_pod", *times("list_events", 2), "log read", DONE, *GIVE_BACK),
        ),
        DYING,
        meanwhile=delete_its_pod,
        codes=frozenset({None, "k8s_pod_disrupted", "k8s_pod_reattach_failed"}),
        agents=ONCE_MORE,
    ),
    "a lost result": Story(
        (
            *(*APPEAR, "list_jobs", "read_job", *times("list_pods", 3)),
            *("list_jobs (2)", "watch_jobs", "watch_pods", DONE, *GIVE_BACK),
        ),
        past=one_left_and_its_pod_vanished,
        codes=frozenset({"k8s_pod_reattach_failed"}),
        agents=ONCE_MORE,
    ),
}
NOT_OF_A_RUN = frozenset(
    {
        *("server_version", "claim_access_modes", "may"),  # the environment test asks them
        *("patch_secret", "delete_pod"),  # old servers, lost labels: tests/run/test_disruption.py
        *("home_pod", "default_namespace"),  # before anything is created
        "close",
    }
)
"""Methods of the port that a run never calls after its first object was created."""
