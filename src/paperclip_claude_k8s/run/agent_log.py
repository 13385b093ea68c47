"""The agent's output: from the Pod's log to the parser, the journal and the host, in one pass.

`podlog.Follower` delivers whole lines exactly once and in order, across reconnects. Each block goes to the
parser first, then to the journal, then to the host's callback. An exception in the parser or the journal is a
bug: the other receivers still get the block, and the follower reports the bug in its log report.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

from paperclip_claude_k8s.base.times import NANO
from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, NONCE_ANNOTATION, RUN_LOG_ANNOTATION
from paperclip_claude_k8s.cluster.model import PodSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError, LogBytes, LogRequest
from paperclip_claude_k8s.instrumentation.event_types import LogGap, LogReconnecting
from paperclip_claude_k8s.instrumentation.run_emitter import RunEmitter
from paperclip_claude_k8s.podlog import (
    Follower,
    Gap,
    GapFilled,
    LogBroken,
    LogRefused,
    LogReport,
    LogSource,
    Notice,
    Reconnecting,
    SourceInfo,
    Totals,
)
from paperclip_claude_k8s.ports import Ports, RunJournal
from paperclip_claude_k8s.relay import RelaySummary, read_summary
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.wording import describe_notice, error_text
from paperclip_claude_k8s.volume.run_log_file import run_log_of

NOT_FOUND = 404


def _ignore() -> None:
    """The default callback: does nothing."""


@dataclass(frozen=True, slots=True)
class StreamEvents:
    """Callbacks for the streams in which a log is followed."""

    opened: Callable[[], None] = _ignore
    """A stream was opened, so the container has started."""
    closed: Callable[[], None] = _ignore
    """An open stream was closed, for whatever reason."""
    ended: Callable[[], None] = _ignore
    """A stream ended by itself, as it does when its container ends."""
    refused: Callable[[], None] = _ignore
    """The server refused a stream with a status."""


class AgentLog:
    """The log of one agent container. `report` and `summary` are None until they are known."""

    def __init__(
        self, ports: Ports, narrator: Narrator, job_watch: JobWatch, volume: str | None, limit: int = 0
    ) -> None:
        """`volume`: path of the shared volume here; None: not mounted.

        `limit`: largest number of bytes of the agent's output; 0: no limit.
        """
        job = job_watch.known.job
        self._ports = ports
        self._job_watch = job_watch
        annotations = job.annotations if job is not None else {}
        self._nonce = annotations.get(NONCE_ANNOTATION)
        self._volume = volume
        self._limit = limit
        self._annotated_run_log = annotations.get(RUN_LOG_ANNOTATION)
        """The run log's path on the volume, without the part of the Pod's uid in the file's name."""
        self._run_log_seconds = float("inf")
        self._stopped = False
        self._pod_uid: str | None = None
        self._sink = OutputSink(narrator, ports.journal, ports.reader())
        self._ended = asyncio.get_running_loop().create_future()
        self._follower: Follower | None = None
        self.report: LogReport | None = None
        self.summary: RelaySummary | None = None

    async def follow(
        self,
        pod: PodSnapshot,
        events: StreamEvents | None = None,
        *,
        start_announced: bool = False,
        goes_on: bool = False,
    ) -> None:
        """Follow the log from its beginning until `container_ended` was called and the log is complete.

        May be called before the container has started: the log is tried until it can be opened.
        `start_announced`: `container_started` will be called as soon as the container has started.
        `goes_on`: the container still writes, and only what it has written up to now is read;
        `container_ended` is called all the same.
        """
        self._pod_uid = pod.uid
        info = SourceInfo(
            nonce=self._nonce,
            expected_totals=self._expected_totals,
            container_id=self._container_id,
            relay_file=run_log_of(self._volume, self._annotated_run_log, pod.uid, self._limit),
            started=self._job_watch.known.agent_began,
            start_announced=start_announced,
            goes_on=goes_on,
        )
        source = ClusterLog(self._ports.cluster, pod, events or StreamEvents())
        follower = self._follower = self._new_follower(source, info)
        self.report = await follower.run(self._ended)

    def container_started(self) -> None:
        """The container has started: if its log could not be opened yet, try again at once."""
        if self._follower is not None:
            self._follower.retry_now()

    async def recover(self) -> None:
        """Read the output of a deleted Pod, from the relay's file on the shared volume if it exists."""
        pod = self._job_watch.known.pod
        pod_uid = pod.uid if pod is not None else None
        relay_file = run_log_of(self._volume, self._annotated_run_log, self._pod_uid or pod_uid, self._limit)
        if relay_file is None:
            return
        self._set_ended()
        info = SourceInfo(nonce=self._nonce, relay_file=relay_file)
        follower = self._follower = self._new_follower(NoLog(), info)
        self.report = await follower.run(self._ended)

    def _new_follower(self, source: LogSource, info: SourceInfo) -> Follower:
        timings, rate_limiter = self._ports.settings.follow_timings, self._ports.rate_limiter
        follower = Follower(source, self._sink, info, timings=timings, rate_limiter=rate_limiter)
        follower.limit_relay_file(self._run_log_seconds)
        if self._stopped:
            follower.shorten_rest()
        return follower

    @property
    def line_time(self) -> datetime | None:
        """When the lines were written that the receivers get now, to the second; None before the first."""
        nanoseconds = self._follower.line_time if self._follower is not None else 0
        return datetime.fromtimestamp(nanoseconds // NANO, UTC) if nanoseconds else None

    def agent_stopped(self, run_log_seconds: float) -> None:
        """The agent was stopped: wait only a short time for the rest of the log.

        The run log on the shared volume is searched and read for at most `run_log_seconds` from now on.
        """
        self._stopped, self._run_log_seconds = True, run_log_seconds
        if self._follower is not None:
            self._follower.limit_relay_file(run_log_seconds)
            self._follower.shorten_rest()

    def container_ended(self, terminated: Terminated | None) -> None:
        """The container has ended, so its log is final. Its termination message may hold the log's totals."""
        if terminated is not None and self._nonce is not None:
            self.summary = read_summary(terminated.message, self._nonce)
        self._set_ended()

    def on_output(self, callback: Callable[[StreamReader], None]) -> None:
        """From now on, call `callback` too after each block of output, when all receivers have got it."""
        earlier = self._sink.on_output

        def call_both(reader: StreamReader) -> None:
            earlier(reader)
            callback(reader)

        self._sink.on_output = call_both

    def allowed_silence(self) -> float | None:
        """As `StreamReader.allowed_silence`; None while the parser's state is not reliable."""
        return self._sink.allowed_silence()

    def transcript(self) -> Transcript:
        return self._sink.reader.finish()

    def _set_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _expected_totals(self) -> Totals | None:
        counted = self.summary
        if counted is None:
            return None
        return Totals(counted.bytes, counted.lines, counted.sha256 or "", counted.copied)

    def _container_id(self) -> str | None:
        pod = self._job_watch.known.pod
        agent = pod.agent if pod is not None else None
        return (agent.container_id or None) if agent is not None else None


class ReceiverFailed(Exception):
    """The parser or the journal raised on a block of output; the cause is that exception."""


class OutputSink:
    """Passes each block to parser, journal and host, even if one of them raises."""

    def __init__(self, narrator: Narrator, journal: RunJournal, reader: StreamReader) -> None:
        self._narrator = narrator
        self._journal = journal
        self.reader = reader
        self.on_output: Callable[[StreamReader], None] = lambda _: None
        self._busy = 0
        """Number of blocks that are being passed on; until it is 0, later output may be waiting."""
        self._parser_failed = False
        self._doubtful_result: bytes | None = None
        """A result that is not reliable: later events may be missing in a gap, or it comes from the relay's
        file, where another agent of the volume may have put it. No agent is stopped for such a result."""

    def allowed_silence(self) -> float | None:
        result = self.reader.result
        doubtful = result is not None and result is self._doubtful_result
        return None if self._busy or self._parser_failed or doubtful else self.reader.allowed_silence()

    async def stdout(self, block: bytes) -> None:
        await self._pass_on("stdout", block, self.reader.feed)

    async def stderr(self, block: bytes) -> None:
        await self._pass_on("stderr", block, self.reader.feed_stderr)

    async def _pass_on(
        self, stream: Literal["stdout", "stderr"], block: bytes, read: Callable[[bytes], None]
    ) -> None:
        """Raises `ReceiverFailed` after the other receivers got the block; the follower reports it as a bug.

        The run goes on: its agent is paid for, the host still gets every line, and a process that adopted the
        Job would run into the same bug at the same line.
        """
        failed: list[tuple[str, Exception]] = []
        try:
            read(block)
        except Exception as error:  # noqa: BLE001  # raised again below
            failed.append(("parser", error))
            self._parser_failed = True
        self._busy += 1
        try:
            try:
                await self._journal.output(stream, block)
            except Exception as error:  # noqa: BLE001  # raised again below
                failed.append(("journal", error))
            await self._narrator.output(stream, block)
        finally:  # also if the log of this Pod is given up: the log of the next Pod goes to the same sink
            self._busy -= 1
        self.on_output(self.reader)
        if failed:
            name, first = failed[0]
            raise ReceiverFailed(f"the {name} of the agent's output raised {error_text(first)}") from first

    async def notice(self, notice: Notice) -> None:
        if isinstance(notice, (Gap, GapFilled)):
            self._doubtful_result = self.reader.result
        _emit_notice(notice, self._narrator.events)
        await self._narrator.warn(describe_notice(notice))


def _emit_notice(notice: Notice, events: RunEmitter) -> None:
    match notice:
        case Gap() | GapFilled():
            events.emit(LogGap, notice.bytes, notice.lines, restored=isinstance(notice, GapFilled))
        case Reconnecting(reason, attempts):
            events.emit(LogReconnecting, attempts, reason)


class ClusterLog:
    """A container's log as a `podlog` source; cluster errors are translated to those of `podlog`."""

    def __init__(self, cluster: Cluster, pod: PodSnapshot, events: StreamEvents) -> None:
        self._cluster = cluster
        self._pod = pod
        self._events = events

    def open(self, *, since: int | None, follow: bool, tail: int | None = None) -> "_Stream":
        pod = self._pod
        request = LogRequest(pod.namespace, pod.name, AGENT_CONTAINER, since=since, follow=follow, tail=tail)
        return _Stream(self._cluster.log(request), self._events if follow else StreamEvents())


class _Stream(AbstractAsyncContextManager["_Stream"]):
    """One request for the log, open within `async with`."""

    def __init__(self, log: AbstractAsyncContextManager[LogBytes], events: StreamEvents) -> None:
        self._log = log
        self._events = events
        self._bytes: LogBytes | None = None

    async def __aenter__(self) -> Self:
        try:
            self._bytes = await self._log.__aenter__()
        except ClusterError as error:
            if error.status is not None:
                self._events.refused()
            raise _as_podlog_error(error) from error
        self._events.opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.closed()
        await self._log.__aexit__(kind, error, trace)

    async def read(self) -> bytes:
        assert self._bytes is not None  # noqa: S101  # entered before it is read
        try:
            chunk = await self._bytes.read()
        except ClusterError as error:
            raise _as_podlog_error(error) from error
        if not chunk:
            self._events.ended()
        return chunk


class NoLog:
    """The log of a Pod that is gone: it cannot be opened."""

    def open(self, **_: object) -> _Stream:
        raise LogRefused(NOT_FOUND, "the Pod is gone")


def _as_podlog_error(error: ClusterError) -> LogRefused | LogBroken:
    if error.status is None:
        return LogBroken(str(error))
    return LogRefused(error.status, error.message, error.retry_after)
