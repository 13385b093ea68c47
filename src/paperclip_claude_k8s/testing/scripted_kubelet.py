"""The kubelet of a cluster in memory: runs a `PodScript` for each Pod, and no process."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.devcluster.crilog import LogFile, StreamWriter
from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.devcluster.store import Store, now
from paperclip_claude_k8s.relay import NOT_ONLY_POD_CODE
from paperclip_claude_k8s.relay.upload_scripts import RETURN_CONTAINER
from paperclip_claude_k8s.testing.memory_faults import MemoryFaults
from paperclip_claude_k8s.testing.pod_script import PodScript
from paperclip_claude_k8s.testing.pod_start import PodStart
from paperclip_claude_k8s.testing.pod_statuses import PodStatuses
from paperclip_claude_k8s.testing.relay_summary import relay_summary

RELAY_MARK = b"\x1e"
"""The byte at the beginning of each line that the relay itself adds to the log."""
STATUS_SHOWN_SECONDS = 0.1
"""Seconds between the last status of a deleted Pod and its removal, so that watches report the status."""
Object = dict[str, Any]


class ScriptedKubelet:
    """Runs the `PodScript` of each Pod on the time of the event loop."""

    def __init__(
        self, store: Store, faults: MemoryFaults, folder: Path, pod_script: Callable[[Object], PodScript]
    ) -> None:
        self._store = store
        self._faults = faults
        self._folder = folder
        self.pod_script_of = pod_script
        self._statuses = PodStatuses(store)
        self._start = PodStart(store, faults, self._statuses)
        self._logs: dict[tuple[str, str], LogFile] = {}
        self._seen: set[str] = set()
        self._ends: dict[str, asyncio.Future[tuple[int, str]]] = {}
        self.pod_tasks: list[asyncio.Task[None]] = []
        self.started: list[tuple[float, str]] = []
        """(start time, Pod name) of each agent."""

    def log_of(self, pod_uid: str, container: str) -> LogFile | None:
        return self._logs.get((pod_uid, container))

    def logs(self) -> list[LogFile]:
        """The logs of all agents so far; a test may append to them."""
        return list(self._logs.values())

    def close_logs(self) -> None:
        for log in self._logs.values():
            log.end()

    def kill(self, pod_uid: str) -> None:
        """Do nothing. The API calls this when a Pod is deleted, and `_run_pod` sees the deletion itself."""

    def end_agent(self, pod_uid: str, exit_code: int, reason: str) -> None:
        """End the agent of a Pod at once, in the middle of its script. Without effect if it has ended."""
        end = self._ends.get(pod_uid)
        if end is not None and not end.done():
            end.set_result((exit_code, reason))

    async def run(self, group: asyncio.TaskGroup) -> None:
        while True:
            changed = self._store.next_change()
            for pod in self._store.list(PODS):
                uid = pod["metadata"]["uid"]
                if pod["spec"].get("nodeName") and uid not in self._seen:
                    self._seen.add(uid)
                    self.pod_tasks.append(group.create_task(self._run_pod(pod)))
            await changed.wait()

    async def _run_pod(self, pod: Object) -> None:
        pod_script = self.pod_script_of(pod)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._run_until_ended(pod, pod_script))
            deleted = group.create_task(self._wait_until_deleted(pod))
            await asyncio.wait({work, deleted}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await self._stop(pod, pod_script)
            else:
                await deleted
        meta = pod["metadata"]
        self._store.remove(PODS, meta["namespace"], meta["name"])

    async def _run_until_ended(self, pod: Object, pod_script: PodScript) -> None:
        """Run the script to its end, or until `end_agent` ends the agent."""
        uid = pod["metadata"]["uid"]
        end = self._ends[uid] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            script = group.create_task(self._run_script(pod, pod_script))
            script.add_done_callback(lambda _: end.cancel())
            try:
                code, reason = await end
            except asyncio.CancelledError:
                if script.done():  # it has ended by itself, and its callback has cancelled `end`
                    return
                raise
            script.cancel()
            self._end_logs(pod, pod_script)
            self._statuses.set_terminated(pod, code, reason, message="")

    async def _wait_until_deleted(self, pod: Object) -> None:
        meta = pod["metadata"]
        while True:
            changed = self._store.next_change()
            current = self._store.find(PODS, meta["namespace"], meta["name"])
            deleted = current is None or current["metadata"].get("deletionTimestamp")
            if deleted and not self._faults.node_lost:
                return
            await changed.wait()

    async def _stop(self, pod: Object, pod_script: PodScript) -> None:
        log = self._logs.get((pod["metadata"]["uid"], "claude"))
        if log is None:  # the agent has not started
            if self._faults.fails_unstarted_pods:
                self._statuses.set_failed(pod)
                await asyncio.sleep(STATUS_SHOWN_SECONDS)
            return
        grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        await asyncio.sleep(pod_script.stops_in if pod_script.on_sigterm is not None else grace)
        self._end_logs(pod, pod_script)
        code = pod_script.on_sigterm if pod_script.on_sigterm is not None else 137
        self._statuses.set_terminated(pod, code, "Error", message="")
        await asyncio.sleep(STATUS_SHOWN_SECONDS)

    async def _run_script(self, pod: Object, pod_script: PodScript) -> None:
        if not await self._start.wait(pod, pod_script):
            self._statuses.set_terminated(pod, NOT_ONLY_POD_CODE, "Error", message="")
            return
        path, rotate_at = self._folder / f"{pod['metadata']['uid']}.log", self._faults.rotate_log_at
        log = LogFile(path, rotate_at, clock=_virtual_nanos)
        self._logs[pod["metadata"]["uid"], "claude"] = log
        if pod_script.changes:
            log_of_changes = LogFile(path.with_suffix(".changes"), rotate_at=0, clock=_virtual_nanos)
            self._logs[pod["metadata"]["uid"], RETURN_CONTAINER] = log_of_changes
        began = asyncio.get_running_loop().time()
        self._show_running(pod, pod_script)
        writer, stdout = StreamWriter(log, "stdout"), b""
        for when, chunk in pod_script.output:
            await asyncio.sleep(began + when - asyncio.get_running_loop().time())
            writer.feed(chunk)
            stdout += b"" if chunk.startswith(RELAY_MARK) else chunk  # the relay's own lines do not count
        end = pod_script.ends_at if pod_script.evicted_at is None else pod_script.evicted_at
        await asyncio.sleep(max(began + end - asyncio.get_running_loop().time(), 0))
        writer.close()
        self._end_logs(pod, pod_script)
        if pod_script.evicted_at is not None:
            self._statuses.evict(pod)
            return
        await asyncio.sleep(self._faults.status_delay)
        message = relay_summary(pod, stdout, pod_script) if pod_script.summarized else ""
        self._statuses.set_ended(pod, pod_script, message)

    def _end_logs(self, pod: Object, pod_script: PodScript) -> None:
        """End the log of the agent, then that of the container that prints the agent's changes."""
        uid = pod["metadata"]["uid"]
        self._logs[uid, "claude"].end()
        changes = self._logs.get((uid, RETURN_CONTAINER))
        if changes is not None:
            StreamWriter(changes, "stdout").feed(pod_script.changes)
            changes.end()

    def _show_running(self, pod: Object, pod_script: PodScript) -> None:
        loop, running = asyncio.get_running_loop(), {"running": {"startedAt": now()}}
        self.started.append((loop.time(), pod["metadata"]["name"]))
        if pod_script.shown_after:
            loop.call_later(pod_script.shown_after, self._statuses.set_state, pod, "Running", running)
        else:
            self._statuses.set_state(pod, "Running", running)


def _virtual_nanos() -> int:
    """The time of the event loop as nanoseconds of Unix time, beginning in September 2026."""
    return 1_790_000_000_000_000_000 + int(asyncio.get_running_loop().time() * 1_000_000_000)
