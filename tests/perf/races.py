"""Lets many host processes call `execute()` for the same agent at the same time.

    python tests/perf/races.py [--processes 2,4,8] [--rounds 20] [--seed N] [--kubeconfig F --namespace N]

Without a kubeconfig it starts a development cluster. Each round has a new agent. All processes start a run of
the agent, and in every third round one process is killed (SIGKILL) at a random moment. Then another process
runs the agent once more, which must succeed. Fails if two Pods of an agent ran at the same time, more than
one run of a round succeeded, none succeeded although no process was killed, a run had an unexpected error
code, or an object of the agent remains. `--without-leases` denies Leases on the development cluster. Then
runs find each other only in the list of Jobs, and several may succeed one after another.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.labels import AGENT_LABEL
from paperclip_claude_k8s.cluster.lease_objects import slot_lease_name
from paperclip_claude_k8s.cluster.model import Bookmark, PodSnapshot, Running
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.ports import ProcessSettings

RESULT = '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
SCRIPT = f"sleep 0.5; printf '%s\\n' '{RESULT}'"
BLOCKED_CODES = {"k8s_concurrent_run_blocked"}
"""Error codes of the runs that do not get the slot."""
DELETION_TIMEOUT = 40.0
"""Seconds within which garbage collector and kubelet must have deleted the objects of a round."""
SHUTDOWN_TIMEOUT = 10.0
"""Seconds within which a host process must exit."""


async def serve_runs(kubeconfig: str, namespace: str) -> None:
    """Be a host process: do a run for each line of JSON on stdin, and print its result as a line of JSON."""
    adapter = Adapter(ProcessSettings(env={}))
    gateway = Gateway(kubeconfig)
    await gateway.server_version()  # loads the client library now, so that all runs start together
    await gateway.close()
    print("ready", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        request = json.loads(line)

        async def ignore(stream: str, text: str) -> None: ...

        await asyncio.sleep(max(request["at"] - time.monotonic(), 0))
        began = time.monotonic()
        result = await adapter.execute(
            {
                "runId": request["run"],
                "agent": {"id": request["agent"], "companyId": "races"},
                "context": {"taskId": "task-1", "paperclipTaskMarkdown": request["agent"]},
                "config": {
                    "kubeconfig": kubeconfig,
                    "concurrencyWaitSec": 0,  # so that a run beside another one is blocked
                    "namespace": namespace,
                    "image": "local/agent:1",
                    "imagePullPolicy": "Never",
                    "resources.requests.cpu": "1m",
                    "resources.requests.memory": "8Mi",
                    "env": {"CLAUDE_SCRIPT": SCRIPT},
                },
                "onLog": ignore,
            }
        )
        times = (began - request["at"], time.monotonic() - request["at"])  # seconds after the common start
        reply = {"code": result.error_code, "message": result.error_message, "began_and_ended": times}
        print(json.dumps(reply), flush=True)
    await adapter.shutdown()


@dataclass(slots=True)
class HostProcess:
    """The handle of a host process in the process that starts and judges the rounds."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, kubeconfig: str, namespace: str) -> "HostProcess":
        command = (sys.executable, __file__, "--serve", "--kubeconfig", kubeconfig, "--namespace", namespace)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return cls(process)

    async def run(self, agent: str, at: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(
            json.dumps({"agent": agent, "run": str(uuid.uuid4()), "at": at}).encode() + b"\n"
        )
        line = await self.process.stdout.readline()
        result: dict[str, Any] = json.loads(line) if line else {"code": "killed"}
        return result

    async def stop(self) -> None:
        """Close the stdin of the process, which then releases its Leases and exits."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass(slots=True)
class PodObserver:
    """Watches all Pods and records when more than one Pod of an agent runs."""

    gateway: Gateway
    namespace: str
    running: dict[str, set[str]] = field(default_factory=dict)
    """Agent → uids of its running Pods."""
    violations: list[str] = field(default_factory=list)
    jobs: dict[str, set[str]] = field(default_factory=dict)
    """Agent → names of its Jobs; the Secrets have the same names."""

    async def watch(self) -> None:
        while True:
            with suppress(ClusterError):
                labels = {"paperclip.io/company-id": "races"}
                version = (await self.gateway.list_pods(self.namespace, labels)).resource_version
                async for event in self.gateway.watch_pods(self.namespace, labels, version):
                    if not isinstance(event, Bookmark):
                        self._count(event.snapshot, gone=event.gone)

    def _count(self, pod: PodSnapshot, *, gone: bool) -> None:
        agent = pod.labels.get(AGENT_LABEL, "")
        container = pod.agent
        runs = not gone and container is not None and isinstance(container.state, Running)
        self.jobs.setdefault(agent, set()).add(pod.labels.get("job-name", ""))
        running = self.running.setdefault(agent, set())
        (running.add if runs else running.discard)(pod.uid)
        if len(running) > 1:
            self.violations.append(f"{agent}: {len(running)} Pods ran at the same time")

    async def remaining_objects(self, agent: str) -> list[str]:
        """Wait at most `DELETION_TIMEOUT` until the agent's objects are deleted; return those that remain."""
        deadline = time.monotonic() + DELETION_TIMEOUT
        while (found := await self._objects_of(agent)) and time.monotonic() < deadline:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.1)
        return found

    async def _objects_of(self, agent: str) -> list[str]:
        labels, names = {AGENT_LABEL: agent}, self.jobs.get(agent, ())
        jobs = await self.gateway.list_jobs(self.namespace, labels)
        pods = await self.gateway.list_pods(self.namespace, labels)
        lease = await self.gateway.read_lease(self.namespace, slot_lease_name(agent))
        return [
            *(f"job {job.ref.name}" for job in jobs.items),
            *(f"pod {pod.name}" for pod in pods.items),
            *[f"secret {name}" for name in names if await self.gateway.read_secret(self.namespace, name)],
            *([] if lease is None else [f"lease {lease.name} of {lease.holder}"]),
        ]


@dataclass(slots=True)
class Race:
    """Rounds on one cluster, in each of which some host processes run the same agent."""

    kubeconfig: str
    observer: PodObserver
    rng: random.Random
    several_may_succeed: bool = False
    """Whether runs of one round may succeed one after another, as they can without Leases."""
    tally: Counter[str] = field(default_factory=Counter)

    async def rounds(self, processes: int, count: int) -> None:
        hosts = [await self._start_host() for _ in range(processes)]
        try:
            for number in range(count):
                await self._round(
                    f"race-{processes}-{number}-{uuid.uuid4().hex[:6]}", hosts, kill=number % 3 == 0
                )
        finally:
            for host in hosts:
                await host.stop()

    async def _start_host(self) -> HostProcess:
        return await HostProcess.start(self.kubeconfig, self.observer.namespace)

    async def _round(self, agent: str, hosts: list[HostProcess], *, kill: bool) -> None:
        start = time.monotonic() + 0.3
        killed_index = self.rng.randrange(len(hosts)) if kill else None
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(host.run(agent, start)) for host in hosts]
            if killed_index is not None:
                group.create_task(self._kill(hosts[killed_index], start))
        results = [run.result() for run in runs]
        codes = Counter(str(result["code"] or "succeeded") for result in results)
        successes = [result["began_and_ended"] for result in results if result["code"] is None]
        self.tally.update(codes)
        if killed_index is not None:
            self.tally["kills"] += 1
            hosts[killed_index] = await self._start_host()
        other_host = hosts[0 if killed_index != 0 else 1]
        again = await other_host.run(agent, time.monotonic())
        self.tally["again: " + str(again["code"] or "succeeded")] += 1
        remaining = await self.observer.remaining_objects(agent)
        self._judge(agent, codes, again, remaining)
        if codes["succeeded"] > 1 and not self.several_may_succeed:
            self.observer.violations.append(
                f"{agent}: {codes['succeeded']} runs succeeded, which began and ended at {successes}"
            )

    async def _kill(self, host: HostProcess, start: float) -> None:
        await asyncio.sleep(max(start - time.monotonic(), 0) + self.rng.uniform(0, 1.5))
        with suppress(ProcessLookupError):
            host.process.kill()

    def _judge(self, agent: str, codes: Counter[str], again: dict[str, Any], remaining: list[str]) -> None:
        violations = self.observer.violations
        unexpected = set(codes) - BLOCKED_CODES - {"succeeded", "killed"}
        if unexpected:
            violations.append(f"{agent}: unexpected codes {unexpected}")
        if not codes["succeeded"] and not codes["killed"]:
            violations.append(f"{agent}: no run succeeded: {dict(codes)}")
        if again["code"] is not None:
            violations.append(f"{agent}: the agent could not run once more: {again}")
        if remaining:
            violations.append(f"{agent}: these objects remain: {remaining}")


@asynccontextmanager
async def cluster(options: argparse.Namespace) -> AsyncIterator[tuple[str, str]]:
    """Yield kubeconfig and namespace of the given cluster, or of a new development cluster."""
    if options.kubeconfig is not None:
        yield options.kubeconfig, options.namespace
        return
    async with DevCluster.start() as dev:
        if options.without_leases:
            dev.faults.denied.add(("create", "leases"))
        yield str(dev.kubeconfig), dev.namespace


async def main(options: argparse.Namespace) -> int:
    async with cluster(options) as (kubeconfig, namespace):
        gateway = Gateway(kubeconfig)
        observer = PodObserver(gateway, namespace)
        rng = random.Random(options.seed)  # noqa: S311  # not used for secrets
        race = Race(kubeconfig, observer, rng, several_may_succeed=options.without_leases)
        sizes = [int(size) for size in options.processes.split(",")]
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(observer.watch())
            for number, size in enumerate(sizes):
                rounds = options.rounds // len(sizes) + (number < options.rounds % len(sizes))
                await race.rounds(size, rounds)
                print(f"{size} processes, {rounds} rounds: {dict(race.tally)}", flush=True)
                race.tally.clear()
            watching.cancel()
        await gateway.close()
    print(*observer.violations, sep="\n")
    print(f"races: {options.rounds} rounds, {len(observer.violations)} violations, seed {options.seed}")
    return 1 if observer.violations else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", default="2,4,8")
    parser.add_argument(
        "--rounds", type=int, default=20, help="total, divided among the numbers of processes"
    )
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--kubeconfig")
    parser.add_argument("--namespace", default="paperclip")
    parser.add_argument("--without-leases", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve_runs(options.kubeconfig, options.namespace))
        sys.exit()
    sys.exit(asyncio.run(main(options)))
