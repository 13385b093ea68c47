"""From the Pod's log to host and transcript, in one pass."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.events import Event
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, NONCE_ANNOTATION, RUN_LOG_ANNOTATION
from paperclip_claude_k8s.cluster.model import PodSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError, LogBytes, LogRequest
from paperclip_claude_k8s.podlog import (
    Follower,
    Gap,
    LogBroken,
    LogRefused,
    LogReport,
    Notice,
    SourceInfo,
    Totals,
)
from paperclip_claude_k8s.ports import Ports, RunJournal
from paperclip_claude_k8s.relay import RelaySummary, read_summary
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.wording import describe_notice, error_text
from paperclip_claude_k8s.volume.run_log_file import run_log_of

NOT_FOUND = 404


def _nothing() -> None:
    """Nobody asked."""


@dataclass(frozen=True, slots=True)
class StreamEvents:
    """Whom to call about followed streams of a log."""

    opened: Callable[[], None] = _nothing
    """One was opened: its container has started."""
    closed: Callable[[], None] = _nothing
    """One that was opened is open no more, for whatever reason."""
    ended: Callable[[], None] = _nothing
    """One came to an end of its own, as when its container ends."""
    refused: Callable[[], None] = _nothing
    """One was refused with a status."""


class AgentLog:
    """Follows one agent container. `report` and `summary` are None until they are known."""

    def __init__(self, ports: Ports, say: Narrator, job_watch: JobWatch, volume: str | None) -> None:
        """`volume`: where the shared volume is mounted here."""
        job = job_watch.known.job
        self._ports = ports
        self._vigil = job_watch
        annotations = job.annotations if job is not None else {}
        self._nonce = annotations.get(NONCE_ANNOTATION)
        self._volume = volume
        self._run_log = annotations.get(RUN_LOG_ANNOTATION)
        self._pod_uid: str | None = None
        self._say = say
        self._sink = _Sink(say, ports.journal, ports.reader())
        self._ended = asyncio.get_running_loop().create_future()
        self._follower: Follower | None = None
        self.report: LogReport | None = None
        self.summary: RelaySummary | None = None

    async def follow(
        self, pod: PodSnapshot, heed: StreamEvents | None = None, *, start_told: bool = False
    ) -> None:
        """Read the log from its very beginning until it is complete after `container_ended`.

        It may be called before the container has started: the log is tried until it can be opened.
        `start_told`: `container_started` will be called when it has.
        """
        self._pod_uid = pod.uid
        origin = SourceInfo(
            nonce=self._nonce,
            expected_totals=self._expected,
            container_id=self._container,
            relay_file=run_log_of(self._volume, self._run_log, pod.uid),
            started=self._vigil.known.agent_began,
            start_announced=start_told,
        )
        source = ClusterLog(self._ports.cluster, pod, heed or StreamEvents())
        follower = self._follower = Follower(
            source, self._sink, origin, rate_limiter=self._ports.rate_limiter
        )
        self.report = await follower.run(self._ended)

    def container_started(self) -> None:
        """The API says so: a log that could not be opened yet is tried at once."""
        if self._follower is not None:
            self._follower.retry_now()

    async def recover(self) -> None:
        """The Pod is gone: the relay's file on the shared volume may still hold what the agent said."""
        pod = self._vigil.known.pod
        known = pod.uid if pod is not None else None
        filler = run_log_of(self._volume, self._run_log, self._pod_uid or known)
        if filler is None:
            return
        self._set_ended()
        origin = SourceInfo(nonce=self._nonce, relay_file=filler)
        follower = Follower(NoLog(), self._sink, origin, rate_limiter=self._ports.rate_limiter)
        self.report = await follower.run(self._ended)

    def container_ended(self, how: Terminated | None) -> None:
        """No more will be written; `how` may carry the relay's totals, which say when the log is complete."""
        if how is not None and self._nonce is not None:
            self.summary = read_summary(how.message, self._nonce)
        self._set_ended()

    def heed_output(self, heed: Callable[[StreamReader], None]) -> None:
        """`heed` is called from now on after each block of output that everybody has."""
        self._sink.heed = heed

    def allowed_silence(self) -> float | None:
        """As `StreamReader.allowed_silence`; None also while what the reader knows cannot be relied upon."""
        return self._sink.allowed_silence()

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
        agent = pod.agent if pod is not None else None
        return (agent.container_id or None) if agent is not None else None


class TakerFailed(Exception):
    """Something of ours that takes the agent's output raised; the cause is what it raised."""


class _Sink:
    """The parser sees exactly the lines the host sees, and what one of them raises the others are spared."""

    def __init__(self, say: Narrator, journal: RunJournal, reader: StreamReader) -> None:
        self._say = say
        self._journal = journal
        self.reader = reader
        self.heed: Callable[[StreamReader], None] = lambda _: None
        self._busy = 0
        """Blocks that are being handed on: what comes after them was not heard yet."""
        self._parser_failed = False
        self._result_before_gap: Event | None = None
        """A result that may have been overtaken in a part of the log that is lost."""

    def allowed_silence(self) -> float | None:
        result = self.reader.result
        doubtful = result is not None and result is self._result_before_gap
        return None if self._busy or self._parser_failed or doubtful else self.reader.allowed_silence()

    async def stdout(self, block: bytes) -> None:
        await self._hand_on("stdout", block, self.reader.feed)

    async def stderr(self, block: bytes) -> None:
        await self._hand_on("stderr", block, self.reader.feed_stderr)

    async def _hand_on(
        self, stream: Literal["stdout", "stderr"], block: bytes, read: Callable[[bytes], None]
    ) -> None:
        """Raises `TakerFailed` once everybody else has the block: a bug, which the follower makes loud.

        It does not end the run: the agent is paid for, the host can still have every line of it, and a next
        process that adopts the Job would meet the same line and the same bug.
        """
        failed: list[tuple[str, Exception]] = []
        try:
            read(block)
        except Exception as error:  # noqa: BLE001  # raised again below
            failed.append(("parser", error))
            self._parser_failed = True
        self._busy += 1
        try:
            await self._journal.output(stream, block)
        except Exception as error:  # noqa: BLE001  # raised again below
            failed.append(("journal", error))
        await self._say.output(stream, block)
        self._busy -= 1
        self.heed(self.reader)
        if failed:
            name, first = failed[0]
            raise TakerFailed(f"the {name} of the agent's output raised {error_text(first)}") from first

    async def notice(self, notice: Notice) -> None:
        if isinstance(notice, Gap):
            self._result_before_gap = self.reader.result
        await self._say.warn(describe_notice(notice))


class ClusterLog:
    """A container's log as the follower wants it: our cluster's errors become its own."""

    def __init__(self, cluster: Cluster, pod: PodSnapshot, heed: StreamEvents) -> None:
        self._cluster = cluster
        self._pod = pod
        self._heed = heed

    def open(self, *, since: int | None, follow: bool, tail: int | None = None) -> "_Answer":
        pod = self._pod
        request = LogRequest(pod.namespace, pod.name, AGENT_CONTAINER, since=since, follow=follow, tail=tail)
        return _Answer(self._cluster.log(request), self._heed if follow else StreamEvents())


class _Answer(AbstractAsyncContextManager["_Answer"]):
    """Open for the length of a block."""

    def __init__(self, log: AbstractAsyncContextManager[LogBytes], heed: StreamEvents) -> None:
        self._log = log
        self._heed = heed
        self._bytes: LogBytes | None = None

    async def __aenter__(self) -> Self:
        try:
            self._bytes = await self._log.__aenter__()
        except ClusterError as error:
            if error.status is not None:
                self._heed.refused()
            raise _translated(error) from error
        self._heed.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heed.closed()
        await self._log.__aexit__(kind, error, trace)

    async def read(self) -> bytes:
        assert self._bytes is not None  # noqa: S101  # only what was entered is read
        try:
            chunk = await self._bytes.read()
        except ClusterError as error:
            raise _translated(error) from error
        if not chunk:
            self._heed.ended()
        return chunk


class NoLog:
    """The log of a Pod that is gone."""

    def open(self, **_: object) -> _Answer:
        raise LogRefused(NOT_FOUND, "the Pod is gone")


def _translated(error: ClusterError) -> LogRefused | LogBroken:
    if error.status is None:
        return LogBroken(str(error))
    return LogRefused(error.status, error.message, error.retry_after)
