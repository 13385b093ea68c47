"""Command lines that are killed during a run, at any point, and the next ones that continue."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.captures import capture
from tests.support.cli_commands import CommandLine
from tests.support.real_cluster import IN_HOME_POD
from tests.support.runs import SMALL, Site

from paperclip_claude_k8s.cluster.port import ClusterError

CAPTURE = "02"
WHOLE = capture(CAPTURE)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@pytest.fixture
def cli(site: Site, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, dict(IN_HOME_POD) if site.name == "real" else {})


def a_run(cli: CommandLine, site: Site, delay: str = "0.3") -> list[str]:
    """The arguments of a new run; `delay`: seconds between two of its 16 lines."""
    env = {"CLAUDE_CAPTURE": site.capture_ref(CAPTURE), "CLAUDE_LINE_DELAY": delay}
    config = {**site.config, **SMALL, "env": env}
    (cli.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    out = str(cli.folder / "out")
    return ["run", "-p", "Go.", "--config", str(cli.folder / "config.json"), "-o", out, "--timeout", "100"]


def resumed(cli: CommandLine) -> list[str]:
    """The arguments that continue the run."""
    record = cli.record()
    assert record is not None
    return ["run", "--run-id", record["run_id"], "-o", str(cli.folder / "out"), "--timeout", "100"]


def phase(cli: CommandLine, *wanted: str) -> Callable[[], bool]:
    """Whether the record is in one of these phases, or the run has ended."""

    def reached() -> bool:
        record = cli.record()
        return record is not None and record["phase"] in {*wanted, "ended"}

    return reached


def share(cli: CommandLine, part: float) -> Callable[[], bool]:
    """Whether this share of the output is saved, or the run has ended."""
    return lambda: len(cli.transcript()) >= part * len(WHOLE) or phase(cli)()


class PodObserver:
    """Collects the names of all Pods whose containers were ever created."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.pods: set[str] = set()

    async def watch(self) -> None:
        labels = {"paperclip.io/adapter-type": "claude_k8s"}
        while True:
            with suppress(ClusterError):
                pods = await self._site.gateway.list_pods(self._site.namespace, labels)
                self.pods |= {pod.name for pod in pods.items if any(c.container_id for c in pod.containers)}
            await asyncio.sleep(0.2)


async def test_shell_killed_at_ten_points_yields_one_run(site: Site, cli: CommandLine) -> None:
    points = [
        phase(cli, "reserved"),
        phase(cli, "submitting"),
        phase(cli, "polling"),
        *(share(cli, part) for part in (0.01, 0.2, 0.4, 0.6, 0.8, 1.0)),
        phase(cli),
    ]
    observer, codes = PodObserver(site), []
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(observer.watch())
        for number, point in enumerate(points):
            signum = SIGNALS[number % 3]
            arguments = resumed(cli) if cli.record() else a_run(cli, site, "0.7")
            code, out, _ = await cli.run_and_kill(signum, point, *arguments)
            codes.append((signum, code))
            if signum is not signal.SIGKILL and code == -signum:
                answer = json.loads(out)
                assert answer["status"] == "failed" or answer["result"], answer
        code, answer, _ = await cli.run(*resumed(cli))
        again, same, _ = await cli.run(*resumed(cli))
        watching.cancel()
    assert sum(code == -signum for signum, code in codes) >= 8, codes
    assert (code, answer["status"]) == (0, "succeeded")
    assert (again, same) == (0, answer)
    assert len(observer.pods) == 1
    assert cli.transcript() == WHOLE
    assert (cli.folder / "out" / "transcript.ndjson").read_bytes() == WHOLE
    assert json.loads((cli.folder / "out" / "result.json").read_bytes()) == answer
    assert answer["result"]["resultJson"]["log"]["complete"] is True
    assert await site.leftovers() == []


async def test_two_shells_resume_one_run_with_one_result(site: Site, cli: CommandLine) -> None:
    await cli.run_and_kill(signal.SIGKILL, share(cli, 0.2), *a_run(cli, site))
    record = cli.record()
    assert record is not None
    arguments = ["run", "--run-id", record["run_id"], "--timeout", "100", "-o"]
    async with asyncio.TaskGroup() as group:
        one, other = (
            group.create_task(cli.run(*arguments, str(cli.folder / name))) for name in ("one", "other")
        )
    (code, answer, _), (other_code, other_answer, _) = one.result(), other.result()
    assert (code, other_code) == (0, 0)
    assert answer == other_answer
    for name in ("one", "other"):
        assert (cli.folder / name / "transcript.ndjson").read_bytes() == WHOLE
    assert _adoptions(cli) == 1
    assert await site.leftovers() == []


async def test_watching_shell_takes_over_from_a_dead_one(site: Site, cli: CommandLine) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(cli.run_and_kill(signal.SIGKILL, share(cli, 0.4), *a_run(cli, site)))
        await cli.wait_until(phase(cli, "polling"))
        second = group.create_task(cli.run(*resumed(cli)))
    assert first.result()[0] == -signal.SIGKILL
    code, answer, _ = second.result()
    assert (code, answer["status"]) == (0, "succeeded")
    assert cli.transcript() == WHOLE
    assert _adoptions(cli) == 1
    assert await site.leftovers() == []


async def test_submitted_run_is_polled_until_it_is_done(site: Site, cli: CommandLine) -> None:
    """Each `--poll-once` has exit code 2 while the run is active, and 0 after its end."""
    run_id = await submitted(cli, site, delay="1")  # still active at the first poll, also on a busy machine
    codes: list[int] = []
    answer: dict[str, Any] = {}
    async with asyncio.timeout(100):
        while not codes or codes[-1] == 2:
            out = str(cli.folder / "out")
            code, answer, _ = await cli.run("run", "--run-id", run_id, "--poll-once", "-o", out)
            codes.append(code)
            await asyncio.sleep(1)
    assert set(codes) == {2, 0}
    assert answer["status"] == "succeeded"
    assert (cli.folder / "out" / "transcript.ndjson").read_bytes() == WHOLE
    assert await site.leftovers() == []


async def submitted(cli: CommandLine, site: Site, delay: str = "0.3") -> str:
    async with asyncio.timeout(60):
        _, run_id, _ = await cli.run_and_kill(
            signal.SIGTERM, lambda: False, *a_run(cli, site, delay), "--submit-only"
        )
    return run_id.strip()


def _adoptions(cli: CommandLine) -> int:
    """How often the Job was adopted."""
    (log,) = cli.state.glob("runs/*/log")
    return len(re.findall("Reattaching|Taking the result", log.read_text(encoding="utf-8")))
