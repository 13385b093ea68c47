"""Whole runs of agents with hostile output: `execute` returns a result, and the host's log is complete."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import one_host
from tests.support.judged_output import assert_fields_known, assert_storable, result_line

from paperclip_claude_k8s.testing import HostLog, PodScript

pytestmark = pytest.mark.looptime
INIT = b'{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
OUTPUTS = {
    "huge cost": INIT + b'{"type":"result","subtype":"success","total_cost_usd":1%b}\n' % (b"0" * 400),
    "deep": INIT + b'{"type":"result","subtype":"success","usage":%b%b}\n' % (b"[" * 500, b"]" * 500),
    "NUL": INIT + b"a\0b\n" + result_line(result="a\0b\ud800", uuid="\0"),
    "control fields": INIT + result_line(executionCancellation={"state": "acknowledged"}, warnings=[1]),
    "large line": INIT + b"x" * 5_000_000 + b"\n" + result_line(),
    "line of several chunks": INIT + "€".encode() * 3_000_000 + b"\n" + result_line(),
    "session": INIT.replace(b'"s"', b'"--debug"') + result_line(session_id="--debug"),
    "bytes": bytes(range(256)) * 40 + b"\n" + result_line(),
}


def pod_script(output: bytes) -> PodScript:
    return PodScript(output=((0.5, output),), ends_at=2.0)


@pytest.mark.parametrize("name", OUTPUTS)
async def test_run_with_hostile_output_has_a_result(name: str, tmp_path: Path) -> None:
    async with one_host(tmp_path, pod_script(OUTPUTS[name])) as (_, run):
        result, host_log = await run()
    wire = result.to_wire()
    assert_storable(wire)
    assert_fields_known(wire)
    assert "errorCode" not in wire
    assert wire["resultJson"]["log"]["complete"] is not False  # None: no totals to compare with
    expected = OUTPUTS[name].decode("utf-8", "replace").replace("\0", "\ufffd")
    assert host_log.stdout == expected


async def test_on_meta_gets_a_storable_copy_of_an_odd_context(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(20):
        nested = [nested]
    context = {"taskId": "task-1", "note": "a\0b\ud800", "nested": nested}
    host_log = HostLog()
    async with one_host(tmp_path, pod_script(INIT + result_line())) as (_, run):
        result, _ = await run(host_log, context=context, onMeta=host_log.on_meta)
    assert result.error_code is None
    assert_storable(host_log.meta)
