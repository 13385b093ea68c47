"""If a receiver of the agent's output (parser, journal or host) raises, the run goes on and reports that."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.execute import execute
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import NullJournal, ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.agent_log import OutputSink
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.testing import STATUS_PREFIX, FakeCluster, HostLog, PodScript, capture

pytestmark = pytest.mark.looptime
LINES = capture("02").splitlines(keepends=True)
LINE_BY_LINE = PodScript(
    output=tuple((float(n), line) for n, line in enumerate(LINES)), ends_at=len(LINES) + 1.0
)
"""Each line is delivered as a separate block."""
BLOCKS = range(len(LINES))
"""Positions of these blocks."""
LOGGER = "paperclip_claude_k8s"


@dataclass(slots=True)
class Raiser:
    """Raises in the calls of `step` that `at` selects by their number, counted from 0."""

    at: Callable[[int], bool]
    error: Exception = field(default_factory=lambda: ValueError("it broke; token=c4n4ry-0123456789"))
    calls: int = 0

    def step(self) -> None:
        self.calls += 1
        if self.at(self.calls - 1):
            raise self.error


class FailingReader(StreamReader):
    def __init__(self, raiser: Raiser) -> None:
        super().__init__()
        self._raiser = raiser

    def feed(self, block: bytes) -> None:
        self._raiser.step()
        super().feed(block)

    def feed_stderr(self, block: bytes) -> None:
        self._raiser.step()
        super().feed_stderr(block)


class FailingJournal(NullJournal):
    def __init__(self, raiser: Raiser) -> None:
        self._raiser = raiser
        self.text = b""

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        self._raiser.step()
        self.text += block


class FailingHost(HostLog):
    """Raises only for lines of the agent; records all lines for which it does not raise."""

    raiser = Raiser(lambda _: False)

    async def on_log(self, stream: str, text: str) -> None:
        if not text.startswith(STATUS_PREFIX):
            self.raiser.step()
        await super().on_log(stream, text)


def never_raises() -> Raiser:
    return Raiser(lambda _: False)


@dataclass(slots=True)
class Receivers:
    """The receivers of the agent's output, each of which raises at some of its calls."""

    parser: Raiser = field(default_factory=never_raises)
    journal: Raiser = field(default_factory=never_raises)
    host: Raiser = field(default_factory=never_raises)
    host_log: FailingHost = field(default_factory=FailingHost)
    failing_journal: FailingJournal | None = None

    async def run(self, fake: FakeCluster, **more: Any) -> ExecutionResult:
        self.host_log.raiser = self.host
        self.failing_journal = FailingJournal(self.journal)
        process = Process(
            ProcessSettings(),
            lambda *_: fake.gateway,
            journal=self.failing_journal,
            reader=lambda: FailingReader(self.parser),
        )
        ctx = {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "co"},
            "config": {"kubeconfig": "fake", "image": "x"},
            "context": {"taskId": "task-1"},
            "onLog": self.host_log.on_log,
            **more,
        }
        try:
            return await execute(ctx, process)
        finally:
            await process.shut_down()


def log_of(result: ExecutionResult) -> dict[str, Any]:
    assert result.result_json is not None
    log: dict[str, Any] = result.result_json["log"]
    return log


def warnings_of(result: ExecutionResult) -> str:
    assert result.result_json is not None
    return "\n".join(result.result_json.get("warnings") or [])


async def test_without_exceptions_the_log_is_complete(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        receivers = Receivers()
        result = await receivers.run(fake)
        log = log_of(result)
        assert (log["complete"], log["hostFailures"]) == (True, 0)
        assert "firstHostError" not in log
        assert receivers.parser.calls == receivers.journal.calls == receivers.host.calls == len(LINES)
        assert warnings_of(result) == ""


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("receiver", ["parser", "journal"])
async def test_raising_receiver_is_reported_and_the_others_get_all_output(
    tmp_path: Path, receiver: str, block: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        receivers = Receivers(**{receiver: Raiser(lambda call: call == block)})  # type: ignore[arg-type]
        result = await receivers.run(fake)
        assert receivers.host_log.stdout.encode() == b"".join(LINES)
        assert receivers.failing_journal is not None
        missing = LINES[block] if receiver == "journal" else b""
        assert receivers.failing_journal.text == b"".join(LINES).replace(missing, b"", 1)
        log = log_of(result)
        assert (log["complete"], log["hostFailures"]) == (False, 0)
        assert log["bytes"] == len(b"".join(LINES))
        report = f"the {receiver} of the agent's output raised ValueError: it broke"
        assert report in warnings_of(result)
        (line,) = [line for line in receivers.host_log.status.splitlines() if "A bug in the adapter" in line]
        assert report in line
        assert "stderr" in [
            stream for stream, text in receivers.host_log.chunks if "A bug in the adapter" in text
        ]
        (record,) = [r for r in caplog.records if r.name.startswith(LOGGER) and r.levelno == logging.ERROR]
        assert record.exc_info is not None
        assert "c4n4ry" not in line + warnings_of(result)
        assert result.error_message is None, "the relay's summary has the result too"


@pytest.mark.parametrize("block", BLOCKS)
async def test_block_not_accepted_by_the_host_is_counted(
    tmp_path: Path, block: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        receivers = Receivers(host=Raiser(lambda call: call == block))
        result = await receivers.run(fake)
        assert result.error_message is None
        accepted = LINES[:block] + LINES[block + 1 :]
        assert receivers.host_log.stdout.encode() == b"".join(accepted)
        assert receivers.failing_journal is not None
        assert receivers.failing_journal.text == b"".join(LINES)
        log = log_of(result)
        assert (log["complete"], log["hostFailures"]) == (False, 1)
        assert log["firstHostError"] == "ValueError: it broke; token=***REDACTED***"
        assert "onLog raised for 1 chunks" in warnings_of(result)
        (record,) = [r for r in caplog.records if r.name.startswith(LOGGER)]
        assert "onLog of run run-1 raised ValueError: it broke" in record.getMessage()
        assert "c4n4ry" not in record.getMessage()


@pytest.mark.parametrize("receiver", ["parser", "journal", "host"])
async def test_stderr_not_accepted_makes_the_log_incomplete(tmp_path: Path, receiver: str) -> None:
    """The relay's totals cover only stdout, which is complete here."""

    def pod_script_of(pod: dict[str, Any]) -> PodScript:
        env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
        stderr_line = f"\x1e{env['PAPERCLIP_RELAY_NONCE']} e a complaint\n".encode()
        return PodScript(
            output=((0.0, LINES[0]), (1.0, stderr_line), (2.0, b"".join(LINES[1:]))), ends_at=3.0
        )

    async with FakeCluster.start(tmp_path, pod_script_of) as fake:
        good = Receivers()
        assert log_of(await good.run(fake))["complete"] is True
        assert good.host_log.stderr == "a complaint\n"
    (tmp_path / "again").mkdir()
    async with FakeCluster.start(tmp_path / "again", pod_script_of) as fake:
        stderr_block = 1
        receivers = Receivers(**{receiver: Raiser(lambda call: call == stderr_block)})  # type: ignore[arg-type]
        result = await receivers.run(fake)
        assert receivers.host_log.stdout.encode() == b"".join(LINES)
        assert receivers.host_log.stderr == ("" if receiver == "host" else "a complaint\n")
        log = log_of(result)
        assert (log["complete"], log["hostFailures"]) == (False, int(receiver == "host"))
        assert "it broke" in warnings_of(result)


async def test_host_that_accepts_nothing_is_counted_per_chunk(tmp_path: Path) -> None:
    calls = 0

    async def refuse(_stream: str, _text: str) -> None:
        nonlocal calls
        calls += 1
        raise OSError(28, "No space left on device")

    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        result = await Receivers().run(fake, onLog=refuse)
        log = log_of(result)
        assert result.error_message is None
        assert log["complete"] is False
        assert len(LINES) <= log["hostFailures"] <= calls  # some calls are for lines of the adapter
        assert log["firstHostError"] == "OSError: [Errno 28] No space left on device"


async def test_secrets_are_masked_in_exceptions_of_the_host(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    auth, env = "plain-auth-0123456789", "plain-env-0123456789"
    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        receivers = Receivers(
            host=Raiser(lambda call: call == 3, RuntimeError(f"no room for {auth} and {env}"))
        )
        config = {"kubeconfig": "fake", "image": "x", "env": {"MY_PASSWORD": env}}
        result = await receivers.run(fake, authToken=auth, config=config)
        shown = log_of(result)["firstHostError"] + warnings_of(result)
        assert "no room for" in shown
        assert auth not in shown + caplog.text
        assert env not in shown


async def test_cancelled_error_from_a_callback_loses_only_that_chunk(tmp_path: Path) -> None:
    """A `CancelledError` that a callback itself raises must not end the task that reads the log."""
    host_log = HostLog()

    async def on_log(stream: str, text: str) -> None:
        if text == LINES[3].decode():
            raise asyncio.CancelledError
        await host_log.on_log(stream, text)

    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        result = await Receivers().run(fake, onLog=on_log)
        assert host_log.stdout.encode() == b"".join(LINES[:3] + LINES[4:])
        log = log_of(result)
        assert (log["complete"], log["hostFailures"]) == (False, 1)
        assert "HostCancelled" in log["firstHostError"]


async def test_run_cancelled_during_a_callback_ends_as_cancelled(tmp_path: Path) -> None:
    inside = asyncio.Event()

    async def on_log(_stream: str, text: str) -> None:
        if text == LINES[3].decode():
            inside.set()
            await asyncio.sleep(9999)

    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake, asyncio.TaskGroup() as group:
        running = group.create_task(Receivers().run(fake, onLog=on_log))
        await inside.wait()
        running.cancel()
    assert running.cancelled()


async def test_job_is_kept_after_an_unexpected_exception(tmp_path: Path) -> None:
    """An exception that the adapter does not handle reaches the host. The Job is kept with its paid work."""

    class RaisesInFinish(StreamReader):
        def finish(self) -> Transcript:
            raise ZeroDivisionError

    host_log = HostLog()
    async with FakeCluster.start(tmp_path, LINE_BY_LINE) as fake:
        process = Process(ProcessSettings(), lambda *_: fake.gateway, reader=RaisesInFinish)
        ctx = {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "co"},
            "config": {"kubeconfig": "fake", "image": "x"},
            "context": {"taskId": "task-1"},
            "onLog": host_log.on_log,
        }
        with pytest.raises(ZeroDivisionError):
            await execute(ctx, process)
        await process.shut_down()
        assert "a bug in the adapter ended the observation" in host_log.status
        result = await Receivers().run(fake)
        assert result.error_message is None
        assert fake.calls.count("create", "jobs") == 1


async def test_agent_is_not_stopped_after_the_parser_failed(tmp_path: Path) -> None:
    """After a final result, the parser fails at the first line of the next turn."""
    first_turn, next_line = capture("01"), LINES[0]
    pod_script = PodScript(
        output=((0.0, first_turn), (10.0, next_line), (2000.0, b"".join(LINES[1:]))), ends_at=2001.0
    )
    async with FakeCluster.start(tmp_path, pod_script) as fake:
        receivers = Receivers(parser=Raiser(lambda call: call == 1))
        result = await receivers.run(fake)
        assert receivers.parser.calls == 3
        assert "did not exit" not in receivers.host_log.status
        assert receivers.host_log.stdout.encode() == first_turn + b"".join(LINES)
        assert result.error_message is None


async def test_silence_counts_again_after_a_delivery_to_a_slow_host_was_cancelled() -> None:
    """The adapter stops reading the log of a deleted Pod while a callback of the host has not returned."""
    hanging = asyncio.Event()

    async def on_log(_stream: str, _text: str) -> None:
        hanging.set()
        await asyncio.sleep(9999)

    ctx = ExecutionContext.read({"runId": "run-1", "agent": {"id": "agent-1"}, "onLog": on_log})
    sink = OutputSink(Narrator(ctx), NullJournal(), StreamReader())
    async with asyncio.TaskGroup() as group:
        delivery = group.create_task(sink.stdout(capture("01")))
        await hanging.wait()
        assert sink.allowed_silence() is None
        delivery.cancel()
    assert sink.allowed_silence() == 0.0
