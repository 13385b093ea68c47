"""`docs/log-following.md`: its example is correct, and the files and names in it exist."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.support.kubelet_log import EPOCH, NANO, Fault, Refusal
from tests.support.log_sinks import NONCE, MemoryRelayFile, Scenario, totals

import paperclip_claude_k8s
from paperclip_claude_k8s.podlog import SourceInfo

PACKAGE = Path(paperclip_claude_k8s.__file__).parent
TEXT = (PACKAGE / "docs" / "log-following.md").read_text(encoding="utf-8")
OUTPUT = b"".join(b'{"n":%d}\n' % number for number in range(1, 7))


def seconds(time: int | None) -> float:
    """Seconds since the start of the example."""
    assert time is not None
    return (time - EPOCH * NANO) / NANO


async def run_example(file: MemoryRelayFile | None) -> Scenario:
    """The writes, the cut and the rotation of the example."""
    source_info = SourceInfo(nonce=NONCE, expected_totals=lambda: totals(OUTPUT), relay_file=file)
    scenario = Scenario(source_info=source_info)
    scenario.log.faults = [Fault("broken", after_seconds=8.2), *[Refusal()] * 50]
    async with scenario.running():
        for number, at in enumerate((7.9, 8.1, 8.1, 8.4, 9.0, 9.2)):
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            if at == 9.0:
                scenario.log.rotate()
            line = OUTPUT[number * 8 : number * 8 + 8]
            if file:
                file.content += line
            scenario.log.write(line)
        scenario.log.faults.clear()
        await asyncio.sleep(5)
    return scenario


@pytest.mark.looptime
async def test_document_example_with_relay_file_is_complete() -> None:
    scenario = await run_example(MemoryRelayFile())
    requests = [(request.since, request.follow) for request in scenario.log.requests if request.at > 9.2]
    overlap = (EPOCH + 6) * NANO
    assert requests == [(overlap, True), *[(overlap, False)] * 3, (None, True)]
    (filled,) = scenario.sink.filled()
    assert (seconds(filled.since), seconds(filled.until)) == pytest.approx((8.1, 9.0))
    assert (filled.bytes, filled.lines) == (8, 1)
    assert scenario.report
    assert (bytes(scenario.sink.out), scenario.report.complete) == (OUTPUT, True)


@pytest.mark.looptime
async def test_document_example_without_relay_file_reports_a_gap() -> None:
    scenario = await run_example(None)
    assert scenario.report
    (gap,) = scenario.report.gaps
    assert (seconds(gap.since), seconds(gap.until)) == pytest.approx((8.1, 9.0))
    assert (gap.bytes, gap.lines) == (8, 1)
    assert (len(scenario.sink.out), scenario.report.complete) == (40, False)


def test_files_named_in_document_exist() -> None:
    repository = PACKAGE.parent.parent
    for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|sh))`", TEXT):
        assert (PACKAGE / name).exists() or (repository / name).exists(), name


def test_names_in_document_exist_in_podlog() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "podlog").glob("*.py"))
    for name in re.findall(r"`([A-Z]\w+)(?:\.(\w+))?[`(]", TEXT):
        for part in filter(None, name):
            assert re.search(rf"\b{part}\b", sources), part
