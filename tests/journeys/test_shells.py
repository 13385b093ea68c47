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
def desk(site: Site, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, dict(IN_HOME_POD) if site.name == "real" else {})


def a_run(desk: CommandLine, site: Site, delay: str = "0.3") -> list[str]:
    """The arguments of the run; `delay`: seconds between two of its 16 lines."""
    env = {"CLAUDE_CAPTURE": site.capture_ref(CAPTURE), "CLAUDE_LINE_DELAY": delay}
    config = {**site.config, **SMALL, "env": env}
    (desk.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    out = str(desk.folder / "out")
    return ["run", "-p", "Go.", "--config", str(desk.folder / "config.json"), "-o", out, "--timeout", "100"]


def resumed(desk: CommandLine) -> list[str]:
    record = desk.record()
    assert record is not None
    return ["run", "--run-id", record["run_id"], "-o", str(desk.folder / "out"), "--timeout", "100"]


def phase(desk: CommandLine, *wanted: str) -> Callable[[], bool]:
    def seen() -> bool:
        record = desk.record()
        return record is not None and record["phase"] in {*wanted, "ended"}

    return seen


def share(desk: CommandLine, part: float) -> Callable[[], bool]:
    """Wait until this much output is saved, or the run has ended."""
    return lambda: len(desk.transcript()) >= part * len(WHOLE) or phase(desk)()


class PodObserver:
    """Watches the cluster: which Pods of the run ever existed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.pods: set[str] = set()

    async def look_on(self) -> None:
        labels = {"paperclip.io/adapter-type": "claude_k8s"}
        while True:
            with suppress(ClusterError):
                pods = await self._site.gateway.list_pods(self._site.namespace, labels)
                self.pods |= {pod.name for pod in pods.items if any(c.container_id for c in pod.containers)}
            await asyncio.sleep(0.2)


async def test_shell_killed_at_ten_points_yields_one_run(site: Site, desk: CommandLine) -> None:
    points = [
        phase(desk, "reserved"),
        phase(desk, "submitting"),
        phase(desk, "polling"),
        *(share(desk, part) for part in (0.01, 0.2, 0.4, 0.6, 0.8, 1.0)),
        phase(desk),
    ]
    witness, codes = PodObserver(site), []
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(witness.look_on())
        for number, point in enumerate(points):
            how = SIGNALS[number % 3]
            arguments = resumed(desk) if desk.record() else a_run(desk, site, "0.7")
            code, out, _ = await desk.run_and_kill(how, point, *arguments)
            codes.append((how, code))
            if how is not signal.SIGKILL and code == -how:
                answer = json.loads(out)
                assert answer["status"] == "failed" or answer["result"], answer
        code, answer, _ = await desk.run(*resumed(desk))
        again, same, _ = await desk.run(*resumed(desk))
        looking.cancel()
    assert sum(code == -how for how, code in codes) >= 8, codes
    assert (code, answer["status"]) == (0, "succeeded")
    assert (again, same) == (0, answer)
    assert len(witness.pods) == 1
    assert desk.transcript() == WHOLE
    assert (desk.folder / "out" / "transcript.ndjson").read_bytes() == WHOLE
    assert json.loads((desk.folder / "out" / "result.json").read_bytes()) == answer
    assert answer["result"]["resultJson"]["log"]["complete"] is True
    assert await site.leftovers() == []


async def test_two_shells_resume_one_run_with_one_result(site: Site, desk: CommandLine) -> None:
    await desk.run_and_kill(signal.SIGKILL, share(desk, 0.2), *a_run(desk, site))
    record = desk.record()
    assert record is not None
    arguments = ["run", "--run-id", record["run_id"], "--timeout", "100", "-o"]
    async with asyncio.TaskGroup() as group:
        one, other = (
            group.create_task(desk.run(*arguments, str(desk.folder / name))) for name in ("one", "other")
        )
    (code, answer, _), (other_code, other_answer, _) = one.result(), other.result()
    assert (code, other_code) == (0, 0)
    assert answer == other_answer
    for name in ("one", "other"):
        assert (desk.folder / name / "transcript.ndjson").read_bytes() == WHOLE
    assert _times_adopted(desk) == 1
    assert await site.leftovers() == []


async def test_watching_shell_takes_over_from_a_dead_one(site: Site, desk: CommandLine) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(desk.run_and_kill(signal.SIGKILL, share(desk, 0.4), *a_run(desk, site)))
        await desk.wait_until(phase(desk, "polling"))
        second = group.create_task(desk.run(*resumed(desk)))
    assert first.result()[0] == -signal.SIGKILL
    code, answer, _ = second.result()
    assert (code, answer["status"]) == (0, "succeeded")
    assert desk.transcript() == WHOLE
    assert _times_adopted(desk) == 1
    assert await site.leftovers() == []


async def test_submitted_run_is_polled_until_it_is_done(site: Site, desk: CommandLine) -> None:
    """Submit, then query once at a time: exit code 2 while the run is active, then 0."""
    run_id = await submitted(desk, site)
    codes: list[int] = []
    answer: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while not codes or codes[-1] == 2:
            out = str(desk.folder / "out")
            code, answer, _ = await desk.run("run", "--run-id", run_id, "--poll-once", "-o", out)
            codes.append(code)
            await asyncio.sleep(1)
    assert set(codes) == {2, 0}
    assert answer["status"] == "succeeded"
    assert (desk.folder / "out" / "transcript.ndjson").read_bytes() == WHOLE
    assert await site.leftovers() == []


async def submitted(desk: CommandLine, site: Site) -> str:
    async with asyncio.timeout(60):
        _, run_id, _ = await desk.run_and_kill(
            signal.SIGTERM, lambda: False, *a_run(desk, site), "--submit-only"
        )
    return run_id.strip()


def _times_adopted(desk: CommandLine) -> int:
    (log,) = desk.state.glob("runs/*/log")
    return len(re.findall("Reattaching|Taking the result", log.read_text(encoding="utf-8")))
