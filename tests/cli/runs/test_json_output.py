"""Replies, result files and records are strict JSON, whatever text they contain."""

import io
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from tests.support.any_json import ANY_TEXT, ODD_JSON

from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.cli.entry import print_reply
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.state import RunFiles, State
from paperclip_claude_k8s.host.result import ExecutionResult


def printed(reply: dict[str, Any]) -> bytes:
    stdout, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        print_reply(reply)
        sys.stdout.flush()
        return sys.stdout.buffer.getvalue()  # type: ignore[no-any-return]
    finally:
        sys.stdout = stdout


@given(ANY_TEXT, ODD_JSON)
@settings(max_examples=100)
def test_reply_and_result_file_are_strict_json(
    tmp_path_factory: pytest.TempPathFactory, text: str, value: Any
) -> None:
    reply = {"status": "succeeded", "result": {"summary": text, "resultJson": {text: value}}}
    assert orjson.loads(printed(reply)) == strict_copy(reply)
    folder = tmp_path_factory.mktemp("run")
    Output(folder / "out", RunFiles(folder)).finish(reply)
    assert orjson.loads((folder / "out" / "result.json").read_bytes()) == strict_copy(reply)


@given(ANY_TEXT)
@settings(max_examples=50)
def test_record_is_strict_json_and_can_be_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    state = State(tmp_path_factory.mktemp("state"))
    request = {"agent": {"id": "ada"}, "runtime": {}, "config": {}, "context": {"prompt": text}}
    state.write(Record("r1", "2026-11-21T10:00:00.000Z", request))
    written = orjson.loads(state.files("r1").record.read_bytes())
    assert written["request"]["context"]["prompt"] == strict_copy(text)
    assert state.read("r1").request["context"]["prompt"] == strict_copy(text)


@given(ANY_TEXT, ODD_JSON)
def test_result_for_a_host_is_strict_json(text: str, value: Any) -> None:
    wire = ExecutionResult(summary=text, result_json={"x": value}).to_wire()
    assert orjson.loads(orjson.dumps(wire)) == wire
