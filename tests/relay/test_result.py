"""The run's result in the relay's summary: correct for every capture, and never taken from nested JSON."""

import asyncio
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.captures import CAPTURES
from tests.support.relay_shells import SHELLS, RelayRunner, relay_runner, summary

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.testing import CAPTURE_VERSIONS

FIXTURES = Path(__file__).parents[2] / "fixtures" / "claude"
CAPTURE_FILES = sorted(CAPTURES.glob("*/*.ndjson*"))
STREAMS = {
    case["name"]: case["stream"] for case in json.loads((FIXTURES / "streams.json").read_text("utf-8"))
}
Event = dict[str, Any]
NO_RESULT = (None, None, None, None)
"""`fields_of` a summary without a result."""
RESULT: Event = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "session_id": "5e55-10",
    "total_cost_usd": 0.25,
}
INIT = {"type": "system", "subtype": "init", "session_id": "5e55-10"}
ANSWER: Event = {"type": "assistant", "message": {"content": []}, "parent_tool_use_id": None}
OF_SUB_AGENT = ANSWER | {"parent_tool_use_id": "toolu_1"}


def line(event: Event) -> bytes:
    """The event as the CLI prints it."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def parse_line(raw: bytes) -> Event | None:
    """The event of a line, without anything before its first brace; None if it is not an event."""
    try:
        event = json.loads(raw[max(raw.find(b"{"), 0) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def is_init(event: Event) -> bool:
    return (event.get("type"), event.get("subtype")) == ("system", "init")


def is_answer(event: Event) -> bool:
    return event.get("type") == "assistant" and not event.get("parent_tool_use_id")


def final_result(output: bytes) -> Event | None:
    """The last result, unless an `init` or an answer of the main agent follows it: the rule of the relay."""
    final = None
    for event in filter(None, map(parse_line, output.split(b"\n"))):
        if event.get("type") == "result":
            final = event
        elif is_init(event) or is_answer(event):
            final = None
    return final


def expected_fields(result: Event | None) -> tuple[Any, ...]:
    """The value that `fields_of` must return for the summary of this result."""
    if result is None:
        return NO_RESULT
    return (result["session_id"], result.get("subtype"), result["is_error"], result["total_cost_usd"])


def fields_of(found: RelaySummary) -> tuple[Any, ...]:
    return (found.session_id, found.subtype, found.is_error, found.cost_usd)


async def summary_of(runner: RelayRunner, output: bytes) -> RelaySummary:
    """The relay's summary for an agent that prints this."""
    (runner.folder / "output").write_bytes(output)
    return summary(await runner.run("cat", str(runner.folder / "output")))


async def fields_in_all_shells(folder: Path, output: bytes) -> list[tuple[Any, ...]]:
    """The fields of the result in the relay's summary, under every shell."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(summary_of(relay_runner(name, folder / name), output)) for name in SHELLS]
    return [fields_of(task.result()) for task in tasks]


def read_capture(capture: Path) -> bytes:
    raw = capture.read_bytes()
    return gzip.decompress(raw) if capture.suffix == ".gz" else raw


@pytest.mark.parametrize("capture", CAPTURE_FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
async def test_summary_equals_what_the_parser_reads(capture: Path, tmp_path: Path) -> None:
    output = read_capture(capture)
    final = final_result(output)
    reader = StreamReader()
    reader.feed(output)
    if final is not None:
        assert reader.finish().result == orjson.loads(strict_json(final))
    assert set(await fields_in_all_shells(tmp_path, output)) == {expected_fields(final)}


@pytest.mark.parametrize("name", STREAMS)
async def test_summary_of_made_up_streams_has_the_final_result(name: str, tmp_path: Path) -> None:
    output = STREAMS[name].encode("utf-8", "surrogatepass")
    assert set(await fields_in_all_shells(tmp_path, output)) == {expected_fields(final_result(output))}


@dataclass(frozen=True, slots=True)
class Odd:
    """Output in which the fields of the result could easily be confused with others."""

    output: bytes
    is_final: bool = True
    """Whether the summary has the fields of `RESULT`; otherwise it has none."""


INNER = RESULT | {
    "is_error": True,
    "subtype": "error_max_turns",
    "session_id": "wrong",
    "total_cost_usd": 9,
}
"""A result inside of another event: its fields must not be taken for those of `RESULT`."""
ANSWERS, WHOLE = line(INIT) + line(ANSWER), line(RESULT)
DENIALS = [{"tool_name": "X", "tool_input": INNER}]
ODD = {
    "keys of a tool before": Odd(line({"permission_denials": DENIALS, **RESULT})),
    "keys of a tool after": Odd(line({**RESULT, "permission_denials": DENIALS})),
    "keys deeper": Odd(line({"a": [[{"b": {"c": [INNER, INNER]}}]], **RESULT, "z": {"y": [INNER]}})),
    "a result as a string": Odd(line({"result": line(INNER).decode(), **RESULT})),
    "a result as a key": Odd(line({line(INNER).decode(): 1, **RESULT})),
    "a result in a string of a string": Odd(line({"result": json.dumps(line(INNER).decode()), **RESULT})),
    "backslashes before quotes": Odd(line({"result": '\\"\\\\" \\\\\\', "a": '"type":"user"\\', **RESULT})),
    "type at the end": Odd(line(dict(reversed(RESULT.items())))),
    "a long text": Odd(line({"result": 'word "quoted" ' * 200_000, **RESULT})),
    "a long line of other things after": Odd(WHOLE + line({"type": "user", "message": "x" * 3_000_000})),
    "many lines after": Odd(WHOLE + line({"type": "system", "subtype": "status", "text": "y" * 99}) * 30_000),
    "a sub-agent's answer after": Odd(ANSWERS + WHOLE + line(OF_SUB_AGENT)),
    "an answer after": Odd(ANSWERS + WHOLE + line(ANSWER), is_final=False),
    "a turn after": Odd(ANSWERS + WHOLE + line(INIT), is_final=False),
    "an answer cut short after": Odd(ANSWERS + WHOLE + line(ANSWER)[:40], is_final=False),
    "a result in the model's text": Odd(line(ANSWER | {"message": line(RESULT).decode()}), is_final=False),
    "a result in a tool's input": Odd(
        line({"type": "assistant", "message": {"input": RESULT}}), is_final=False
    ),
    "a result of a tool": Odd(
        line({"type": "user", "message": line(RESULT).decode(), "x": RESULT}), is_final=False
    ),
    "a result in a list": Odd(line({"type": "user", "x": [RESULT]}), is_final=False),
    "a byte order mark": Odd(b"\xef\xbb\xbf" + WHOLE),
    "terminal controls before": Odd(ANSWERS + b"\x1b[?25h\x1b[0m" + WHOLE),
    "terminal controls after": Odd(ANSWERS + WHOLE[:-1] + b"\x1b[?25h\x1b[0m\n"),
    "a carriage return": Odd(ANSWERS + WHOLE[:-1] + b"\r\n"),
    "a word before": Odd(ANSWERS + b"done " + WHOLE),
    "a zero byte before": Odd(ANSWERS + b"\0" + WHOLE),
    "bytes that are not UTF-8": Odd(line({"a": "ab", **RESULT}).replace(b"ab", b"\xff\xfe")),
    "no newline": Odd(ANSWERS + WHOLE[:-1]),
    "no output": Odd(b"", is_final=False),
}


@pytest.mark.parametrize("name", ODD)
async def test_summary_is_not_misled_by_text_and_inner_keys(name: str, tmp_path: Path) -> None:
    odd = ODD[name]
    assert set(await fields_in_all_shells(tmp_path, odd.output)) == {
        expected_fields(RESULT if odd.is_final else None)
    }


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("version", CAPTURE_VERSIONS)
async def test_summary_without_a_complete_result_is_empty(version: str, part: float, tmp_path: Path) -> None:
    output = read_capture(CAPTURES / version / "02-tools-multiblock.ndjson")
    at = output.rstrip(b"\n").rfind(b"\n") + 1
    torn = output[: at + max(int((len(output) - 1 - at) * part), 1)]
    assert set(await fields_in_all_shells(tmp_path, torn)) == {NO_RESULT}


@pytest.mark.parametrize(
    ("output", "last"),
    [(WHOLE, "result"), (WHOLE + ANSWERS, "answer"), (ANSWERS + WHOLE + line(INIT), "init"), (b"hi\n", None)],
)
async def test_summary_names_the_last_event(runner: RelayRunner, output: bytes, last: str | None) -> None:
    assert (await summary_of(runner, output)).last == last


async def test_summary_omits_values_of_a_wrong_form_or_length(runner: RelayRunner) -> None:
    odd = RESULT | {"session_id": 'x","bytes":0', "subtype": "\u00e9", "total_cost_usd": "1"}
    assert fields_of(await summary_of(runner, line(odd))) == (None, None, False, None)
    long = RESULT | {"session_id": "x" * 5_000}
    assert fields_of(await summary_of(runner, line(long))) == (None, "success", False, 0.25)


async def test_result_without_is_error_is_no_error_in_the_summary(runner: RelayRunner) -> None:
    assert fields_of(await summary_of(runner, line({"type": "result", "session_id": "s"}))) == (
        "s",
        None,
        False,
        None,
    )


TEXT = st.text(st.sampled_from('"\\{}[],:a\n\x1bé') | st.sampled_from(["\u2028", "\ud7ff"]), max_size=12)
VALUE = st.recursive(
    st.none() | st.booleans() | st.floats(0, 9) | TEXT | st.sampled_from(["result", "assistant", "init"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.sampled_from(list(RESULT)), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event with anything in it, its keys in any order."""
    event = draw(st.sampled_from([RESULT, INIT, ANSWER, OF_SUB_AGENT, {"type": "user"}]))
    more = draw(st.dictionaries(TEXT, VALUE, max_size=4))
    keys = draw(st.permutations(list(event | more)))
    return line({key: (more | event)[key] for key in keys})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outputs=st.lists(st.lists(events(), max_size=5).map(b"".join), min_size=6, max_size=6))
async def test_summary_of_any_events_has_the_final_result(
    outputs: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(fields_in_all_shells(tmp_path_factory.mktemp("run"), output))
            for output in outputs
        ]
    for task, output in zip(tasks, outputs, strict=True):
        assert set(task.result()) == {expected_fields(final_result(output))}
