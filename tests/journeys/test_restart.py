"""Paperclip host processes that end during a run, and later processes, which adopt the run."""

import asyncio
import json
import re
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.file_event import FileEvent
from tests.support.real_cluster import IN_HOME_POD, RESULT, wait_for_output
from tests.support.runs import SMALL_REQUESTS, Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

WAITING = "Waiting up to"
"""Status line of a host that waits for the slot, or checks whether the process that holds it still runs."""
LEASE_EXPIRY = 15.0
"""Seconds after which a Lease that is not renewed may be taken over; by default they are 65."""
STOP_GRACE = 120.0
"""Seconds that the agent has after SIGTERM: long enough for a busy machine."""
NUMBERED_LINES = "".join(f"line {n}\n" for n in range(1, 101))
ROOT = Path(__file__).parents[2]
HOST_PROCESS = (sys.executable, "-m", "tests.support.host_process")
ON_ANOTHER_MACHINE = ("unshare", "--pid", "--fork", "--kill-child")
"""Arguments before a command that give it a PID namespace of its own, as if it ran on another machine."""


def a_run_context(site: Site, end_event: FileEvent) -> dict[str, Any]:
    """The context of a run whose agent prints 100 lines in two seconds, and a result after the event.

    A test passes it to several hosts.
    """
    script = f"for n in $(seq 100); do echo line $n; sleep 0.02; done; {end_event.wait_command}; {RESULT}"
    return {
        "runId": str(uuid.uuid4()),
        "agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"},
        "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Count."},
        "config": {**site.config, **SMALL_REQUESTS, "env": {"CLAUDE_SCRIPT": script}},
    }


@pytest.fixture
def end_event(site: Site, tmp_path: Path) -> FileEvent:
    return FileEvent.of(site, tmp_path)


async def wait_for_job_end(site: Site, ctx: dict[str, Any]) -> None:
    """Wait until the agent's only Job has a final condition."""
    async with asyncio.timeout(120):
        while True:
            labels = {"paperclip.io/agent-id": ctx["agent"]["id"]}
            (job,) = (await site.gateway.list_jobs(site.namespace, labels)).items
            if job.finished:
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def another_host(site: Site, ctx: dict[str, Any], prefix: Sequence[str] = ()) -> AsyncIterator[Any]:
    """A separate host process that executes the run, and whose agent has printed a line."""
    process = await asyncio.create_subprocess_exec(
        *prefix,
        *HOST_PROCESS,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    env = IN_HOME_POD if site.name == "real" else {}
    process.stdin.write(json.dumps({"ctx": ctx, "env": env}).encode() + b"\n")
    try:
        async with asyncio.timeout(120):
            assert await process.stdout.readline() == b"started\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_run_of_a_killed_host_is_adopted_with_its_whole_log(
    site: Site, end_event: FileEvent, signum: signal.Signals
) -> None:
    ctx, host_log = a_run_context(site, end_event), HostLog()
    async with another_host(site, ctx) as process:
        process.send_signal(signum)
        await process.wait()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(site.adapter.execute({**ctx, "onLog": host_log.on_log}))
            await wait_for_output(host_log, "Reattaching")
            end_event.set()
    result = running.result()
    assert WAITING not in host_log.status
    assert result.error_message is None
    assert host_log.stdout.startswith(NUMBERED_LINES)
    assert await site.leftovers() == []


async def test_result_of_a_run_that_ended_without_a_host_is_delivered_later(
    site: Site, end_event: FileEvent
) -> None:
    ctx, host_log = a_run_context(site, end_event), HostLog()
    async with another_host(site, ctx) as process:
        process.kill()
        await process.wait()
    end_event.set()
    await wait_for_job_end(site, ctx)
    result = await site.adapter.execute({**ctx, "runId": "another", "onLog": host_log.on_log})
    assert "Taking the result of finished K8s Job" in host_log.status
    assert WAITING not in host_log.status
    assert result.error_message is None
    assert result.summary == "done"
    assert host_log.stdout.startswith(NUMBERED_LINES)
    assert await site.leftovers() == []


async def test_run_of_a_running_host_is_not_adopted(site: Site, end_event: FileEvent) -> None:
    ctx = a_run_context(site, end_event)
    async with another_host(site, ctx) as process:
        config = {**ctx["config"], "concurrencyWaitSec": 0}
        another = {**ctx, "runId": "another", "config": config, "onLog": HostLog().on_log}
        result = await site.adapter.execute(another)
        assert result.error_code == "k8s_concurrent_run_blocked"
        end_event.set()
        wire = json.loads(await process.stdout.readline())
        assert wire["exitCode"] == 0
        await process.wait()  # The other host deletes its Lease before it exits.
    assert await site.leftovers() == []


@pytest.mark.slow
@pytest.mark.real
async def test_run_of_a_host_on_another_machine_is_adopted_when_its_lease_expires(real: Site) -> None:
    end_event, host_log = FileEvent.on_volume(), HostLog()
    ctx, loop = a_run_context(real, end_event), asyncio.get_running_loop()
    timings = replace(Timings(), lease_expiry=LEASE_EXPIRY)
    adapter = Adapter(ProcessSettings(env=IN_HOME_POD, timings=timings))
    async with another_host(real, ctx, ON_ANOTHER_MACHINE) as process:
        process.kill()
        await process.wait()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(adapter.execute({**ctx, "onLog": host_log.on_log}))
            await wait_for_output(host_log, "Reattaching")
            end_event.set()
    await adapter.shutdown()
    result = running.result()
    adopted = next(at for at, text in host_log.times if "Reattaching" in text)
    assert adopted - began >= LEASE_EXPIRY
    assert WAITING in host_log.status
    assert result.error_message is None
    assert host_log.stdout.startswith(NUMBERED_LINES)
    assert await real.leftovers() == []


async def test_cancelled_agent_gets_sigterm_and_keeps_session_and_usage(site: Site) -> None:
    init = '{"type":"system","subtype":"init","session_id":"kept","model":"m"}'
    trap = "trap 'echo got-sigterm $(cut -d. -f1,2 /proc/uptime); exit 143' TERM"
    script = f"{trap}; echo '{init}'; while :; do sleep 0.1; done"
    host_log, stop = HostLog(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async with asyncio.TaskGroup() as group:
        config = {"stopGraceSec": STOP_GRACE}
        running = group.create_task(
            site.run({"CLAUDE_SCRIPT": script}, host_log=host_log, signal=stop, config=config)
        )
        await wait_for_output(host_log, "kept")
        await asyncio.sleep(3)  # a kubelet needs this long after the start to notice changes of the Pod
        cancelled, uptime = loop.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        stop.set()
    result, _ = running.result()
    (received_at,) = re.findall(r"got-sigterm ([0-9.]+)", host_log.stdout)
    assert float(received_at) - uptime < STOP_GRACE / 2  # the agent got SIGTERM at once, not after a timeout
    assert loop.time() - cancelled < STOP_GRACE  # the run ended with its exit, not with the grace period
    assert result.error_code == "cancelled"
    assert result.session_id == "kept"
    # On a busy node, a kubelet of Kubernetes 1.20 may remove the Pod later than `Timings.stop_proof`.
    unproven = site.name == "real" and "was not proven gone" in host_log.status
    if not unproven:
        assert result.execution_recovery is not None
        assert result.execution_recovery["kind"] == "interrupted"
        assert result.result_json is not None
        assert result.result_json["executionCancellation"]["state"] == "acknowledged"
    assert await site.leftovers() == []
