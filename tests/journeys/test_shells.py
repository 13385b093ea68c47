"""`claude-k8s run` commands that are killed at any point, and later commands that continue the run."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.file_event import FileEvent
from tests.support.real_cluster import IN_HOME_POD
from tests.support.runs import SMALL_REQUESTS, Site

from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.testing import capture

CAPTURE = "02"
WHOLE = capture(CAPTURE)
MAX_WAIT_SECONDS = "240"
"""Seconds that a command waits at most for the end of a run."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Sent to the commands in turn."""


@pytest.fixture
def cli(site: Site, tmp_path: Path) -> CommandRunner:
    return CommandRunner(tmp_path, dict(IN_HOME_POD) if site.name == "real" else {})


@dataclass(frozen=True, slots=True)
class PacedAgent:
    """An agent that prints `WHOLE` line by line, as far as the test allows."""

    site: Site
    allowed: FileEvent
    """Its file contains the number of lines that the agent may print."""

    def allow(self, share: float) -> None:
        """Let the agent print lines until they are at least this share (0 to 1) of `WHOLE`."""
        lines = WHOLE.splitlines(keepends=True)
        ends = accumulate(map(len, lines), initial=0)
        count = next(number for number, end in enumerate(ends) if end >= share * len(WHOLE))
        new = self.allowed.file.with_suffix(".new")
        new.write_text(str(count))
        new.replace(self.allowed.file)

    @property
    def env(self) -> dict[str, str]:
        reference = self.site.capture_ref(CAPTURE)
        file = f"/captures/{reference}" if self.site.name == "real" else reference
        may_print = f"[ $n -lt $(cat '{self.allowed.in_pod}' 2>/dev/null || echo 0) ]"
        each_line = f"until {may_print}; do sleep 0.1; done; n=$((n+1)); printf '%s\\n' \"$line\""
        return {"CLAUDE_SCRIPT": f"n=0; while IFS= read -r line; do {each_line}; done <'{file}'"}


@pytest.fixture
def agent(site: Site, tmp_path: Path) -> PacedAgent:
    return PacedAgent(site, FileEvent.of(site, tmp_path))


def new_run_args(cli: CommandRunner, agent: PacedAgent) -> list[str]:
    """Arguments that start a run of this agent."""
    config = {**agent.site.config, **SMALL_REQUESTS, "env": agent.env}
    (cli.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    out = str(cli.folder / "out")
    return [
        "run",
        "-p",
        "Go.",
        "--config",
        str(cli.folder / "config.json"),
        "--output",
        out,
        "--timeout",
        MAX_WAIT_SECONDS,
    ]


def resume_args(cli: CommandRunner) -> list[str]:
    """Arguments that continue the only run."""
    record = cli.record()
    assert record is not None
    return [
        "run",
        "--run-id",
        record["run_id"],
        "--output",
        str(cli.folder / "out"),
        "--timeout",
        MAX_WAIT_SECONDS,
    ]


def reached_phase(cli: CommandRunner, *wanted: str) -> Callable[[], bool]:
    """The condition that the record is in one of these phases, or that the run has ended."""

    def reached() -> bool:
        record = cli.record()
        return record is not None and record["phase"] in {*wanted, "ended"}

    return reached


def saved_share(cli: CommandRunner, share: float) -> Callable[[], bool]:
    """The condition that this share (0 to 1) of the output is saved, or that the run has ended."""
    return lambda: len(cli.transcript()) >= share * len(WHOLE) or reached_phase(cli)()


class PodObserver:
    """Collects the names of all Pods in which a container was created, except Pods of earlier tests."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.pods: set[str] = set()
        self._earlier: set[str] | None = None

    async def watch(self) -> None:
        labels = {"paperclip.io/adapter-type": "claude_k8s"}
        while True:
            with suppress(ClusterError):
                pods = (await self._site.gateway.list_pods(self._site.namespace, labels)).items
                if self._earlier is None:
                    self._earlier = {pod.name for pod in pods}
                created = {pod.name for pod in pods if any(c.container_id for c in pod.containers)}
                self.pods |= created - self._earlier
            await asyncio.sleep(0.2)


async def leftovers_after_another_run(cli: CommandRunner, agent: PacedAgent) -> list[str]:
    """Objects on the cluster after another run, whose process deletes the Leases of killed processes."""
    runner = CommandRunner(cli.folder / "next", cli.env)
    runner.folder.mkdir()
    code, _, err = await runner.run(*new_run_args(runner, agent))
    assert code == 0, err
    return await agent.site.leftovers()


@pytest.mark.slow
async def test_command_killed_at_ten_points_yields_one_run(
    site: Site, cli: CommandRunner, agent: PacedAgent
) -> None:
    """The agent ends only during the last two commands, so the first eight are killed while it works."""
    # for each command: the share of the output that the agent may print, and when the command is killed
    steps = [
        *((0.0, reached_phase(cli, phase)) for phase in ("reserved", "submitting", "polling")),
        *((share, saved_share(cli, share)) for share in (0.01, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (1.0, reached_phase(cli)),
    ]
    observer, exits = PodObserver(site), []
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(observer.watch())
        for number, (share, condition) in enumerate(steps):
            agent.allow(share)
            signum = SIGNALS[number % 3]
            arguments = resume_args(cli) if cli.record() else new_run_args(cli, agent)
            code, out, _ = await cli.run_and_kill(signum, condition, *arguments)
            exits.append((signum, code))
            if signum is not signal.SIGKILL and code == -signum:
                reply = json.loads(out)
                assert reply["status"] in {"failed", "polling"} or reply["result"], reply
        code, reply, _ = await cli.run(*resume_args(cli))
        second_code, second_reply, _ = await cli.run(*resume_args(cli))
        watching.cancel()
    assert all(code == -signum for signum, code in exits[:8]), exits
    assert (code, reply["status"]) == (0, "succeeded")
    assert (second_code, second_reply) == (0, reply)
    assert len(observer.pods) == 1
    assert cli.transcript() == WHOLE
    assert (cli.folder / "out" / "transcript.ndjson").read_bytes() == WHOLE
    assert json.loads((cli.folder / "out" / "result.json").read_bytes()) == reply
    assert reply["result"]["resultJson"]["log"]["complete"] is True
    assert await leftovers_after_another_run(cli, agent) == []


async def test_two_commands_resume_one_run_with_one_result(
    site: Site, cli: CommandRunner, agent: PacedAgent
) -> None:
    agent.allow(0.2)
    await cli.run_and_kill(signal.SIGKILL, saved_share(cli, 0.2), *new_run_args(cli, agent))
    record = cli.record()
    assert record is not None
    arguments = ["run", "--run-id", record["run_id"], "--timeout", MAX_WAIT_SECONDS, "--output"]
    agent.allow(1.0)
    async with asyncio.TaskGroup() as group:
        commands = [
            group.create_task(cli.run(*arguments, str(cli.folder / name))) for name in ("out-1", "out-2")
        ]
    (first_code, first_reply, _), (second_code, second_reply, _) = (command.result() for command in commands)
    assert (first_code, second_code) == (0, 0)
    assert first_reply == second_reply
    for name in ("out-1", "out-2"):
        assert (cli.folder / name / "transcript.ndjson").read_bytes() == WHOLE
    assert _count_adoptions(cli) == 1
    assert await site.leftovers() == []


async def test_waiting_command_takes_over_from_a_killed_one(
    site: Site, cli: CommandRunner, agent: PacedAgent
) -> None:
    agent.allow(0.4)
    messages = cli.folder / "second"
    to_file = ("sh", "-c", 'exec "$@" 2>"$0"', str(messages))

    def second_waits() -> bool:
        return messages.exists() and "status=RUNNING" in messages.read_text(encoding="utf-8")

    async with asyncio.TaskGroup() as group:
        first = group.create_task(
            cli.run_and_kill(
                signal.SIGKILL, lambda: saved_share(cli, 0.4)() and second_waits(), *new_run_args(cli, agent)
            )
        )
        await cli.wait_until(reached_phase(cli, "polling"))
        second = group.create_task(claude_k8s(*resume_args(cli), env=cli.environment(), prefix=to_file))
        await first
        agent.allow(1.0)
    assert first.result()[0] == -signal.SIGKILL
    code, out, _ = second.result()
    assert (code, json.loads(out)["status"]) == (0, "succeeded")
    assert cli.transcript() == WHOLE
    assert _count_adoptions(cli) == 1
    assert await site.leftovers() == []


async def test_submitted_run_is_polled_until_it_is_done(
    site: Site, cli: CommandRunner, agent: PacedAgent
) -> None:
    """Each `--poll-once` has exit code 2 while the run is active, and 0 after its end."""
    run_id = await submit(cli, agent)
    codes: list[int] = []
    reply: dict[str, Any] = {}
    async with asyncio.timeout(240):
        while not codes or codes[-1] == 2:
            out = str(cli.folder / "out")
            code, reply, _ = await cli.run("run", "--run-id", run_id, "--poll-once", "--output", out)
            codes.append(code)
            agent.allow(1.0)
            await asyncio.sleep(1)
    assert set(codes) == {2, 0}
    assert reply["status"] == "succeeded"
    assert (cli.folder / "out" / "transcript.ndjson").read_bytes() == WHOLE
    assert await site.leftovers() == []


async def submit(cli: CommandRunner, agent: PacedAgent) -> str:
    """Submit a run, and return its id."""
    async with asyncio.timeout(120):
        _, run_id, _ = await cli.run_and_kill(
            signal.SIGTERM, lambda: False, *new_run_args(cli, agent), "--submit-only"
        )
    return run_id.strip()


def _count_adoptions(cli: CommandRunner) -> int:
    """How often the log of the only run reports that its Job was adopted."""
    (log,) = cli.state.glob("runs/*/log")
    return len(re.findall("Reattaching|Taking the result", log.read_text(encoding="utf-8")))
