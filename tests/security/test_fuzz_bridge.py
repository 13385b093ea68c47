"""Whatever bytes a host sends, each valid call gets a response, and a concurrent run is unaffected."""

import asyncio
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.any_json import ODD_JSON
from tests.support.bridge_session import LOG_LINES, StubAdapter, call_line, talk
from tests.support.fuzzing import FUZZ

from paperclip_claude_k8s.base.strict_json import is_too_deep
from paperclip_claude_k8s.bridge.methods import METHODS

RUN, LAST = 1_000_001, 1_000_002
"""Ids of two calls: a run, and the last call."""
IDS = st.integers(-2, 5)
DEEP = st.builds(
    lambda levels, left, right: left * levels + "1" + right * levels,
    st.integers(1, 3000),
    st.sampled_from(["[", '{"a":', '{"token":[']),
    st.sampled_from(["]", "}", "]}", ""]),
)
CALLS = st.fixed_dictionaries(
    {"type": st.just("call")},
    optional={
        "id": IDS | st.just(RUN) | ODD_JSON,
        "method": st.sampled_from(sorted(METHODS)) | st.text(),
        "params": st.dictionaries(st.sampled_from(["ctx", "desired", "value"]), ODD_JSON) | ODD_JSON,
    },
)
# A real cancel, leave or acknowledgement of the run would affect it, so these have other ids.
OTHERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ack", "cancel", "leave", "hello"])},
    optional={"id": IDS, "n": IDS | ODD_JSON, "error": ODD_JSON, "reason": ODD_JSON, "protocol": ODD_JSON},
)


def _as_line(message: object) -> bytes:
    return json.dumps(message).encode()


def _start_of_call(call: int) -> bytes:
    return b'{"type":"call","id":%d,"method":"models","params":' % call


@st.composite
def _broken(draw: st.DrawFn) -> bytes:
    """A message, cut off or with bytes exchanged."""
    line = draw((CALLS | OTHERS).map(_as_line))
    at, length = draw(st.integers(0, len(line))), draw(st.integers(0, 5))
    return line[:at] + draw(st.binary(max_size=5)) + line[at + length :]


LINES = st.lists(
    st.one_of(
        st.binary(max_size=200),
        (CALLS | OTHERS | ODD_JSON).map(_as_line),
        _broken(),
        DEEP.map(str.encode),
        st.builds(lambda call, deep: call + deep.encode() + b"}", IDS.map(_start_of_call), DEEP),
    ).map(lambda line: line.replace(b"\n", b" ")),
    max_size=12,
)


@FUZZ
@given(LINES)
@example([_start_of_call(3) + b'{"a":' * 1500 + b"1" + b"}" * 1501])
@example([_start_of_call(3) + b"{}}", b'{"type":"leave","id":3}'])
@example([b'{"type":"call","id":1e400,"method":"models"}', b"[]", b'{"type":"ack","id":1,"n":null}'])
def test_any_lines_do_not_affect_a_concurrent_run(lines: list[bytes]) -> None:
    # Reading continues in order, so a response to LAST means that every line before it was read.
    expected = {call for line in lines if (call := _id_of_valid_call(line)) is not None} - {RUN, LAST}
    host = asyncio.run(
        talk(
            StubAdapter(),
            call_line(RUN, "execute", ctx={"runId": "victim"}),
            b"".join(line + b"\n" for line in lines if not _affects(RUN, line)),
            call_line(LAST, "models"),
            until=(RUN, LAST, *expected),
        )
    )
    assert host.responses(RUN)[0]["value"] == {"exitCode": 0, "runId": "victim"}
    # a later call with the id of the run can add lines
    assert host.log(RUN)[:LOG_LINES] == [f"line {number}\n" for number in range(LOG_LINES)]
    for call in expected:  # each line with this id may be a call of its own
        lines_with_id = sum(str(call).encode() in line for line in lines)
        assert 1 <= len(host.responses(call)) <= lines_with_id


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _id_of_valid_call(line: bytes) -> int | None:
    given = _parsed(line)
    call, method, params = given.get("id"), given.get("method"), given.get("params", {})
    is_valid = (
        given.get("type") == "call"
        and isinstance(call, int)
        and not isinstance(call, bool)
        and abs(call) <= 2**53
        and isinstance(method, str)
        and method != ""
        and isinstance(params, dict)
        and not is_too_deep(given)
    )
    return call if is_valid else None


def _affects(run: int, line: bytes) -> bool:
    """Whether the line is a valid message that affects the run or the last call."""
    given = _parsed(line)
    return given.get("type") in {"ack", "cancel", "leave"} and given.get("id") in {run, LAST}
