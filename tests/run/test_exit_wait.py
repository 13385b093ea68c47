"""An agent that does not exit after its final result, on virtual time.

The grace is how long the agent may be silent, once no work is open, before it is stopped: `resultGraceSec`,
300 s by default.
"""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.captures import NEW, OLD, recorded
from tests.support.hosts import started
from tests.support.in_memory_runs import WHOLE, count_jobs, one_host, two_hosts

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.devcluster.crilog import StreamWriter
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.run.exit_wait import MIN_STREAM_SECONDS, RETRY_INTERVAL, Agent, ExitWait
from paperclip_claude_k8s.testing import FakeCluster, HostLog, PodScript, capture, capture_facts

pytestmark = pytest.mark.looptime
FACTS = capture_facts("02")["facts"]
"""Expected values for the capture `WHOLE`."""
NEWLINE = b"\n"
TEN_HOURS = 36_000.0
HANGS = PodScript(output=((0.0, WHOLE),), ends_at=TEN_HOURS)
"""Prints its final result at once and does not exit."""
STOPPED = "agent_stopped: Claude printed its result and did not exit within 300 s; it was stopped"
INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m", "uuid": "i"}


def as_lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)


def turn(text: str, *calls: dict[str, Any]) -> bytes:
    """The lines of one turn: init, a message with this text and these tool calls, and the result."""
    result = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": text}
    message = {"id": text, "model": "m", "content": [{"type": "text", "text": text}, *calls]}
    assistant = {"type": "assistant", "message": message, "parent_tool_use_id": None, "uuid": text}
    return as_lines(INIT, assistant, result)


def wake_up_call(seconds: float) -> dict[str, Any]:
    """The tool call with which an agent schedules its next turn."""
    return {"type": "tool_use", "id": "t", "name": "ScheduleWakeup", "input": {"delaySeconds": seconds}}


def warnings_of(result: ExecutionResult) -> list[str]:
    found: list[str] = (result.result_json or {}).get("warnings", [])
    return found


def assert_result_kept(result: ExecutionResult) -> None:
    """Check usage, cost, summary and session of the result in `WHOLE`."""
    usage = FACTS["usage_total_modelUsage"]
    assert result.usage is not None
    assert result.usage.output_tokens == usage["output"]
    assert result.usage.input_tokens == usage["input"] + usage["cache_creation"]
    assert result.cost_usd == pytest.approx(FACTS["total_cost_usd"])
    assert result.session_id == FACTS["session_ids"][0]
    reader = StreamReader()
    reader.feed(WHOLE)
    assert result.summary == reader.finish().summary


async def run_timed(run: Any, **more: Any) -> tuple[float, ExecutionResult, HostLog]:
    """Run an agent; returns the duration, the result, and the host's log."""
    began = asyncio.get_running_loop().time()
    result, host_log = await run(**more)
    return asyncio.get_running_loop().time() - began, result, host_log


async def test_agent_that_never_exits_is_stopped_and_its_result_kept(tmp_path: Path) -> None:
    async with one_host(tmp_path, HANGS) as (fake, run):
        took, result, host_log = await run_timed(run)
        assert 300 <= took < 310
        assert (result.exit_code, result.signal, result.error_code) == (0, None, None)
        assert warnings_of(result) == [STOPPED]
        assert result.result_json is not None
        assert result.result_json["containerExitCode"] == 143
        assert_result_kept(result)
        assert host_log.stdout.encode() == WHOLE
        (line,) = [line for line in host_log.status.splitlines() if "did not exit" in line]
        assert "Claude printed its result and did not exit within 300s: deleting Job ac-" in line
        assert count_jobs(fake) == 0
        second_took, second, _ = await run_timed(run, runId="run-2")
        assert second_took < 310
        assert second.error_code is None
        assert fake.calls.count("create", "jobs") == 2


async def test_agent_that_exits_within_the_grace_is_not_stopped(tmp_path: Path) -> None:
    async with one_host(tmp_path, PodScript(output=((0.0, WHOLE),), ends_at=299.0)) as (_, run):
        took, result, host_log = await run_timed(run)
        assert 299 <= took < 303
        assert result.exit_code == 0
        assert warnings_of(result) == []
        assert "did not exit" not in host_log.status


async def test_output_after_the_result_restarts_the_grace(tmp_path: Path) -> None:
    late = ((0.0, WHOLE), (250.0, b"bye\n"), (500.0, as_lines({"type": "unknown_event", "uuid": "u"})))
    async with one_host(tmp_path, PodScript(output=late, ends_at=TEN_HOURS)) as (_, run):
        took, result, _ = await run_timed(run)
        assert 800 <= took < 810
        assert warnings_of(result) == [STOPPED]


async def test_turn_that_began_after_the_result_is_not_interrupted(tmp_path: Path) -> None:
    second = turn("second")
    assistant_at = second.index(b"\n") + 1
    output = ((0.0, turn("first")), (200.0, second[:assistant_at]), (5000.0, second[assistant_at:]))
    async with one_host(tmp_path, PodScript(output=output, ends_at=TEN_HOURS)) as (_, run):
        took, result, _ = await run_timed(run)
        assert 5300 <= took < 5310
        assert result.summary == "second"
        assert warnings_of(result) == [STOPPED]


@pytest.mark.parametrize("cli_version", [OLD, NEW])
async def test_open_background_task_suspends_the_grace(tmp_path: Path, cli_version: str) -> None:
    whole = recorded("23a-background-bash", cli_version)[0]
    lines = whole.splitlines(keepends=True)
    after_result = next(at for at, line in enumerate(lines) if b'"type":"result"' in line) + 1
    output = ((0.0, b"".join(lines[:after_result])), (5000.0, b"".join(lines[after_result:])))
    async with one_host(tmp_path, PodScript(output=output, ends_at=5001.0)) as (_, run):
        took, result, host_log = await run_timed(run)
        assert 5001 <= took < 5010
        assert result.exit_code == 0
        assert warnings_of(result) == []
        assert host_log.stdout.encode() == whole


async def test_sub_agent_without_task_events_extends_the_grace(tmp_path: Path) -> None:
    works = {"type": "assistant", "message": {"content": []}, "parent_tool_use_id": "toolu_1", "uuid": "w"}
    pod_script = PodScript(output=((0.0, turn("delegated")), (100.0, as_lines(works))), ends_at=TEN_HOURS)
    async with one_host(tmp_path, pod_script) as (_, run):
        took, result, _ = await run_timed(run)
        assert 1000 <= took < 1010  # 900 s of silence are allowed after the line of the sub-agent at 100 s
        assert warnings_of(result) == [STOPPED]


async def test_time_limit_applies_during_a_background_task(tmp_path: Path) -> None:
    lines = recorded("23a-background-bash", NEW)[0].splitlines(keepends=True)
    after_result = next(at for at, line in enumerate(lines) if b'"type":"result"' in line) + 1
    pod_script = PodScript(output=((0.0, b"".join(lines[:after_result])),), ends_at=TEN_HOURS)
    async with one_host(tmp_path, pod_script) as (_, run):
        took, result, _ = await run_timed(run, config={"timeoutSec": 1000})
        assert 1000 <= took < 1010
        assert result.error_code == "timeout"
        assert result.summary == "Background work started and partly done."


async def test_pending_wake_up_is_waited_for(tmp_path: Path) -> None:
    output = ((0.0, turn("sleeping", wake_up_call(60))), (105.0, turn("awake")))
    async with one_host(tmp_path, PodScript(output=output, ends_at=106.0)) as (_, run):
        took, result, _ = await run_timed(run, config={"resultGraceSec": 10})
        assert 106 <= took < 110
        assert result.summary == "awake"
        assert warnings_of(result) == []


async def test_agent_is_stopped_if_it_does_not_wake_up_within_the_grace(tmp_path: Path) -> None:
    pod_script = PodScript(output=((0.0, turn("sleeping", wake_up_call(600))),), ends_at=TEN_HOURS)
    async with one_host(tmp_path, pod_script) as (_, run):
        took, result, _ = await run_timed(run)
        assert 960 <= took < 970  # the wake-up after 600 s, 60 s by which it may be late, and the grace
        assert result.exit_code == 0
        assert warnings_of(result) == [STOPPED]


async def test_wake_up_is_waited_for_after_the_turn_of_a_task(tmp_path: Path) -> None:
    output = (
        (0.0, turn("sleeping", wake_up_call(1000))),
        (10.0, turn("a task ended")),
        (1050.0, turn("awake")),
    )
    async with one_host(tmp_path, PodScript(output=output, ends_at=1051.0)) as (_, run):
        _, result, _ = await run_timed(run)
        assert result.summary == "awake"
        assert warnings_of(result) == []


async def test_grace_of_zero_never_stops_the_agent(tmp_path: Path) -> None:
    async with one_host(tmp_path, HANGS) as (_, run):
        took, result, _ = await run_timed(run, config={"resultGraceSec": 0})
        assert took >= TEN_HOURS
        assert result.exit_code == 0
        assert warnings_of(result) == []


async def test_time_limit_after_the_final_result_keeps_the_result(tmp_path: Path) -> None:
    async with one_host(tmp_path, HANGS) as (fake, run):
        took, result, _ = await run_timed(run, config={"timeoutSec": 100})
        assert 100 <= took < 110
        assert (result.error_code, result.timed_out) == ("timeout", True)
        assert_result_kept(result)
        assert count_jobs(fake) == 0


async def test_stop_after_the_final_result_keeps_the_result(tmp_path: Path) -> None:
    async with one_host(tmp_path, HANGS) as (fake, run):
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(100, stop.set)
        took, result, _ = await run_timed(run, signal=stop)
        assert 100 <= took < 110
        assert (result.error_code, result.signal) == ("cancelled", "SIGTERM")
        assert_result_kept(result)
        assert result.result_json is not None
        assert result.result_json["executionCancellation"]["state"] == "acknowledged"
        assert count_jobs(fake) == 0


async def test_failed_result_is_kept_after_the_stop(tmp_path: Path) -> None:
    pod_script = PodScript(output=((0.0, capture("05")),), ends_at=TEN_HOURS)
    async with one_host(tmp_path, pod_script) as (fake, run):
        took, result, _ = await run_timed(run)
        assert 300 <= took < 310
        assert result.error_code == "max_turns_exhausted"
        assert STOPPED in warnings_of(result)
        assert count_jobs(fake) == 0


async def test_turn_that_begins_during_the_stop_is_truncated(tmp_path: Path) -> None:
    pod_script = PodScript(output=((0.0, turn("first")),), ends_at=TEN_HOURS, stops_in=10.0)
    async with one_host(tmp_path, pod_script) as (fake, run):
        asyncio.get_running_loop().call_later(305, print_more, fake, as_lines(INIT))
        _, result, _ = await run_timed(run)
        assert result.error_code == "claude_truncated"
        assert STOPPED in warnings_of(result)


def print_more(fake: FakeCluster, lines: bytes) -> None:
    """Have the only agent print something that its `PodScript` does not contain."""
    (log,) = fake.kubelet.logs()
    StreamWriter(log, "stdout").feed(lines)


async def test_agent_that_ignores_sigterm_is_reported(tmp_path: Path) -> None:
    ignores_sigterm = PodScript(output=((0.0, WHOLE),), ends_at=TEN_HOURS, on_sigterm=None)
    async with one_host(tmp_path, ignores_sigterm) as (_, run):
        config = {"stopGraceSec": 100}  # longer than `Timings.stop_proof` (45 s)
        _, result, host_log = await run_timed(run, config=config)
        assert result.exit_code == 0
        assert warnings_of(result) == [STOPPED]
        assert "stopped: its Pod was not proven gone within 45s\n" in host_log.status


async def test_grace_of_an_adopted_agent_begins_at_the_adoption(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, HANGS) as (fake, one, two):
        async with started(one, 200):
            await one.adapter.shutdown()
        began = asyncio.get_running_loop().time()
        result, host_log = await two.run()
        took = asyncio.get_running_loop().time() - began
        assert "our own earlier attempt" in host_log.status
        assert 300 <= took < 310
        assert result.exit_code == 0
        assert warnings_of(result) == [STOPPED]
        assert_result_kept(result)
        assert count_jobs(fake) == 0


async def test_agent_is_not_stopped_while_the_api_server_is_down(tmp_path: Path) -> None:
    """The agent works on while the API server is unreachable. It is stopped only if its log can be read."""
    output = ((0.0, turn("first")), (200.0, turn("second")[:-200]), (2000.0, turn("second")[-200:]))
    async with one_host(tmp_path, PodScript(output=output, ends_at=2001.0)) as (fake, run):
        asyncio.get_running_loop().call_later(50, fake.go_down, 600)
        took, result, _ = await run_timed(run)
        assert 2001 <= took < 2010
        assert result.summary == "second"
        assert STOPPED not in warnings_of(result)


async def test_agent_that_hangs_is_stopped_after_an_outage(tmp_path: Path) -> None:
    async with one_host(tmp_path, HANGS) as (fake, run):
        asyncio.get_running_loop().call_later(50, fake.go_down, 600)
        took, result, _ = await run_timed(run)
        assert 650 <= took < 700
        assert warnings_of(result) == [STOPPED]


def line_by_line(begins_at: float, text: bytes) -> tuple[tuple[float, bytes], ...]:
    """Output that begins at this second, each line a moment after the previous one."""
    return tuple((begins_at + 0.1 * at, line) for at, line in enumerate(text.splitlines(keepends=True)))


def set_log_access(fake: FakeCluster, *, allowed: bool) -> None:
    """Let the API server refuse all logs, or serve them again; other requests succeed."""
    if not allowed:
        fake.faults.denied.add(("get", "pods/log"))
        fake.faults.drop_log_streams()
    else:
        fake.faults.denied.clear()


@pytest.mark.parametrize("readable_again", [600.0, 899.0, 901.0])
async def test_agent_with_an_unreadable_log_is_not_stopped(tmp_path: Path, readable_again: float) -> None:
    """The agent's second turn begins at second 200, while the log cannot be read; it ends at second 2000.

    Checks take place every 15 s from second 300 on, so one at second 900. 899 and 901 are just before and
    just after it.
    """
    second = turn("second")
    output = ((0.0, turn("first")), *line_by_line(200, second[:-200]), (2000.0, second[-200:]))
    async with one_host(tmp_path, PodScript(output=output, ends_at=2001.0)) as (fake, run):
        loop = asyncio.get_running_loop()
        loop.call_later(50, partial(set_log_access, fake, allowed=False))
        loop.call_later(readable_again, partial(set_log_access, fake, allowed=True))
        took, result, _ = await run_timed(run)
        assert 2001 <= took < 2010
        assert result.summary == "second"
        assert STOPPED not in warnings_of(result)


def bookmark(pod: dict[str, Any], printed: bytes) -> bytes:
    """The line in which the relay counts the bytes and lines that its agent has printed."""
    env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    return f"\x1e{env[relay.NONCE]} b {len(printed)} {printed.count(NEWLINE)}\n".encode()


async def test_relay_bookmarks_do_not_restart_the_grace(tmp_path: Path) -> None:
    def pod_script_of(pod: dict[str, Any]) -> PodScript:
        bookmarks = tuple((at, bookmark(pod, WHOLE)) for at in range(20, 2000, 20))
        return PodScript(output=((0.0, WHOLE), *bookmarks), ends_at=TEN_HOURS)

    async with one_host(tmp_path, pod_script_of) as (_, run):
        took, result, _ = await run_timed(run)
        assert 300 <= took < 310
        assert warnings_of(result) == [STOPPED]


async def test_agent_is_not_stopped_for_a_result_before_a_gap_in_the_log(tmp_path: Path) -> None:
    """The log was rotated while it could not be read; the relay's count reveals the gap."""
    first, filler = turn("first"), as_lines({"type": "unknown_event", "uuid": "f", "text": "x" * 3000})
    rotated_away = b"".join(turn("second").splitlines(keepends=True)[:-1]) + filler
    after = as_lines({"type": "unknown_event", "uuid": "kept by the rotation"})

    def pod_script_of(pod: dict[str, Any]) -> PodScript:
        counted = bookmark(pod, first + rotated_away + after)
        during_outage = ((200.0, rotated_away), (201.0, after), (221.0, counted))
        output = (*line_by_line(0, first), *during_outage, (2000.0, turn("third")))
        return PodScript(output=output, ends_at=2001.0)

    async with one_host(tmp_path, pod_script_of) as (fake, run):
        fake.faults.rotate_log_at = 2000
        loop = asyncio.get_running_loop()
        loop.call_later(50, partial(set_log_access, fake, allowed=False))
        loop.call_later(400, partial(set_log_access, fake, allowed=True))
        took, result, host_log = await run_timed(run)
        assert "second" not in host_log.stdout
        assert "kept by the rotation" in host_log.stdout
        assert " lost between " in host_log.status
        assert 2001 <= took < 2010
        assert result.summary == "third"
        assert STOPPED not in warnings_of(result)


async def test_agent_whose_exit_is_reported_late_does_not_count_as_stopped(tmp_path: Path) -> None:
    async with one_host(tmp_path, PodScript(output=((0.0, WHOLE),), ends_at=299.0)) as (fake, run):
        fake.faults.status_delay = 100.0
        took, result, host_log = await run_timed(run)
        assert 399 <= took < 410
        assert warnings_of(result) == []
        assert "did not exit" not in host_log.status


class SilentAgent:
    """An agent that has printed its final result. The test sets whether it runs."""

    def __init__(self) -> None:
        self.runs: bool | None = True
        self.stopped: list[float] = []

    async def is_running(self) -> bool | None:
        return self.runs

    def stop(self) -> None:
        self.stopped.append(asyncio.get_running_loop().time())


READ_FAILS, NO_STREAM, NO_CHECK = None, None, None


@pytest.mark.parametrize(
    ("runs", "opened", "pause", "stops"),
    [
        (True, 100.0, NO_CHECK, True),
        (False, 100.0, NO_CHECK, False),
        (READ_FAILS, 100.0, RETRY_INTERVAL, False),
        (True, 0.0, MIN_STREAM_SECONDS, False),
        (True, 4.0, MIN_STREAM_SECONDS - 4.0, False),
        (True, NO_STREAM, RETRY_INTERVAL, False),
    ],
)
async def test_agent_is_stopped_only_if_log_and_pod_can_be_read(
    runs: bool | None,  # noqa: FBT001  # a row of the table
    opened: float | None,
    pause: float | None,
    stops: bool,  # noqa: FBT001  # a row of the table
) -> None:
    """`runs`: what a direct read of the Pod shows. `opened`: seconds since a stream of the log was opened.

    `pause`: what the check after 300 s returns, the seconds until the next one. `stops`: whether that check
    stops the agent.
    """
    silent = SilentAgent()
    silent.runs = runs
    # no silence is allowed, because no work is open: only the grace counts
    wait = ExitWait(Agent(allowed_silence=lambda: 0.0, is_running=silent.is_running, stop=silent.stop), 300.0)
    assert wait.output_received(StreamReader()) == 300.0
    assert await wait.check() == 300.0
    await asyncio.sleep(300.0 - (opened or 0.0))
    if opened is not None:
        wait.stream_opened()
    await asyncio.sleep(opened or 0.0)
    assert await wait.check() == pause
    assert bool(silent.stopped) is stops


class SlowHost(HostLog):
    """A host whose callback takes long for one chunk."""

    async def on_log(self, stream: str, text: str) -> None:
        if "wait for me" in text:
            await asyncio.sleep(1000)
        await super().on_log(stream, text)


async def test_slow_host_callback_does_not_count_as_silence(tmp_path: Path) -> None:
    output = ((0.0, turn("first")), (5.0, b"wait for me\n"), (10.0, turn("second")))
    async with one_host(tmp_path, PodScript(output=output, ends_at=1100.0)) as (_, run):
        _, result, _ = await run_timed(run, host_log=SlowHost())
        assert result.summary == "second"
        assert warnings_of(result) == []
