"""A run's Pod is taken away on a real cluster, in every way there is: one agent at a time, the true cause.

The agent is slow to die: it works on for ten seconds after SIGTERM, inside its grace period. Each agent notes
on the shared volume when it was alive, so that two at once are seen, whoever started them. The next run of
the same agent follows at once.
"""

import asyncio
import json
import os
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.test_faults import RESULT, VOLUME, has_heard
from tests.support.programs import as_admin
from tests.support.runs import Heard, Site

from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.host.result import ExecutionResult

pytestmark = pytest.mark.real
ROUNDS = int(os.environ.get("DISRUPTION_ROUNDS", "1"))
"""How often each way is tried at each moment; `DISRUPTION_ROUNDS=10` for a long look."""
DYING = 10.0
"""Seconds that the agent works on after SIGTERM; less than the grace period of 20 s."""
TICKS = 300
"""Signs of life of an agent that is left alone."""
STEP = 0.2
"""Seconds between two signs of life."""


def agent(stamps: str, seconds: float) -> str:
    """A script that stamps and prints a line at each step, and ends with a result after so many seconds."""
    return f"""
dying=0; n=0; trap 'dying=1' TERM
while [ $n -lt {int(seconds / STEP)} ]; do
  n=$((n + 1)); echo "$(hostname) $(cut -d' ' -f1 /proc/uptime)" >>{stamps}
  echo "line $n"
  if [ $dying -gt 0 ]; then dying=$((dying + 1)); [ $dying -lt {int(DYING / STEP)} ] || exit 143; fi
  sleep {STEP}
done
{RESULT}"""


@dataclass(frozen=True, slots=True)
class Stamps:
    """Where the agents of one test write when they were alive."""

    name: str

    @classmethod
    def fresh(cls) -> "Stamps":
        folder = Path(VOLUME) / "stamps"
        folder.mkdir(mode=0o777, exist_ok=True)
        folder.chmod(0o777)
        return cls(uuid.uuid4().hex)

    @property
    def in_pod(self) -> str:
        return f"/paperclip/stamps/{self.name}"

    def lives(self) -> dict[str, tuple[float, float]]:
        """Pod → first and last sign of its agent's life, in seconds of the machine's uptime."""
        path = Path(VOLUME) / "stamps" / self.name
        seen: dict[str, list[float]] = defaultdict(list)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            pod, _, when = line.partition(" ")
            seen[pod].append(float(when))
        return {pod: (min(times), max(times)) for pod, times in seen.items()}

    def assert_one_at_a_time(self, at_most: int) -> None:
        spans = sorted((first, last, pod) for pod, (first, last) in self.lives().items())
        assert len(spans) <= at_most, spans
        for (_, ended, one), (began, _, other) in pairwise(spans):
            assert ended < began, f"{other} began {ended - began:.1f} s before {one} ended: {spans}"


Act = Callable[[str, str], Awaitable[None]]
"""What happens to (Pod, Job)."""


async def delete(pod: str, _job: str) -> None:
    await as_admin("delete", "pod", pod, "--wait=false")


async def delete_by_force(pod: str, _job: str) -> None:
    await as_admin("delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")


async def evict(pod: str, _job: str) -> None:
    group = "policy/v1" if await version() >= (1, 22) else "policy/v1beta1"
    body = {"apiVersion": group, "kind": "Eviction", "metadata": {"name": pod, "namespace": "paperclip"}}
    path = f"/api/v1/namespaces/paperclip/pods/{pod}/eviction"
    await as_admin("create", "--raw", path, "-f", "-", given=json.dumps(body))


async def scale_down(_pod: str, job: str) -> None:
    await as_admin("patch", "job", job, "--type=merge", "-p", '{"spec":{"parallelism":0}}')


async def suspend(_pod: str, job: str) -> None:
    await as_admin("patch", "job", job, "--type=merge", "-p", '{"spec":{"suspend":true}}')


async def delete_job(_pod: str, job: str) -> None:
    await as_admin("delete", "job", job, "--wait=false")


async def version() -> tuple[int, int]:
    told = json.loads(await as_admin("get", "--raw", "/version"))
    return int(told["major"]), int(told["minor"].rstrip("+"))


Moment = Callable[[Heard], Awaitable[None]]


def heard_of(text: str, seconds: float = 0.0) -> Moment:
    async def come(heard: Heard) -> None:
        await has_heard(heard, text)
        await asyncio.sleep(seconds)

    return come


MOMENTS: dict[str, Moment] = {
    "as its Pod appears": heard_of("Created K8s Job"),
    "while its Pod starts": heard_of("Created K8s Job", 0.4),
    "as it is said to run": heard_of("Pod running"),
    "at its first line": heard_of("line 1\n"),
    "in the middle": heard_of("line 1\n", 2.0),
    "after a while": heard_of("line 30\n"),
}


async def pod_of(job: str) -> str:
    """The first Pod of the Job, once there is one."""
    while True:
        told = json.loads(await as_admin("get", "pods", "-l", f"{JOB_NAME_LABEL}={job}", "-o", "json"))
        if told["items"]:
            return str(told["items"][0]["metadata"]["name"])
        await asyncio.sleep(0.05)


def job_in(heard: Heard) -> str:
    return heard.status.partition("Created K8s Job: ")[2].split(" ", 1)[0]


async def taken_away(
    real: Site,
    act: Act,
    moment: Moment,
    stamps: Stamps,
    *,
    config: Mapping[str, Any] | None = None,
    first: Mapping[str, Any] | None = None,
) -> tuple[ExecutionResult, Heard]:
    """One run to which that happens, and the next run of its agent right after it; the first one's result.

    `config` is of both, `first` of the first one alone.
    """
    config = dict(config or {})
    heard, who = Heard(), {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    async with asyncio.TaskGroup() as group:
        script = {"CLAUDE_SCRIPT": agent(stamps.in_pod, TICKS * STEP)}
        settings = {**config, **(first or {})}
        running = group.create_task(real.run(script, heard=heard, agent=who, config=settings))
        await moment(heard)
        job = job_in(heard)
        await act(await pod_of(job), job)
    result, _ = running.result()
    again, said = await real.run({"CLAUDE_SCRIPT": agent(stamps.in_pod, 1)}, agent=who, config=config)
    assert again.error_code is None, (again.error_message, said.status)
    assert await real.leftovers(agent=who["id"]) == []
    return result, heard


WAYS: dict[str, tuple[Act, str]] = {
    "deleted": (delete, "PodDeleted"),
    "deleted by force": (delete_by_force, "PodDeleted"),
    "evicted": (evict, ""),
}


@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_pod_that_is_taken_away_is_the_only_one_to_run_an_agent(
    real: Site, way: str, when: str
) -> None:
    act, reason = WAYS[way]
    stamps = [Stamps.fresh() for _ in range(ROUNDS)]
    limit = asyncio.Semaphore(5)

    async def one(its: Stamps) -> tuple[ExecutionResult, Heard]:
        async with limit:
            return await taken_away(real, act, MOMENTS[when], its)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(its)) for its in stamps]
    for task, its in zip(tasks, stamps, strict=True):
        result, heard = task.result()
        its.assert_one_at_a_time(2)
        if result.error_code is None:  # an old kubelet can miss a deletion while it starts the container
            assert when in {"as its Pod appears", "while its Pod starts"}
            assert f"line {TICKS}\n" in heard.stdout
            continue
        assert result.error_code == "k8s_pod_disrupted", (result.error_message, heard.status)
        assert result.error_family == "transient_upstream"
        assert reason in (result.error_message or "")
        began = len(its.lives()) == 2
        claimed = (result.execution_recovery or {}).get("providerWorkStarted")
        assert not (began and claimed is False), "what the agent did is denied"


async def unlabel_pod(pod: str, _job: str) -> None:
    """Ours alone: the Job controller still finds the Pod."""
    await as_admin("label", "pod", pod, "paperclip.io/adapter-type-")


async def release_pod(pod: str, _job: str) -> None:
    """All of them: the Job controller lets go of the Pod."""
    await as_admin("patch", "pod", pod, "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels"}]')


async def relabel_job(_pod: str, job: str) -> None:
    await as_admin(
        "label",
        "job",
        job,
        "paperclip.io/adapter-type-",
        "paperclip.io/agent-id=somebody-else",
        "--overwrite",
    )


@pytest.mark.parametrize("when", ["while its Pod starts", "in the middle"])
@pytest.mark.parametrize("act", [unlabel_pod, relabel_job, release_pod])
async def test_what_loses_its_labels_is_not_gone(real: Site, act: Act, when: str) -> None:
    stamps = Stamps.fresh()
    result, heard = await taken_away(real, act, MOMENTS[when], stamps)
    stamps.assert_one_at_a_time(2)
    if act is release_pod and len(stamps.lives()) == 1:  # before the kubelet had read the run Secret
        assert when == "while its Pod starts"
        assert result.error_code == "k8s_pod_disrupted", (result.error_message, heard.status)
        assert "PodReleased" in (result.error_message or "")
        assert result.error_family == "transient_upstream"
        return
    assert result.error_code is None, (result.error_message, heard.status)
    assert heard.stdout.startswith("line 1\n")
    assert f"line {TICKS}\n" in heard.stdout
    assert (result.result_json or {})["log"]["complete"] is True


@pytest.mark.parametrize(
    ("act", "reason", "since"),
    [(scale_down, "JobScaledDown", (1, 20)), (suspend, "JobSuspended", (1, 24))],
)
async def test_a_job_that_is_stopped_in_the_middle_says_so(
    real: Site, act: Act, reason: str, since: tuple[int, int]
) -> None:
    if await version() < since:
        pytest.skip(f"this server knows no suspended Jobs: they came with {since}")
    stamps = Stamps.fresh()
    result, heard = await taken_away(real, act, MOMENTS["in the middle"], stamps)
    stamps.assert_one_at_a_time(2)
    assert result.error_code == "k8s_pod_disrupted", (result.error_message, heard.status)
    assert reason in (result.error_message or "")


async def test_a_deleted_job_says_so(real: Site) -> None:
    stamps = Stamps.fresh()
    result, heard = await taken_away(real, delete_job, MOMENTS["in the middle"], stamps)
    stamps.assert_one_at_a_time(2)
    assert result.error_code == "k8s_job_deleted_externally", (result.error_message, heard.status)
