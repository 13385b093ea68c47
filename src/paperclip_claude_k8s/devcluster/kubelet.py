"""Pods → local processes, and their status as a kubelet reports it."""

import asyncio
import copy
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.devcluster.container import Command, Container
from paperclip_claude_k8s.devcluster.crilog import LogFile
from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import PODS, SECRETS
from paperclip_claude_k8s.devcluster.podfiles import (
    TERMINATION_LOG,
    Missing,
    Paths,
    expand,
    secret_value,
    write_secret,
)
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.store import Store, now

Object = dict[str, Any]
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MESSAGE_BYTES = 4096
FALLBACK_BYTES, FALLBACK_LINES = 2048, 80
MISSING_IMAGE = re.compile(r"missing|nonexistent|does-not-exist")
"""Image names with such a word in them cannot be pulled; every other image is there at once."""
NODE = "devnode"


class Kubelet:
    """Runs every scheduled Pod in a task of its own."""

    def __init__(self, store: Store, folder: Path, binaries: Path, faults: Faults) -> None:
        self._store = store
        self._folder = folder
        self._binaries = binaries
        self._mischief = faults
        self._events = Events(store)
        self._logs: dict[tuple[str, str], LogFile] = {}
        self._live: dict[str, PodRun] = {}

    def log_of(self, pod_uid: str, container: str) -> LogFile | None:
        return self._logs.get((pod_uid, container))

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Start what is scheduled, stop what is being deleted; for ever."""
        while True:
            moved = self._store.next_move()
            for pod in self._store.list(PODS):
                self._look_at(pod, group)
            await moved.wait()

    def _look_at(self, pod: Object, group: asyncio.TaskGroup) -> None:
        uid, meta = pod["metadata"]["uid"], pod["metadata"]
        run = self._live.get(uid)
        if run is None and pod["spec"].get("nodeName") and not meta.get("deletionTimestamp"):
            run = self._live[uid] = PodRun(pod, self._store, self._folder / "pods" / uid, self)
            group.create_task(run.live(), name=f"pod {meta['name']}")
        if meta.get("deletionTimestamp"):
            if run is None or run.over:
                self._store.remove(PODS, meta["namespace"], meta["name"])
            else:
                run.stop(meta.get("deletionGracePeriodSeconds"))

    def shut_down(self) -> None:
        """The cluster goes away, and every process with it."""
        for run in self._live.values():
            run.stop(0)

    def kill(self, pod_uid: str) -> None:
        """End a Pod's processes at once."""
        run = self._live.get(pod_uid)
        if run is not None:
            run.stop(0)

    # What a PodRun needs of its kubelet ---------------------------------------------------------------

    @property
    def events(self) -> Events:
        return self._events

    @property
    def binaries(self) -> Path:
        return self._binaries

    @property
    def faults(self) -> Faults:
        return self._mischief

    def claim_folder(self, namespace: str, claim: str) -> Path:
        folder = self._folder / "claims" / namespace / claim
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def open_log(self, pod_uid: str, container: str, folder: Path) -> LogFile:
        log = LogFile(folder / f"{container}.log", self._mischief.rotate_log_at)
        self._logs[pod_uid, container] = log
        return log


class PodRun:
    """One Pod's life on the node."""

    def __init__(self, pod: Object, store: Store, folder: Path, kubelet: Kubelet) -> None:
        self._pod = pod
        self._store = store
        self._folder = folder
        self._kubelet = kubelet
        self._meta = pod["metadata"]
        self._spec = pod["spec"]
        self._stopping = asyncio.Event()
        self._grace = float(self._spec.get("terminationGracePeriodSeconds", 30))
        self._paths = Paths()
        self._states: dict[str, Object] = {}
        self.over = False

    def stop(self, grace: float | None) -> None:
        if grace is not None:
            self._grace = float(grace)
        self._stopping.set()

    async def live(self) -> None:
        """From the first look to the last status; then the Pod object goes if it is being deleted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._containers())
            stop = group.create_task(self._stopped(work))
            await asyncio.wait([work])
            stop.cancel()
        self.over = True
        pod = self._store.find(PODS, self._meta["namespace"], self._meta["name"])
        ours = pod is not None and pod["metadata"]["uid"] == self._meta["uid"]
        if pod is not None and ours and pod["metadata"].get("deletionTimestamp"):
            self._store.remove(PODS, self._meta["namespace"], self._meta["name"])
        shutil.rmtree(self._folder / "volumes", ignore_errors=True)

    async def _stopped(self, work: asyncio.Task[None]) -> None:
        """On deletion: SIGTERM, the grace period, SIGKILL; a Pod that has not started yet just ends."""
        await self._stopping.wait()
        container = self._running
        if container is None:
            work.cancel()
            return
        self._kubelet.events.record(self._pod, "Normal", "Killing", "Stopping container claude")
        container.terminate()
        await asyncio.sleep(self._grace)
        container.kill()

    _running: Container | None = None

    async def _containers(self) -> None:
        self._set_waiting("PodInitializing" if self._spec.get("initContainers") else "ContainerCreating")
        await self._until_ready(self._mount)
        for spec in self._spec.get("initContainers") or []:
            if spec.get("restartPolicy") == "Always":
                continue  # a sidecar starts nothing here: nobody looks into it
            if await self._one(spec, init=True) != 0:
                self._finish("Failed")
                return
        codes = [await self._one(spec, init=False) for spec in self._spec["containers"]]
        self._finish("Failed" if any(codes) else "Succeeded")

    async def _one(self, spec: Object, *, init: bool) -> int:
        """Run one container to its end; its exit code."""
        name = spec["name"]
        await self._until_pulled(spec)
        env: dict[str, str] = await self._until_ready(lambda: self._environment(spec))
        self._kubelet.events.record(self._pod, "Normal", "Created", f"Created container {name}")
        container = Container(self._kubelet.open_log(self._meta["uid"], name, self._folder))
        command = self._command(spec, env)
        began = now()
        self._states[name] = {"running": {"startedAt": began}}
        self._publish(phase="Pending" if init else "Running")
        self._kubelet.events.record(self._pod, "Normal", "Started", f"Started container {name}")
        self._running = container
        code = await container.run(command)
        self._running = None
        await asyncio.sleep(self._kubelet.faults.status_delay)
        self._states[name] = {"terminated": self._end(spec, code, began)}
        if init:
            self._publish(phase="Pending")
        return code

    async def _until_ready(self, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401  # what the attempt gives
        """Repeat until every Secret it needs is there; say why it waits."""
        said = ""
        while True:
            moved = self._store.next_move()
            try:
                return attempt()
            except Missing as missing:
                if missing.message != said:
                    said = missing.message
                    reason = "FailedMount" if missing.reason == "ContainerCreating" else "Failed"
                    self._kubelet.events.record(self._pod, "Warning", reason, missing.message)
                    self._set_waiting(missing.reason, "" if reason == "FailedMount" else missing.message)
            await moved.wait()

    async def _until_pulled(self, spec: Object) -> None:
        """An image that is not there is retried with back-off, for as long as anybody waits."""
        image, pause = spec.get("image", ""), 1.0
        while MISSING_IMAGE.search(image):
            words = f'Failed to pull image "{image}": not found'
            self._kubelet.events.record(self._pod, "Warning", "Failed", words)
            never = spec.get("imagePullPolicy") == "Never"
            self._set_waiting("ErrImageNeverPull" if never else "ErrImagePull", words)
            await asyncio.sleep(pause)
            self._set_waiting("ImagePullBackOff", f'Back-off pulling image "{image}"')
            await asyncio.sleep(pause)
            pause = min(pause * 2, 60.0)
        self._kubelet.events.record(
            self._pod, "Normal", "Pulled", f'Container image "{image}" already present'
        )

    # Files and environment ----------------------------------------------------------------------------

    def _mount(self) -> None:
        """Make every volume a folder, and know which mount path is which."""
        folders: dict[str, Path] = {}
        for volume in self._spec.get("volumes") or []:
            folders[volume["name"]] = self._volume(volume)
        for spec in [*(self._spec.get("initContainers") or []), *self._spec["containers"]]:
            for mount in spec.get("volumeMounts") or []:
                folder = folders[mount["name"]] / mount.get("subPath", "")
                folder.mkdir(parents=True, exist_ok=True)
                self._paths.add(mount["mountPath"], folder)

    def _volume(self, volume: Object) -> Path:
        folder: Path = self._folder / "volumes" / volume["name"]
        if claim := volume.get("persistentVolumeClaim"):
            return self._kubelet.claim_folder(self._meta["namespace"], claim["claimName"])
        if secret := volume.get("secret"):
            found = self._store.find(SECRETS, self._meta["namespace"], secret.get("secretName", ""))
            write_secret(folder, secret, found)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _environment(self, spec: Object) -> dict[str, str]:
        """A clean environment: PATH, HOME and what the Pod says; nothing of this process."""
        env = {
            "PATH": f"{self._kubelet.binaries}:{STANDARD_PATH}",
            "LANG": "C.UTF-8",
            "HOME": str(self._folder),
        }
        for source in spec.get("envFrom") or []:
            env |= self._env_from(source)
        declared: dict[str, str] = {}
        for entry in spec.get("env") or []:
            value = self._env_value(entry, declared)
            if value is not None:
                declared[entry["name"]] = value
        self._message_file(spec["name"])
        return env | {name: self._paths.local(value) for name, value in declared.items()}

    def _env_from(self, source: Object) -> dict[str, str]:
        ref = source.get("secretRef") or {}
        secret = self._store.find(SECRETS, self._meta["namespace"], ref.get("name", ""))
        if secret is None and not ref.get("optional"):
            raise Missing("CreateContainerConfigError", f'secret "{ref.get("name")}" not found')
        keys = (secret or {}).get("data", {})
        values = {key: secret_value(secret, {"key": key}, self._meta["namespace"]) for key in keys}
        return {
            f"{source.get('prefix', '')}{key}": value for key, value in values.items() if value is not None
        }

    def _env_value(self, entry: Object, declared: Mapping[str, str]) -> str | None:
        source = entry.get("valueFrom")
        if not source:
            return expand(entry.get("value", ""), declared)
        if ref := source.get("secretKeyRef"):
            secret = self._store.find(SECRETS, self._meta["namespace"], ref.get("name", ""))
            return secret_value(secret, ref, self._meta["namespace"])
        fields = {
            "metadata.name": self._meta["name"],
            "metadata.namespace": self._meta["namespace"],
            "metadata.uid": self._meta["uid"],
            "spec.nodeName": NODE,
            "status.podIP": "127.0.0.1",
        }
        return fields.get((source.get("fieldRef") or {}).get("fieldPath", ""))

    def _message_file(self, name: str) -> Path:
        path = self._folder / f"{name}.message"
        path.touch()
        self._paths.add(TERMINATION_LOG, path)
        return path

    def _command(self, spec: Object, env: Mapping[str, str]) -> Command:
        argv = [*(spec.get("command") or ["sh", "-c", "exit 0"]), *(spec.get("args") or [])]
        cwd = Path(self._paths.local(str(spec.get("workingDir", ""))) or self._folder)
        if not str(cwd).startswith(str(self._folder.parent.parent)):
            cwd = self._folder
        cwd.mkdir(parents=True, exist_ok=True)
        return Command([self._paths.local(expand(part, env)) for part in argv], env, cwd)

    # Status -----------------------------------------------------------------------------------------

    def _end(self, spec: Object, code: int, began: str) -> Object:
        message = (self._folder / f"{spec['name']}.message").read_bytes()[:MESSAGE_BYTES]
        fallback = spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not message and code and fallback:
            message = self._log_tail(spec["name"])
        return {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            **({"message": message.decode("utf-8", "replace")} if message else {}),
            "startedAt": began,
            "finishedAt": now(),
            "containerID": f"dev://{self._meta['uid']}-{spec['name']}",
        }

    def _log_tail(self, name: str) -> bytes:
        log = self._kubelet.log_of(self._meta["uid"], name)
        records = log.path.read_bytes().split(b"\n")[-FALLBACK_LINES - 1 : -1] if log is not None else []
        return b"\n".join(record.split(b" ", 3)[3] for record in records)[-FALLBACK_BYTES:]

    def _set_waiting(self, reason: str, message: str = "") -> None:
        for spec in self._spec["containers"]:
            self._states[spec["name"]] = {
                "waiting": {"reason": reason, **({"message": message} if message else {})}
            }
        self._publish(phase="Pending")

    def _finish(self, phase: str) -> None:
        self._publish(phase=phase)

    def _publish(self, phase: str) -> None:
        """Write the whole status; a Pod that was evicted meanwhile keeps what is said of it."""

        def change(pod: Object) -> None:
            if pod["metadata"]["uid"] != self._meta["uid"] or pod["status"].get("reason") == "Evicted":
                return
            status = pod["status"]
            status["phase"] = phase
            status.setdefault("startTime", now())
            status["containerStatuses"] = [self._status_of(spec) for spec in self._spec["containers"]]
            inits = [self._status_of(spec) for spec in self._spec.get("initContainers") or []]
            if inits:
                status["initContainerStatuses"] = inits
            _set_condition(status, "Initialized", phase != "Pending")
            _set_condition(status, "Ready", phase == "Running")
            _set_condition(status, "ContainersReady", phase == "Running")

        try:
            self._store.update(PODS, self._meta["namespace"], self._meta["name"], change)
        except Problem:
            return  # deleted with force: there is nobody to tell

    def _status_of(self, spec: Object) -> Object:
        state = self._states.get(spec["name"], {"waiting": {"reason": "PodInitializing"}})
        started = "running" in state or "terminated" in state
        return {
            "name": spec["name"],
            "state": copy.deepcopy(state),
            "lastState": {},
            "ready": "running" in state,
            "started": "running" in state,
            "restartCount": 0,
            "image": spec.get("image", ""),
            "imageID": "",
            **({"containerID": f"dev://{self._meta['uid']}-{spec['name']}"} if started else {}),
        }


def _set_condition(status: Object, kind: str, true: bool) -> None:  # noqa: FBT001
    conditions = status.setdefault("conditions", [])
    wanted = {"type": kind, "status": "True" if true else "False"}
    for condition in conditions:
        if condition["type"] == kind:
            if condition["status"] != wanted["status"]:
                condition.update(wanted, lastTransitionTime=now())
            return
    conditions.append({**wanted, "lastTransitionTime": now()})
