"""From the Pod's log to host and transcript, in one pass."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, NONCE_ANNOTATION, RUN_LOG_ANNOTATION
from paperclip_claude_k8s.cluster.model import PodSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError, LogBytes, LogRequest
from paperclip_claude_k8s.podlog import Follower, LogBroken, LogRefused, LogReport, Notice, Origin, Totals
from paperclip_claude_k8s.ports import Chronicle, Ports
from paperclip_claude_k8s.relay import RelaySummary, read_summary
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.runlog import run_log_of
from paperclip_claude_k8s.verdict.notices import describe_notice

NOT_FOUND = 404


class Ears:
    """Follows one agent container. `report` and `summary` are None until they are known."""

    def __init__(self, ports: Ports, say: Narrator, vigil: Vigil, volume: str | None) -> None:
        """`volume`: where the shared volume is mounted here."""
        job = vigil.known.job
        self._ports = ports
        self._vigil = vigil
        annotations = job.annotations if job is not None else {}
        self._nonce = annotations.get(NONCE_ANNOTATION)
        self._volume = volume
        self._run_log = annotations.get(RUN_LOG_ANNOTATION)
        self._pod_uid: str | None = None
        self._say = say
        self._sink = _Sink(say, ports.chronicle)
        self._ended = asyncio.get_running_loop().create_future()
        self.report: LogReport | None = None
        self.summary: RelaySummary | None = None

    async def follow(self, pod: PodSnapshot, on_over: Callable[[], None] | None = None) -> None:
        """Read the log from its very beginning until it is complete after `container_ended`.

        `on_over` is called whenever a followed stream ends by itself or is refused.
        """
        self._pod_uid = pod.uid
        filler = run_log_of(self._volume, self._run_log, pod.uid)
        origin = Origin(nonce=self._nonce, expected=self._expected, container=self._container, filler=filler)
        source = ClusterLog(self._ports.cluster, pod, on_over)
        follower = Follower(source, self._sink, origin, governor=self._ports.governor)
        self.report = await follower.run(self._ended)

    async def recover(self) -> None:
        """The Pod is gone: the relay's file on the shared volume may still hold what the agent said."""
        pod = self._vigil.known.pod
        known = pod.uid if pod is not None else None
        filler = run_log_of(self._volume, self._run_log, self._pod_uid or known)
        if filler is None:
            return
        self._set_ended()
        origin = Origin(nonce=self._nonce, filler=filler)
        follower = Follower(NoLog(), self._sink, origin, governor=self._ports.governor)
        self.report = await follower.run(self._ended)

    def container_ended(self, how: Terminated | None) -> None:
        """No more will be written; `how` may carry the relay's totals, which say when the log is complete."""
        if how is not None and self._nonce is not None:
            self.summary = read_summary(how.message, self._nonce)
        self._set_ended()

    def transcript(self) -> Transcript:
        return self._sink.reader.finish()

    def _set_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _expected(self) -> Totals | None:
        told = self.summary
        return None if told is None else Totals(told.bytes, told.lines, told.sha256 or "", told.copied)

    def _container(self) -> str | None:
        pod = self._vigil.known.pod
        agent = pod.container(AGENT_CONTAINER) if pod is not None else None
        return (agent.container_id or None) if agent is not None else None


class _Sink:
    """The parser sees exactly the lines the host sees."""

    def __init__(self, say: Narrator, chronicle: Chronicle) -> None:
        self._say = say
        self._chronicle = chronicle
        self.reader = StreamReader()

    async def stdout(self, block: bytes) -> None:
        self.reader.feed(block)
        await self._chronicle.heard("stdout", block)
        await self._say.output("stdout", block)

    async def stderr(self, block: bytes) -> None:
        self.reader.feed_stderr(block)
        await self._chronicle.heard("stderr", block)
        await self._say.output("stderr", block)

    async def notice(self, notice: Notice) -> None:
        await self._say.warn(describe_notice(notice))


class ClusterLog:
    """A container's log as the follower wants it: our cluster's errors become its own."""

    def __init__(self, cluster: Cluster, pod: PodSnapshot, on_over: Callable[[], None] | None) -> None:
        self._cluster = cluster
        self._pod = pod
        self._on_over = on_over or _nothing

    def open(self, *, since: int | None, follow: bool, tail: int | None = None) -> "_Answer":
        pod = self._pod
        request = LogRequest(pod.namespace, pod.name, AGENT_CONTAINER, since=since, follow=follow, tail=tail)
        return _Answer(self._cluster.log(request), self._on_over if follow else _nothing)


class _Answer(AbstractAsyncContextManager["_Answer"]):
    """Open for the length of a block."""

    def __init__(self, log: AbstractAsyncContextManager[LogBytes], on_over: Callable[[], None]) -> None:
        self._log = log
        self._on_over = on_over
        self._bytes: LogBytes | None = None

    async def __aenter__(self) -> Self:
        try:
            self._bytes = await self._log.__aenter__()
        except ClusterError as error:
            if error.status is not None:
                self._on_over()
            raise _translated(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._log.__aexit__(kind, error, trace)

    async def read(self) -> bytes:
        assert self._bytes is not None  # noqa: S101  # only what was entered is read
        try:
            chunk = await self._bytes.read()
        except ClusterError as error:
            raise _translated(error) from error
        if not chunk:
            self._on_over()
        return chunk


class NoLog:
    """The log of a Pod that is gone."""

    def open(self, **_: object) -> _Answer:
        raise LogRefused(NOT_FOUND, "the Pod is gone")


def _nothing() -> None:
    """Nobody asked."""


def _translated(error: ClusterError) -> LogRefused | LogBroken:
    if error.status is None:
        return LogBroken(str(error))
    return LogRefused(error.status, error.message, error.retry_after)
