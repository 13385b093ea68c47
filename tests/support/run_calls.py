"""Scenarios of runs, each with all API calls that the host makes.

`tests/run/test_crashes.py` cuts the host off before and after each of these calls. It fails if a run makes a
call that its scenario does not list, so a new call is added here and its crashes are tested.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.hosts import Host, started
from tests.support.in_memory_runs import PARTIAL, SESSION, UNKNOWN_SESSION_OUTPUT, WHOLE

from paperclip_claude_k8s.cluster.labels import LAST_RUN_ANNOTATION
from paperclip_claude_k8s.devcluster.job_controller import delete_gracefully
from paperclip_claude_k8s.devcluster.kinds import CLAIMS, LEASES, PODS
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.identity import identify
from paperclip_claude_k8s.plan.session_volume import claim_manifest
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog, PodScript, build_context

SHORT = PodScript(output=((0.0, PARTIAL), (25.0, WHOLE[len(PARTIAL) :])), ends_at=26.0)
"""Prints its result after 25 s."""
SLOW_START = replace(SHORT, waiting=((16.0, "ContainerCreating", ""),))
"""Starts after 16 s."""
SLOW_TO_STOP = replace(SHORT, stops_in=12.0)
"""Runs for another twelve seconds after SIGTERM."""
OUTLASTS_LEASE = PodScript(output=((0.0, PARTIAL), (200.0, WHOLE[len(PARTIAL) :])), ends_at=201.0)
"""Runs until long after the Lease of a disconnected host has expired."""


TASK_SCOPE = {"concurrencyScope": "task"}
"""A config with which each task of an agent is a slot."""


def script_of_lost_session(pod: Any) -> PodScript:
    """The script of an agent that cannot find the session that it should resume."""
    resumes = "--resume" in pod["spec"]["containers"][0]["command"]
    return PodScript(output=((0.0, UNKNOWN_SESSION_OUTPUT if resumes else WHOLE),), exit_code=int(resumes))


async def no_earlier_run(_fake: FakeCluster) -> None:
    """Leaves the cluster as it is."""


async def host_shut_down(fake: FakeCluster, **more: Any) -> None:
    """A host shuts down during its run. `more`: entries of the run's context."""
    zero = Host(fake, "host-zero")
    async with started(zero, 10, **more):
        await zero.adapter.shutdown()


async def host_disconnected(fake: FakeCluster, **more: Any) -> None:
    """A host loses its connection during its run. `more`: entries of the run's context."""
    zero = Host(fake, "host-zero")
    async with started(zero, 10, **more):
        zero.disconnect()
    await zero.adapter.shutdown()


async def host_disconnected_before_secret(fake: FakeCluster) -> None:
    """A host loses its connection after it created its Job, and before it could create the run Secret."""
    fake.faults.refuse("create", "secrets", 503, times=10_000)
    await host_disconnected(fake)
    fake.faults.request_hooks.clear()


async def job_of_another_task_left(fake: FakeCluster) -> None:
    """A host died before it created the run Secret of another task, and its Leases were deleted as stale."""
    fake.faults.refuse("create", "secrets", 503, times=10_000)
    await host_disconnected(fake, config=TASK_SCOPE)
    fake.faults.request_hooks.clear()
    for lease in list(fake.store.list(LEASES)):
        fake.store.remove(LEASES, NAMESPACE, lease["metadata"]["name"])


async def host_shut_down_and_run_ended(fake: FakeCluster, **more: Any) -> None:
    await host_shut_down(fake, **more)
    await asyncio.sleep(30)


async def host_shut_down_and_pod_removed(fake: FakeCluster) -> None:
    await host_shut_down_and_run_ended(fake)
    for pod in list(fake.store.list(PODS)):
        fake.store.remove(PODS, NAMESPACE, pod["metadata"]["name"])


async def session_claim_created(fake: FakeCluster) -> None:
    """An earlier run created the agent's claim."""
    identity = identify(ExecutionContext.read(build_context(HostLog())))
    assert identity is not None
    config = AdapterConfig.read({"sessionVolume": "auto"})
    fake.store.create(CLAIMS, claim_manifest(config, identity, NAMESPACE, {LAST_RUN_ANNOTATION: "run-0"}))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run, the state of the cluster before it, and what happens during it."""

    calls: tuple[str, ...]
    """Names of all API calls of the host, as `TracedCluster` builds them, in any order."""
    pod_script: PodScript | Callable[[Any], PodScript] = SHORT
    more: dict[str, Any] = field(default_factory=dict)
    """Entries of the context that replace the usual ones."""
    before: Callable[[FakeCluster], Awaitable[None]] = no_earlier_run
    """Brings the cluster into the state in which the run begins."""
    stopped_after: float | None = None
    """Seconds until the host stops the run; None: it does not."""
    forbidden: tuple[str, str] | None = None
    """(verb, resource) of a right that the hosts do not have."""
    refused: tuple[str, str, int] | None = None
    """(verb, resource, status) of calls that fail until the host is cut off."""
    changes_project: bool = False
    """The agent changes the README of the folder that its host has uploaded."""
    keeps_taken_jobs: bool = False
    """Jobs are kept until their TTL after a host has marked their results as taken."""
    error_codes: frozenset[str | None] = frozenset({None})
    """Error codes that the next host may report, if the cut was before all calls that `max_agents` names."""
    during: Callable[[FakeCluster], None] | None = None
    """Disrupts the run some seconds after its start; None: nothing does."""
    max_agents: dict[str, int] = field(default_factory=lambda: {"": 1})
    """Last call that finished before the cut → how many agents may run in all.

    Calls without an entry do not count; "": none of the calls with an entry has finished.
    """


def delete_its_pod(fake: FakeCluster) -> None:
    for pod in fake.store.list(PODS):
        delete_gracefully(fake.store, pod, None)


def repeated(call: str, count: int) -> tuple[str, ...]:
    """The names of `count` equal calls."""
    return (call, *(f"{call} ({nth})" for nth in range(2, count + 1)))


ACQUIRE = ("create_lease of process", "create_lease of slot", "list_leases")
LIST = ("list_jobs", "list_pods")
LAUNCH = (*LIST, "create_job", "list_jobs (2)", "create_secret")
READ_CLAIM = ("read_claim", "read_claim (2)")
"""Calls of a run with a session volume: the claim is read for the plan, and again for the Job."""
WATCH = ("watch_jobs", "watch_pods", "log followed")
SLOW_WATCH = ("watch_jobs", "watch_pods", *repeated("log followed", 16), "list_events")
"""Calls for a Pod that starts after 16 s: its log is requested until it opens, and its Events are read."""
LIST_AND_WATCH = ("list_jobs (2)", "list_pods (2)", *WATCH)
RENEW = "replace_lease of process"
FINAL_DELETE = "delete_job in the background"
"""The deletion of a Job whose result is known, at the end of the run."""
RELEASE = ("delete_lease of slot", "delete_lease of process")
WAIT_FOR_EXPIRY = ("read_lease of slot", *repeated("read_lease of process", 35), "replace_lease of slot")
"""Calls of a host that watches the Lease of a disconnected process until it has expired."""
READ_OTHER_SLOT = "read_lease of slot"
"""Whether a run with another `concurrencyScope` holds a Job is read from its Lease."""
TAKE_OVER = (*ACQUIRE, *WAIT_FOR_EXPIRY, "delete_lease of process", "delete_lease of process (2)")
TWO_AFTER_DELETION = {"": 1, FINAL_DELETE: 2}
"""A host that is cut off after the deletion of its Job loses the result, so the agent runs again."""
RESUMES = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
OTHER_TASK = {"taskId": "task-2", "paperclipTaskMarkdown": "Else."}
OTHER_WAKE = {"taskId": "task-1", "paperclipTaskMarkdown": "Something else."}

SCENARIOS: dict[str, Scenario] = {
    "a good run": Scenario(
        (*ACQUIRE, *LAUNCH, *SLOW_WATCH, *repeated(RENEW, 2), FINAL_DELETE, *RELEASE),
        SLOW_START,
        max_agents=TWO_AFTER_DELETION,
    ),
    "a stopped run": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, "delete_job in the foreground"),
            *(*repeated("read_pod", 4), "read_job", *repeated("log read", 2), FINAL_DELETE, *RELEASE),
        ),
        stopped_after=15,
        max_agents={"": 1, "delete_job in the foreground": 2},
    ),
    "a retained run": Scenario(
        (*ACQUIRE, *LAUNCH, *WATCH, RENEW, "patch_job", *RELEASE),
        more={"config": {"retainJobs": True}},
        keeps_taken_jobs=True,
    ),
    "a stopped run with Events on its Job": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, *repeated("create_event", 3), "delete_job in the foreground"),
            *(*repeated("read_pod", 4), "read_job", *repeated("log read", 2), FINAL_DELETE, *RELEASE),
        ),
        more={"config": {"jobEvents": True}},
        stopped_after=15,
        max_agents={"": 1, "delete_job in the foreground": 2},
    ),
    "a lost session": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, FINAL_DELETE),
            *("list_jobs (3)", "list_pods (2)", "create_job (2)", "list_jobs (4)", "create_secret (2)"),
            *(*(f"{call} (2)" for call in WATCH), f"{FINAL_DELETE} (2)", *RELEASE),
        ),
        script_of_lost_session,
        more={"runtime": RESUMES, "config": {"claimName": "paperclip-data"}},
        max_agents={"": 2, FINAL_DELETE: 3, "create_secret (2)": 2, f"{FINAL_DELETE} (2)": 4},
    ),
    "a new session volume": Scenario(
        (
            *ACQUIRE,
            *LAUNCH,
            *READ_CLAIM,
            "create_claim",
            *WATCH,
            RENEW,
            FINAL_DELETE,
            *RELEASE,
        ),
        more={"config": {"sessionVolume": "auto"}},
        max_agents=TWO_AFTER_DELETION,
    ),
    "a session volume": Scenario(
        (*ACQUIRE, *LAUNCH, *READ_CLAIM, "patch_claim", *WATCH, RENEW, FINAL_DELETE, *RELEASE),
        more={"config": {"sessionVolume": "auto"}},
        before=session_claim_created,
        max_agents=TWO_AFTER_DELETION,
    ),
    "a refused Secret": Scenario(
        (*ACQUIRE, *LAUNCH, FINAL_DELETE, *RELEASE), refused=("create", "secrets", 422)
    ),
    "no right to Leases": Scenario(
        ("create_lease of process", *LAUNCH, *SLOW_WATCH, FINAL_DELETE),
        SLOW_START,
        forbidden=("create", "leases"),
        max_agents=TWO_AFTER_DELETION,
    ),
    "an adopting run": Scenario(
        (*ACQUIRE, *LIST, READ_OTHER_SLOT, "patch_job", *LIST_AND_WATCH, FINAL_DELETE, *RELEASE),
        more={"runId": "run-2"},
        before=host_shut_down,
        max_agents=TWO_AFTER_DELETION,
    ),
    "taking over a run": Scenario(
        (
            *(*TAKE_OVER, *LIST, f"{READ_OTHER_SLOT} (2)", *LIST_AND_WATCH, *repeated("log read", 2)),
            *(*repeated(RENEW, 9), FINAL_DELETE, "delete_lease of slot"),
        ),
        OUTLASTS_LEASE,
        before=host_disconnected,
        max_agents=TWO_AFTER_DELETION,
    ),
    "taking over a Job without Secret": Scenario(
        (
            *(
                *TAKE_OVER,
                *LIST,
                f"{READ_OTHER_SLOT} (2)",
                "read_secret",
                FINAL_DELETE,
                "list_jobs (2)",
                "list_pods (2)",
            ),
            *(
                "create_job",
                "list_jobs (3)",
                "create_secret",
                *WATCH,
                *repeated(RENEW, 4),
                f"{FINAL_DELETE} (2)",
                "delete_lease of slot",
            ),
        ),
        before=host_disconnected_before_secret,
        max_agents={"": 1, f"{FINAL_DELETE} (2)": 2},
    ),
    "a Job without Secret of another task": Scenario(
        (
            *(*ACQUIRE, *LIST, *repeated(READ_OTHER_SLOT, 2), "read_secret", FINAL_DELETE),
            *("create_job", "list_jobs (2)", "create_secret", *WATCH, RENEW, f"{FINAL_DELETE} (2)", *RELEASE),
        ),
        more={"runId": "run-2", "config": TASK_SCOPE, "context": OTHER_TASK},
        before=job_of_another_task_left,
        max_agents={"": 1, f"{FINAL_DELETE} (2)": 2},
    ),
    "an unclaimed result": Scenario(
        (*ACQUIRE, *LIST, "read_job", "list_pods (3)", *LIST_AND_WATCH, FINAL_DELETE, *RELEASE),
        before=host_shut_down_and_run_ended,
        max_agents=TWO_AFTER_DELETION,
    ),
    "an unclaimed result of another wake": Scenario(
        (*ACQUIRE, *LAUNCH, "patch_job", "list_pods (2)", *WATCH, RENEW, FINAL_DELETE, *RELEASE),
        before=host_shut_down_and_run_ended,
        more={"runId": "run-2", "context": OTHER_WAKE},
        keeps_taken_jobs=True,
        max_agents={"": 2, FINAL_DELETE: 3},
    ),
    "a deleted Pod": Scenario(
        (
            *(*ACQUIRE, *LAUNCH, *WATCH, "delete_secret", "patch_job", RENEW, "read_job"),
            *("read_pod", *repeated("list_events", 3), "log read", FINAL_DELETE, *RELEASE),
        ),
        SLOW_TO_STOP,
        during=delete_its_pod,
        error_codes=frozenset({None, "k8s_pod_disrupted", "k8s_pod_reattach_failed"}),
        max_agents=TWO_AFTER_DELETION,
    ),
    "a lost result": Scenario(
        (
            *(*ACQUIRE, "list_jobs", "read_job", *repeated("list_pods", 3)),
            *("list_jobs (2)", "watch_jobs", "watch_pods", FINAL_DELETE, *RELEASE),
        ),
        before=host_shut_down_and_pod_removed,
        error_codes=frozenset({"k8s_pod_reattach_failed"}),
        max_agents=TWO_AFTER_DELETION,
    ),
}
NOT_CALLED_BY_RUNS = frozenset(
    {
        *("server_version", "list_claims", "delete_claim", "may", "try_pod"),  # calls of the environment test
        "list_namespaces",  # commands for all namespaces
        *("patch_secret", "delete_pod"),  # for old servers and lost labels: tests/run/test_disruption.py
        *("home_pod", "default_namespace", "own_pod"),  # before anything is created
        "close",
    }
)
"""Methods of `Cluster` that a run in these scenarios never calls."""
