"""A cluster in memory, on the time of the event loop, which is virtual.

The gateway is the real one, and calls the development cluster's API without a socket. No process runs in a
Pod: the kubelet does what the `PodScript` of the test prescribes.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.transport import Request as HttpRequest
from paperclip_claude_k8s.cluster.transport import Response
from paperclip_claude_k8s.devcluster.api import Api, Request, verb_of
from paperclip_claude_k8s.devcluster.controller import Controller
from paperclip_claude_k8s.devcluster.crilog import LogFile, StreamWriter
from paperclip_claude_k8s.devcluster.dev_cluster import seed
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import PODS, SECRETS
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.store import Store, now
from paperclip_claude_k8s.devcluster.streams import open_log, open_watch
from paperclip_claude_k8s.devcluster.target import Target, parse_target
from paperclip_claude_k8s.relay import NOT_ONLY_POD_CODE

NAMESPACE = "paperclip"
RELAY_MARK = b"\x1e"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodScript:
    """What a scheduled Pod does as soon as its Secrets exist. Times count from its container's start."""

    waiting: tuple[tuple[float, str, str], ...] = ()
    """(seconds, reason, message) of each waiting state before the container starts."""
    output: tuple[tuple[float, bytes], ...] = ()
    """(time, bytes) on stdout."""
    ends_at: float = 1.0
    exit_code: int = 0
    reason: str = ""
    """Reason in the terminated state; "": Completed or Error, by the exit code."""
    on_sigterm: int | None = 143
    """Exit code after SIGTERM; None: it ignores SIGTERM until it is killed."""
    stops_in: float = 0.1
    """Seconds from SIGTERM to its exit; without effect if it ignores SIGTERM."""
    shown_after: float = 0.0
    """Seconds from the container's start until the Pod's status shows it; the log can be read at once."""
    evicted_at: float | None = None
    """Time of its eviction, in place of `ends_at`."""
    summarized: bool = True
    """The relay writes its summary to the termination message."""


_REASONS = {403: "Forbidden", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


@dataclass(slots=True)
class Refusal:
    """Refuses the next `times` requests with this verb and resource. `retry_after`: seconds."""

    verb: str
    resource: str
    code: int
    times: int = 1
    retry_after: int | None = None
    message: str = "injected fault"

    def check(self, verb: str, resource: str) -> None:
        """Raise a `Problem` if the request is one of those to refuse; an entry of `Faults.access_checks`."""
        if (verb, resource) == (self.verb, self.resource) and self.times > 0:
            self.times -= 1
            reason = _REASONS.get(self.code, "Unknown")
            raise Problem(self.code, reason, self.message, retry_after=self.retry_after)


@dataclass(slots=True)
class MemoryFaults(Faults):
    """Further faults, which only the cluster in memory can have."""

    node_lost: bool = False
    """The kubelet does not see that a Pod is being deleted."""
    fails_unstarted_pods: bool = False
    """Behave as kubelets from 1.27 on: a deleted Pod that never ran is Failed before it is removed."""
    hanging_watches: set[str] = field(default_factory=set)
    """Resources whose new watches bring nothing and do not end."""

    def refuse(self, *refusal: Any, **more: Any) -> None:
        """Refuse some requests with an error status; the parameters are those of `Refusal`."""
        self.access_checks.append(Refusal(*refusal, **more).check)


@dataclass(slots=True)
class Calls:
    """Every request that was sent, including those that failed: verb, resource, name."""

    made: list[tuple[str, str, str]] = field(default_factory=list)

    def count(self, verb: str, resource: str = "") -> int:
        return sum(1 for v, r, _ in self.made if v == verb and resource in {"", r})


class FakeCluster:
    """A cluster in memory: `async with FakeCluster.start(folder, pod_script) as fake:`.

    `fake.gateway` is the `Cluster` for the code under test.
    """

    def __init__(self, folder: Path, pod_script: Callable[[Object], PodScript]) -> None:
        self.store = Store()
        self.faults = MemoryFaults()
        self.calls = Calls()
        self.down_until = 0.0
        self.kubelet = _Kubelet(self, folder, pod_script)
        self.api = Api(self.store, self.kubelet, self.faults)  # type: ignore[arg-type]  # the part Api uses
        self.connection = HostConnection(self)
        self.gateway = Gateway(http=self.connection)
        seed(self.store)

    @classmethod
    @asynccontextmanager
    async def start(
        cls, folder: Path, pod_script: PodScript | Callable[[Object], PodScript] | None = None
    ) -> AsyncIterator["FakeCluster"]:
        given = pod_script if callable(pod_script) else (lambda _: pod_script or PodScript())
        fake = cls(folder, given)
        try:
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(Controller(fake.store, fake.faults).run()),
                    group.create_task(fake.kubelet.run(group)),
                ]
                try:
                    yield fake
                finally:
                    for task in (*work, *fake.kubelet.pod_tasks):
                        task.cancel()
        finally:
            fake.kubelet.close_logs()

    def go_down(self, seconds: float) -> None:
        """Refuse every request for this time, and break every open response."""
        self.down_until = asyncio.get_running_loop().time() + seconds
        self.faults.drop_log_streams()
        self.faults.close_watches()


class HostConnection:
    """The connection of one host process: a `cluster.transport.HttpClient` that calls the API directly.

    It can be cut without affecting the cluster and other hosts.
    """

    def __init__(self, fake: FakeCluster) -> None:
        self._fake = fake
        self._open: set[asyncio.Event] = set()
        self.is_cut = False
        self.watches_flowing = asyncio.Event()
        """While this is cleared, watches on this connection deliver nothing, not even an error."""
        self.watches_flowing.set()
        self.own_pod_name = ""
        """Name of the Pod to which the token of this connection is bound."""
        self.loses_response_of: tuple[str, str] | None = None
        """(verb, resource) of one call that is executed and whose response is lost."""

    def cut(self) -> None:
        """Break all open responses, and refuse all requests until `restore`."""
        self.is_cut = True
        for broken in self._open:
            broken.set()

    def restore(self) -> None:
        self.is_cut = False

    async def exchange(self, request: HttpRequest) -> Response:
        body = await self.call(request)
        return Response(body, tuple(self._fake.faults.warnings) if request.method == "POST" else ())

    async def call(self, request: HttpRequest) -> Object:
        await self._record_and_check_connection(request)
        wanted = Request(
            request.method, dict(request.query), _as_decoded_by_go(request.body), request.content_type, ""
        )
        try:
            response, _ = self._fake.api.respond(request.path, parse_target(request.path), wanted)
        except Problem as problem:
            raise _cluster_error(problem) from None
        target = parse_target(request.path)
        if isinstance(target, Target) and self.loses_response_of == (
            verb_of(request.method, target, watch=False),
            target.resource,
        ):
            self.loses_response_of = None
            raise ClusterError(None, "Timeout", f"{request} got no response in time")
        return json.loads(json.dumps(response))  # type: ignore[no-any-return]  # as if it was sent over a connection

    @asynccontextmanager
    async def stream(
        self, request: HttpRequest, *, silence: float | None = None, total: float | None = None
    ) -> AsyncIterator["_Body"]:
        await self._record_and_check_connection(request)
        target = parse_target(request.path)
        assert isinstance(target, Target)
        is_log = target.subresource == "log"
        try:
            opener = open_log if is_log else open_watch
            chunks = opener(self._fake.api, target, dict(request.query))
        except Problem as problem:
            raise _cluster_error(problem) from None
        if not is_log:
            chunks = self._while_flowing(chunks)
        if not is_log and target.resource in self._fake.faults.hanging_watches:
            silence = None
            chunks = self._hanging(chunks)
        broken = asyncio.Event()
        if is_log:
            self._fake.faults.log_stream_cutters.add(broken.set)
        self._open.add(broken)
        try:
            async with aclosing(chunks), aclosing(_Body(chunks, broken, silence)) as body:
                yield body
        finally:
            self._fake.faults.log_stream_cutters.discard(broken.set)
            self._open.discard(broken)

    async def _while_flowing(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            async for chunk in chunks:
                await self.watches_flowing.wait()
                yield chunk

    @staticmethod
    async def _hanging(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            await asyncio.Event().wait()
            yield b""

    async def default_namespace(self) -> str | None:
        return NAMESPACE

    async def own_pod(self) -> str:
        return self.own_pod_name

    async def close(self) -> None:
        pass

    async def _record_and_check_connection(self, request: HttpRequest) -> None:
        await asyncio.sleep(0.001)
        target = parse_target(request.path)
        if isinstance(target, Target):
            verb = verb_of(request.method, target, watch=request.query.get("watch") == "true")
            self._fake.calls.made.append((verb, target.resource, target.name))
        if self.is_cut or asyncio.get_running_loop().time() < self._fake.down_until:
            raise ClusterError(None, "Unreachable", f"{request}: connection refused")


def _as_decoded_by_go(body: Any) -> Any:
    """The body as a server in Go decodes it, with lone surrogates replaced."""
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return json.loads(text)


class _Body:
    """The body of an open response. A cancelled read loses nothing."""

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], broken: asyncio.Event, silence: float | None
    ) -> None:
        self._chunks = chunks
        self._broken = broken
        self._silence = silence
        self._next: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        self._next = self._next or asyncio.ensure_future(self._next_chunk())  # noqa: TID251  # outlives a cancelled read
        broken = asyncio.ensure_future(self._broken.wait())  # noqa: TID251  # cancelled below
        try:
            done, _ = await asyncio.wait(
                {self._next, broken}, timeout=self._silence, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            broken.cancel()
        if self._next in done:
            read, self._next = self._next, None
            return read.result()
        raise ClusterError(None, "Broken", "the connection broke")

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])

    async def _next_chunk(self) -> bytes:
        return await anext(self._chunks, b"")


def _cluster_error(problem: Problem) -> ClusterError:
    return ClusterError(problem.code, problem.reason, problem.message, retry_after=problem.retry_after)


class _PodStatuses:
    """Writes the status of Pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def terminated(self, pod: Object, code: int, reason: str, message: str) -> None:
        state = {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": now()}}
        self.set_state(pod, "Failed" if code else "Succeeded", state)

    def evict(self, pod: Object) -> None:
        def change(found: Object) -> None:
            target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
            found["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}
            found["status"].setdefault("conditions", []).append(target)

        meta = pod["metadata"]
        self._store.update(PODS, meta["namespace"], meta["name"], change)

    def set_state(self, pod: Object, phase: str, state: Object) -> None:
        def change(found: Object) -> None:
            statuses = [
                {"name": "claude", "state": state, "containerID": f"fake://{found['metadata']['uid']}"}
            ]
            found["status"] |= {"phase": phase, "containerStatuses": statuses}

        meta = pod["metadata"]
        try:
            self._store.update(PODS, meta["namespace"], meta["name"], change)
        except Problem:
            return  # deleted by force

    def fail(self, pod: Object) -> None:
        def fail(found: Object) -> None:
            found["status"]["phase"] = "Failed"

        self._store.update(PODS, NAMESPACE, pod["metadata"]["name"], fail)


class _Kubelet:
    """Runs the `PodScript` of each Pod on the time of the event loop."""

    def __init__(self, fake: FakeCluster, folder: Path, pod_script: Callable[[Object], PodScript]) -> None:
        self._fake = fake
        self._folder = folder
        self._pod_script_of = pod_script
        self._statuses = _PodStatuses(fake.store)
        self._logs: dict[tuple[str, str], LogFile] = {}
        self._seen: set[str] = set()
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
        """Not needed: `_run_pod` ends when its Pod is deleted."""

    async def run(self, group: asyncio.TaskGroup) -> None:
        while True:
            changed = self._fake.store.next_change()
            for pod in self._fake.store.list(PODS):
                uid = pod["metadata"]["uid"]
                if pod["spec"].get("nodeName") and uid not in self._seen:
                    self._seen.add(uid)
                    self.pod_tasks.append(group.create_task(self._run_pod(pod)))
            await changed.wait()

    async def _run_pod(self, pod: Object) -> None:
        pod_script = self._pod_script_of(pod)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._run_script(pod, pod_script))
            deleted = group.create_task(self._wait_until_deleted(pod))
            await asyncio.wait({work, deleted}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await self._stop(pod, pod_script)
            else:
                await deleted
        meta = pod["metadata"]
        self._fake.store.remove(PODS, meta["namespace"], meta["name"])

    async def _wait_until_deleted(self, pod: Object) -> None:
        meta = pod["metadata"]
        while True:
            changed = self._fake.store.next_change()
            there = self._fake.store.find(PODS, meta["namespace"], meta["name"])
            deleted = there is None or there["metadata"].get("deletionTimestamp")
            if deleted and not self._fake.faults.node_lost:
                return
            await changed.wait()

    async def _stop(self, pod: Object, pod_script: PodScript) -> None:
        log = self._logs.get((pod["metadata"]["uid"], "claude"))
        if log is None:
            if self._fake.faults.fails_unstarted_pods:
                self._statuses.fail(pod)
                await asyncio.sleep(0.1)
            return
        grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        await asyncio.sleep(pod_script.stops_in if pod_script.on_sigterm is not None else grace)
        log.end()
        code = pod_script.on_sigterm if pod_script.on_sigterm is not None else 137
        self._statuses.terminated(pod, code, "Error", "")
        await asyncio.sleep(0.1)

    async def _run_script(self, pod: Object, pod_script: PodScript) -> None:
        await self._wait_for_secrets(pod)
        if not self._may_start(pod):
            self._statuses.terminated(pod, NOT_ONLY_POD_CODE, "Error", "")
            return
        for seconds, reason, message in pod_script.waiting:
            self._statuses.set_state(pod, "Pending", {"waiting": {"reason": reason, "message": message}})
            await asyncio.sleep(seconds)
        path, rotate_at = self._folder / f"{pod['metadata']['uid']}.log", self._fake.faults.rotate_log_at
        log = LogFile(path, rotate_at, clock=_virtual_nanos)
        self._logs[pod["metadata"]["uid"], "claude"] = log
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
        log.end()
        if pod_script.evicted_at is not None:
            self._statuses.evict(pod)
            return
        await asyncio.sleep(self._fake.faults.status_delay)
        message = _relay_summary(pod, stdout, pod_script) if pod_script.summarized else ""
        reason = pod_script.reason or ("Completed" if pod_script.exit_code == 0 else "Error")
        self._statuses.terminated(pod, pod_script.exit_code, reason, message)

    def _may_start(self, pod: Object) -> bool:
        """False if the run Secret names another Pod as the only one; the relay checks the same."""
        job = (pod["metadata"].get("labels") or {}).get("job-name", "")
        secret = self._fake.store.find(SECRETS, NAMESPACE, job)
        only = (secret or {}).get("data", {}).get(ONLY_POD_KEY)
        return only is None or base64.b64decode(only).decode() == pod["metadata"]["uid"]

    async def _wait_for_secrets(self, pod: Object) -> None:
        """Keep the Pod in ContainerCreating until its Secrets exist."""
        wanted = [v["secret"]["secretName"] for v in pod["spec"].get("volumes") or [] if "secret" in v]
        self._statuses.set_state(pod, "Pending", {"waiting": {"reason": "ContainerCreating"}})
        while True:
            changed = self._fake.store.next_change()
            if all(self._fake.store.find(SECRETS, NAMESPACE, name) for name in wanted):
                return
            await changed.wait()

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


def _result_facts(stdout: bytes) -> Object:
    """The relay's facts about the last result; None in place of each if an init or an answer follows it.

    `last` is which of the three came last: "result", "init" or "answer".
    """
    facts: Object = {}
    last = None
    for event in map(_parse_event, stdout.split(b"\n")):
        if event.get("type") == "result":
            facts, last = {"is_error": False, **event}, "result"
        elif (event.get("type"), event.get("subtype")) == ("system", "init"):
            facts, last = {}, "init"
        elif event.get("type") == "assistant" and not event.get("parent_tool_use_id"):
            facts, last = {}, "answer"
    keys = {"session": "session_id", "subtype": "subtype", "is_error": "is_error", "cost": "total_cost_usd"}
    return {"last": last, **{ours: facts.get(theirs) for ours, theirs in keys.items()}}


def _parse_event(line: bytes) -> Object:
    """The JSON object at the end of a line; {} if there is none."""
    try:
        event = json.loads(line[max(line.find(b"{"), 0) :])
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _relay_summary(pod: Object, stdout: bytes, pod_script: PodScript) -> str:
    env = {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0].get("env") or []}
    counts = {"bytes": len(stdout), "lines": stdout.count(b"\n")}
    facts = {"relay": env.get("PAPERCLIP_RELAY_NONCE", ""), **counts, "exit": pod_script.exit_code}
    digest = hashlib.sha256(stdout).hexdigest()
    return json.dumps({**facts, **_result_facts(stdout), "sha256": digest, "limit": False, "copied": None})
