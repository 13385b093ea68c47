"""No second agent starts while calls that close the start gate fail, overlap or are cut off. On virtual time.

The gate is closed when the run Secret, without which no container starts, is deleted, and the Job's
parallelism is 0.
"""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from tests.support.disruptions import (
    DELAYED_RESULT,
    SLOW_TO_STOP,
    change,
    delete_pod,
    only,
    release_pod,
    run_disrupted,
    suspend,
)
from tests.support.hosts import Host, started
from tests.support.in_memory_runs import FOREVER, QUIET, WHOLE, one_host, two_hosts
from tests.support.traced_cluster import Moment

from paperclip_claude_k8s.cluster.labels import AGENT_POD_ANNOTATION, ONLY_POD_KEY
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, SECRETS
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript

pytestmark = pytest.mark.looptime


async def test_gate_is_closed_after_the_server_recovered(tmp_path: Path) -> None:
    async with one_host(tmp_path, DELAYED_RESULT) as (fake, run):
        after_recovery: dict[str, Any] = {}

        async def recover_and_look() -> None:
            await asyncio.sleep(45)
            fake.faults.request_hooks.clear()
            await asyncio.sleep(10)
            after_recovery.update(
                secrets=list(fake.store.list(SECRETS)), parallelism=only(fake, JOBS)["spec"]["parallelism"]
            )

        def overload_and_release(fake: FakeCluster) -> None:
            fake.faults.refuse("delete", "secrets", 503, times=1000)
            fake.faults.refuse("patch", "jobs", 503, times=1000)
            release_pod(fake)

        async with asyncio.TaskGroup() as group:
            group.create_task(recover_and_look())
            result, host_log = await run_disrupted(fake, run, overload_and_release)
        assert after_recovery == {"secrets": [], "parallelism": 0}
        assert result.error_code is None
        refused_calls = 2  # the deletion of the Secret and the patch of the Job
        assert host_log.status.count("Kubernetes may start a second Pod of this Job") == refused_calls
        assert "the call is repeated until it succeeds" in host_log.status


@pytest.mark.parametrize("call", ["delete secrets", "patch jobs"])
async def test_refused_gate_call_is_reported_once_with_the_next_step(tmp_path: Path, call: str) -> None:
    async with one_host(tmp_path, DELAYED_RESULT) as (fake, run):
        verb, resource = call.split()
        fake.faults.denied.add((verb, resource))
        _, host_log = await run_disrupted(fake, run, release_pod)
        assert host_log.status.count("grant the adapter this right") == 1
        assert fake.calls.count(verb, resource) <= 3


async def test_pod_that_an_earlier_host_named_in_the_secret_stays_named_there(tmp_path: Path) -> None:
    earlier = base64.b64encode(b"uid of an earlier Pod").decode()
    async with two_hosts(tmp_path, SLOW_TO_STOP) as (fake, one, two):
        fake.faults.replaces_terminating_pods = True
        async with started(one):
            await one.adapter.shutdown()
        change(fake, SECRETS, lambda secret: secret["data"].update({ONLY_POD_KEY: earlier}))
        async with started(two):
            assert only(fake, SECRETS)["data"][ONLY_POD_KEY] == earlier
            await two.adapter.shutdown()


async def test_gate_is_reopened_only_after_it_was_closed(tmp_path: Path) -> None:
    """The deletion of the Secret is slow, and the queue suspends the Job at the same moment."""
    waits = iter([((FOREVER, "ErrImagePull", "slow"),), ()])

    def pod_script_of(_pod: object) -> PodScript:
        return PodScript(waiting=next(waits), output=((0.0, WHOLE),), ends_at=2.0)

    async with FakeCluster.start(tmp_path, pod_script_of) as fake:
        host = Host(fake, "one")
        deletion = host.cluster.__getattr__("delete_secret")

        async def slow(*args: Any) -> Any:
            await asyncio.sleep(0.05)
            return await deletion(*args)

        host.cluster.delete_secret = slow  # type: ignore[attr-defined]
        fake.faults.replaces_terminating_pods = True
        async with asyncio.TaskGroup() as group:
            running = group.create_task(host.run(config={"queueName": "q"}))
            await asyncio.sleep(2)
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
            await asyncio.sleep(10)
            suspend(fake)
            fake.store.remove(PODS, NAMESPACE, only(fake, PODS)["metadata"]["name"])
            await asyncio.sleep(100)
            assert len(list(fake.store.list(SECRETS))) == 1
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
        result, host_log = running.result()
        assert result.error_code is None, result.error_message
        assert host_log.stdout.encode() == WHOLE
        await host.adapter.shutdown()


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("call", ["delete_secret", "patch_job"])
async def test_host_cut_off_while_closing_the_gate_leaves_annotation_or_secret(
    tmp_path: Path, call: str, moment: Moment
) -> None:
    async with FakeCluster.start(tmp_path, SLOW_TO_STOP) as fake:
        host = Host(fake, "one", lambda name, when: (name, when) == (call, moment))
        async with started(host) as running:
            delete_pod(fake)
            await host.cluster.cut_off.wait()
            running.cancel()
        annotated = AGENT_POD_ANNOTATION in only(fake, JOBS)["metadata"]["annotations"]
        assert annotated or list(fake.store.list(SECRETS))
        await host.adapter.shutdown()


async def test_suspended_job_is_annotated_but_keeps_its_parallelism(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, SLOW_TO_STOP) as (fake, one, _):
        async with started(one):
            suspend(fake)
            await asyncio.sleep(2)
            job = only(fake, JOBS)
            await one.adapter.shutdown()
        assert job["metadata"]["annotations"][AGENT_POD_ANNOTATION]
        assert "parallelism" not in job["spec"], "a queue may admit it again"


async def test_run_without_a_secret_gets_no_secret_warnings(tmp_path: Path) -> None:
    async with one_host(tmp_path, SLOW_TO_STOP) as (fake, run):
        fake.faults.denied |= {("create", "secrets"), ("get", "secrets"), ("delete", "secrets")}
        _, host_log = await run_disrupted(fake, run, delete_pod)
        assert "delete secret" not in host_log.status


async def test_gate_is_closed_after_a_stop_whose_deletion_was_refused(tmp_path: Path) -> None:
    """Somebody deletes the Pod while the server refuses to delete the Job: a second Pod must not start."""
    ignores_sigterm = PodScript(output=QUIET.output, ends_at=QUIET.ends_at, on_sigterm=None)
    async with one_host(tmp_path, ignores_sigterm) as (fake, run):
        fake.faults.refuse("delete", "jobs", 503, times=1000)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.call_later(5, stop.set)
        loop.call_later(20, delete_pod, fake)
        result, host_log = await run(signal=stop, config={"stopGraceSec": 600})
        assert "Could not confirm" in host_log.status
        assert result.error_code == "cancelled"
        assert list(fake.store.list(SECRETS)) == []
        assert AGENT_POD_ANNOTATION in only(fake, JOBS)["metadata"]["annotations"]
