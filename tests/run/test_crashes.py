"""A host dies before or after any call of a run; the next host gets the result, and nothing is left.

On virtual time with every call; `tests/journeys/test_sigkill.py` does it to real processes. Who dies is cut
off at its door: no call of it reaches the cluster any more, and that is what a SIGKILL looks like from there.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_cluster import NAMESPACE, FakeCluster
from tests.support.hosts import Host, jobs, leases
from tests.support.run_calls import NOT_OF_A_RUN, STORIES, WHOLE, Story
from tests.support.runs import HostLog
from tests.support.traced_cluster import Moment

from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, SECRETS
from paperclip_claude_k8s.host.result import ExecutionResult

pytestmark = pytest.mark.looptime
BLOCKED = "k8s_concurrent_run_blocked"
MEANWHILE = 15.0
"""Seconds from the start of a run to the disruption."""
PATIENCE = 70.0
"""Seconds until a blocked run is repeated: a dead holder's Lease has expired by then."""


@dataclass(slots=True)
class Rules:
    """Checks that hold at every moment, whichever host dies."""

    fake: FakeCluster
    ran: set[str] = field(default_factory=set)
    """Uids of all Pods whose agent ran."""
    broken: list[str] = field(default_factory=list)

    async def watch(self) -> None:
        while True:
            moved = self.fake.store.next_change()
            self._look()
            await moved.wait()

    def _look(self) -> None:
        store = self.fake.store
        for secret in store.list(SECRETS):
            if not secret["metadata"].get("ownerReferences"):
                self.broken.append(f"Secret {secret['metadata']['name']} has no owner")
        living = [pod for pod in store.list(PODS) if self._lives(pod)]
        self.ran |= {pod["metadata"]["uid"] for pod in living}
        if len(living) > 1:
            self.broken.append(f"{len(living)} Pods live at once")
        for pod in living:
            name = pod["metadata"]["labels"]["job-name"]
            owned = store.find(JOBS, NAMESPACE, name) is not None
            left_alone = not pod["metadata"].get("deletionTimestamp")  # else its Secret is deleted
            if owned and left_alone and store.find(SECRETS, NAMESPACE, name) is None:
                self.broken.append(f"Pod {pod['metadata']['name']} lives without its Secret")

    @staticmethod
    def _lives(pod: Any) -> bool:
        return bool(pod["status"].get("phase") == "Running")


@asynccontextmanager
async def under_rules(folder: Path, story: Story) -> AsyncIterator[tuple[FakeCluster, Rules]]:
    async with FakeCluster.start(folder, story.life) as fake, asyncio.TaskGroup() as group:
        rules = Rules(fake)
        watching = group.create_task(rules.watch())
        await story.past(fake)
        if story.forbidden:
            fake.faults.denied.add(story.forbidden)
        if story.refused:
            fake.faults.refuse(*story.refused, times=1000)
        try:
            yield fake, rules
        finally:
            watching.cancel()


async def live(host: Host, story: Story) -> ExecutionResult:
    stop = asyncio.Event()
    if story.stopped_after is not None:
        asyncio.get_running_loop().call_later(story.stopped_after, stop.set)
    if story.meanwhile is not None:
        asyncio.get_running_loop().call_later(MEANWHILE, story.meanwhile, host.fake)
    result, _ = await host.run(**story.more, signal=stop)
    return result


async def come_next(host: Host, story: Story) -> tuple[ExecutionResult, HostLog]:
    """Repeat the run, and again if it was blocked."""
    for _ in range(4):
        result, host_log = await host.run(**story.more)
        if result.error_code != BLOCKED:
            break
        await asyncio.sleep(PATIENCE)
    return result, host_log


def deaths() -> Iterator[Any]:
    for name, story in STORIES.items():
        for call in story.calls:
            if not _is_one_of_many(call, story):
                for moment in Moment:
                    yield pytest.param(name, call, moment, id=f"{name}, {moment} {call}")


def _is_one_of_many(call: str, story: Story) -> bool:
    """A call that is neither among the first two of its kind nor the last."""
    kind, _, nth = call.partition(" (")
    later = f"{kind} ({int(nth.rstrip(')')) + 1})" if nth else ""
    return nth not in {"", "2)"} and later in story.calls


@pytest.mark.parametrize("name", STORIES)
async def test_story_lists_every_call_of_its_run(tmp_path: Path, name: str) -> None:
    story = STORIES[name]
    async with under_rules(tmp_path, story) as (_, rules):
        host = Host(rules.fake, "host-one")
        await live(host, story)
        await asyncio.sleep(3)
        await host.adapter.shutdown()
        assert sorted(host.door.calls) == sorted(story.calls)
        assert rules.broken == []


def test_stories_cover_every_method_of_the_cluster_port() -> None:
    methods = {name for name in vars(Cluster) if not name.startswith("_")}
    called = {re.split(r"[ (]", call)[0] for story in STORIES.values() for call in story.calls}
    assert methods - NOT_OF_A_RUN == called


@pytest.mark.parametrize(("name", "call", "moment"), list(deaths()))
async def test_host_that_dies_at_any_call_loses_no_result_and_leaves_nothing(
    tmp_path: Path, name: str, call: str, moment: Moment
) -> None:
    story = STORIES[name]
    async with under_rules(tmp_path, story) as (fake, rules), asyncio.TaskGroup() as group:
        mortal = Host(fake, "host-one", lambda *now: now == (call, moment))
        going = group.create_task(_until_dead(mortal, story))
        async with asyncio.timeout(600):
            await mortal.door.died.wait()
        fake.faults.refusals.clear()
        heir = Host(fake, "host-two")
        result, host_log = await come_next(heir, story)
        going.cancel()
        last = next((done for done in reversed(mortal.door.answered) if done in story.agents), "")
        assert result.error_code in ({None} if last else story.codes), result.error_message
        if result.error_code is None:
            assert host_log.stdout.encode().endswith(WHOLE)
        await asyncio.sleep(30)
        await heir.adapter.shutdown()
        assert left(fake, story) == []
        assert len(rules.ran) <= story.agents[last]
        assert rules.broken == []


async def _until_dead(host: Host, story: Story) -> None:
    try:
        await live(host, story)
        await asyncio.sleep(3)
    finally:
        await host.adapter.shutdown()


def left(fake: FakeCluster, story: Story) -> list[str]:
    """Objects that should be gone. A dead process's own Lease may stay until the next cleanup."""
    kept = {job["metadata"]["name"] for job in jobs(fake) if story.keeps_taken and "result-taken" in str(job)}
    pods = {pod["metadata"]["name"]: pod["metadata"]["labels"]["job-name"] for pod in fake.store.list(PODS)}
    named = {obj["metadata"]["name"] for obj in (*jobs(fake), *fake.store.list(SECRETS))}
    pods_left = [pod for pod, job in pods.items() if job not in kept]
    own = [holder for holder in leases(fake, "process") if holder == "host-two"]
    return [*sorted(named - kept), *pods_left, *leases(fake, "slot"), *own]
