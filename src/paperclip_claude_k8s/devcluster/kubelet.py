"""Runs Pods as local processes, like a kubelet."""

import asyncio
import logging
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.devcluster.container import Container
from paperclip_claude_k8s.devcluster.crilog import LogFile
from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import PODS, Object
from paperclip_claude_k8s.devcluster.pod_environment import Missing, PodEnvironment
from paperclip_claude_k8s.devcluster.pod_status import PodStatus, termination_message
from paperclip_claude_k8s.devcluster.store import Store, now

log = logging.getLogger(__name__)
MISSING_IMAGE = re.compile(r"missing|nonexistent|does-not-exist")
"""An image cannot be pulled if its name contains one of these words; every other image is present already."""
MAX_PULL_PAUSE = 60.0
"""Longest pause in seconds between two attempts to pull an image."""

MISSING_GRACE = 0.5
"""Seconds that a Secret may be missing before an Event reports it."""


class Kubelet:
    """Runs every scheduled Pod in a task of its own."""

    def __init__(self, store: Store, folder: Path, binaries: Path, faults: Faults) -> None:
        self.store = store
        self.events = Events(store)
        self.faults = faults
        self._folder = folder
        self._binaries = binaries
        self._logs: dict[tuple[str, str], LogFile] = {}
        self._runs: dict[str, PodRun] = {}

    def log_of(self, pod_uid: str, container: str) -> LogFile | None:
        """The container's log; None before its first start."""
        return self._logs.get((pod_uid, container))

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Start scheduled Pods and stop deleted ones, until cancelled."""
        while True:
            changed = self.store.next_change()
            for pod in self.store.list(PODS):
                self._sync_pod(pod, group)
            await changed.wait()

    def _sync_pod(self, pod: Object, group: asyncio.TaskGroup) -> None:
        uid, meta = pod["metadata"]["uid"], pod["metadata"]
        run = self._runs.get(uid)
        if run is None and pod["spec"].get("nodeName") and not meta.get("deletionTimestamp"):
            folder = self._folder / "pods" / uid
            environment = PodEnvironment(pod, self.store, folder, self._folder, self._binaries)
            run = self._runs[uid] = PodRun(pod, self, folder, environment)
            group.create_task(run.run(), name=f"pod {meta['name']}")
        if meta.get("deletionTimestamp"):
            if run is None or run.ended:
                self.store.remove(PODS, meta["namespace"], meta["name"])
            else:
                run.stop(meta.get("deletionGracePeriodSeconds"))

    def shut_down(self) -> None:
        """Kill all processes of all Pods."""
        for run in self._runs.values():
            run.stop(grace=0)

    def kill(self, pod_uid: str) -> None:
        """Kill all processes of a Pod."""
        run = self._runs.get(pod_uid)
        if run is not None:
            run.stop(grace=0)

    def open_log(self, pod_uid: str, container: str, folder: Path) -> LogFile:
        log = LogFile(folder / f"{container}.log", self.faults.rotate_log_at)
        self._logs[pod_uid, container] = log
        return log


class PodRun:
    """Runs one Pod: mounts its volumes, runs its containers one after the other, reports its status."""

    def __init__(self, pod: Object, kubelet: Kubelet, folder: Path, environment: PodEnvironment) -> None:
        self.ended = False
        self._pod = pod
        self._kubelet = kubelet
        self._store = kubelet.store
        self._folder = folder
        self._environment = environment
        self._status = PodStatus(pod, kubelet.store)
        self._meta = pod["metadata"]
        self._spec = pod["spec"]
        self._grace = float(self._spec.get("terminationGracePeriodSeconds", 30))
        self._stopping = asyncio.Event()
        self._current_container: Container | None = None
        self._container_name = ""

    def stop(self, grace: float | None) -> None:
        """Stop the Pod. `grace` in seconds; None keeps the current grace period."""
        if grace is not None:
            self._grace = float(grace)
        self._stopping.set()

    async def run(self) -> None:
        """Run the Pod until its last status is written, then remove the Pod object if it is being deleted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._run_containers_or_fail())
            stop = group.create_task(self._stop_on_deletion(work))
            await asyncio.wait([work])
            stop.cancel()
        self.ended = True
        pod = self._store.find(PODS, self._meta["namespace"], self._meta["name"])
        is_ours = pod is not None and pod["metadata"]["uid"] == self._meta["uid"]
        if pod is not None and is_ours and pod["metadata"].get("deletionTimestamp"):
            self._store.remove(PODS, self._meta["namespace"], self._meta["name"])
        shutil.rmtree(self._folder / "volumes", ignore_errors=True)

    async def _stop_on_deletion(self, work: asyncio.Task[None]) -> None:
        """Wait for `stop`, then send SIGTERM, and SIGKILL after the grace period.

        If no container is running at `stop`, cancel `work` instead.
        """
        await self._stopping.wait()
        container = self._current_container
        if container is None:
            work.cancel()
            return
        self._record_event("Normal", "Killing", f"Stopping container {self._container_name}")
        container.terminate()
        await asyncio.sleep(self._grace)
        container.kill()

    async def _run_containers_or_fail(self) -> None:
        """Run the containers. A Pod that this machine cannot run fails; the others are unaffected."""
        try:
            await self._run_containers()
        except Exception as error:
            log.exception("Pod %s/%s failed", self._meta["namespace"], self._meta["name"])
            self._record_event("Warning", "Failed", f"Error: {error}")
            self._status.publish("Failed")

    async def _run_containers(self) -> None:
        self._status.set_waiting(
            "PodInitializing" if self._spec.get("initContainers") else "ContainerCreating"
        )
        await self._until_present(self._environment.mount_volumes)
        for spec in self._spec.get("initContainers") or []:
            if spec.get("restartPolicy") == "Always":
                continue  # sidecars are not run here
            if await self._run_container(spec, init=True) != 0:
                self._status.publish("Failed")
                return
        codes = [await self._run_container(spec, init=False) for spec in self._spec["containers"]]
        self._status.publish("Failed" if any(codes) else "Succeeded")

    async def _run_container(self, spec: Object, *, init: bool) -> int:
        """Run one container to its end; returns its exit code."""
        name, uid = spec["name"], self._meta["uid"]
        await self._until_pulled(spec)
        env: dict[str, str] = await self._until_present(lambda: self._environment.variables(spec))
        self._record_event("Normal", "Created", f"Created container {name}")
        container = Container(self._kubelet.open_log(uid, name, self._folder), self._folder)
        command = self._environment.command(spec, env)
        started_at = now()
        self._status.set_running(name, started_at, init=init)
        self._record_event("Normal", "Started", f"Started container {name}")
        self._current_container, self._container_name = container, name
        code = await container.run(command)
        self._current_container = None
        await asyncio.sleep(self._kubelet.faults.status_delay)
        message_file, output = self._environment.message_file(name), self._kubelet.log_of(uid, name)
        message = termination_message(spec, code, message_file, output)
        self._status.set_terminated(spec, code, started_at, message)
        if init:
            self._status.publish("Pending")
        return code

    async def _until_present(self, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401  # what `attempt` returns
        """Repeat `attempt` until every Secret that it needs exists; report what is missing.

        Nothing is reported before `MISSING_GRACE` is over: a real kubelet takes about that long to mount
        anything.
        """
        reported, report_from = "", loop_time() + MISSING_GRACE
        while True:
            changed = self._store.next_change()
            try:
                return attempt()
            except Missing as missing:
                if (left := report_from - loop_time()) > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(left):
                            await changed.wait()
                    continue
                if missing.message != reported:
                    reported = missing.message
                    reason = "FailedMount" if missing.reason == "ContainerCreating" else "Failed"
                    self._record_event("Warning", reason, missing.message)
                    self._status.set_waiting(
                        missing.reason, "" if reason == "FailedMount" else missing.message
                    )
            await changed.wait()

    async def _until_pulled(self, spec: Object) -> None:
        """Retry an image that cannot be pulled, with back-off, until the Pod is deleted."""
        image, pause = spec.get("image", ""), 1.0
        while MISSING_IMAGE.search(image):
            message = f'Failed to pull image "{image}": not found'
            self._record_event("Warning", "Failed", message)
            never = spec.get("imagePullPolicy") == "Never"
            self._status.set_waiting("ErrImageNeverPull" if never else "ErrImagePull", message)
            await asyncio.sleep(pause)
            self._status.set_waiting("ImagePullBackOff", f'Back-off pulling image "{image}"')
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_PULL_PAUSE)
        self._record_event("Normal", "Pulled", f'Container image "{image}" already present')

    def _record_event(self, event_type: str, reason: str, message: str) -> None:
        self._kubelet.events.record(self._pod, event_type, reason, message)
