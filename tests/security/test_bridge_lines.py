"""A line to the bridge that is too long, too deep or no message does not affect a concurrent run."""

import json
import resource
import subprocess
import sys

import pytest
from tests.support.bridge import a_bridge, a_context
from tests.support.bridge_session import LOG_LINES, Json, StubAdapter, call_line, talk
from tests.support.cli_commands import SOURCE

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.base.strict_json import MAX_DEPTH
from paperclip_claude_k8s.bridge.redacting_formatter import MAX_TEXT_CHARS, RedactingFormatter, secrets_in
from paperclip_claude_k8s.bridge.wire import Call, read_message
from paperclip_claude_k8s.devcluster import DevCluster

RUN, HOSTILE, LAST = 1, 2, 3
"""Ids of calls: a run, a hostile call beside it, and a call whose response shows that all lines were read."""
START = b'{"type":"call","id":2,"method":"execute","params":'
MAX_BYTES, MAX_VALUES = Limits().bridge_line_bytes, Limits().bridge_line_values


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


MANY_LONG_KEYS = json.dumps({f"{number:05}{'_x' * 70}": 1 for number in range(99_000)}).encode()


HOSTILE_LINES = {
    "config nested 1,500 deep": START + b'{"ctx":{"config":' + nested(1500) + b"}}}",
    "agent.metadata nested 1,500 deep": START + b'{"ctx":{"agent":{"metadata":' + nested(1500) + b"}}}}",
    "params nested 100,000 deep": START + nested(100_000) + b"}",
    "lists nested just too deep": START + b'{"x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}}",
    "brackets that are never closed": START + b'{"x":' + b"[" * 200_000,
    "a line that is too long": START + b'{"ctx":"' + b"x" * MAX_BYTES + b'"}}',
    "a line of 64 MiB": START + b'{"ctx":"' + b"x" * 2**26 + b'"}}',
    "a million lists": START + b'{"x":[' + b"[]," * MAX_VALUES + b"[]]}}",
    "99,000 long keys": START + MANY_LONG_KEYS + b"}",
    "a number of 5,000 digits": START + b'{"x":' + b"9" * 5000 + b"}}",
    "an invalid byte": START + b'{"x":"\xff"}}',
    "a byte of zero": START + b'{"x":"\0"}}',
    "a line that breaks off": START + b'{"x":"',
    "params that are a list": START + b"[1]}",
    "no method": b'{"type":"call","id":2}',
    "an unknown method of 1 MB": b'{"type":"call","id":2,"method":"' + b"m" * 1_000_000 + b'"}',
    "a method of every Python object": b'{"type":"call","id":2,"method":"__class__"}',
    "no ctx": START + b"{}}",
    "fields in another order": b'{"params":{"ctx":[]},"method":"execute","id":2,"type":"call"}',
}


@pytest.mark.parametrize("line", HOSTILE_LINES.values(), ids=HOSTILE_LINES)
async def test_hostile_call_gets_one_error_and_a_concurrent_run_gets_none(line: bytes) -> None:
    host = await talk(
        StubAdapter(),
        call_line(RUN, "execute", ctx={"runId": "victim"}),
        line + b"\n",
        call_line(LAST, "models"),
        until=(RUN, HOSTILE, LAST),
    )
    (answer,) = host.responses(HOSTILE)
    assert answer["type"] == "error"
    assert len(answer["message"]) < 200
    _assert_run_was_served(host.responses(RUN), host.log(RUN))
    assert host.responses(LAST)[0]["type"] == "result"


def _assert_run_was_served(responses: list[Json], log: list[str]) -> None:
    (response,) = responses
    assert response["value"] == {"exitCode": 0, "runId": "victim"}
    assert log == [f"line {number}\n" for number in range(LOG_LINES)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"call","id":1,"method":"models"}',
        b'{"type":"call","id":1,"method":' + b"[" * 5000,
        b'{"type":"call","id":1}',
        b'{"type":"ack","id":1,"n":' + b"9" * 400 + b"}",
        b'{"type":"ack","id":1,"n":7000}',
        b'{"type":"ack","id":2,"n":1,"error":"no"}',
        b'{"type":"cancel","id":9007199254740993}',
        b'{"type":"leave","id":-1}',
        b'{"type":"hello","protocol":1,"version":"1"}',
        b"null",
        b"\x00\xff" * 100,
    ],
)
async def test_hostile_line_does_not_affect_the_run_before_it(line: bytes) -> None:
    run = call_line(RUN, "execute", ctx={"runId": "victim"})
    host = await talk(StubAdapter(), run + line + b"\n" + call_line(LAST, "models"), until=(RUN, LAST))
    _assert_run_was_served(host.responses(RUN), host.log(RUN))


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, {"a": 10**400}, {"a": float("nan")}, "\ud800"])
async def test_result_that_is_not_json_is_an_error_of_its_call_only(value: object) -> None:
    adapter = StubAdapter(lambda ctx: value if ctx["runId"] == "odd" else {"exitCode": 0, "runId": "victim"})
    odd = call_line(HOSTILE, "execute", ctx={"runId": "odd"})
    run = call_line(RUN, "execute", ctx={"runId": "victim"})
    host = await talk(adapter, run + odd, until=(RUN, HOSTILE))
    assert len(host.responses(HOSTILE)) == 1
    _assert_run_was_served(host.responses(RUN), host.log(RUN))


async def test_message_of_an_exception_is_cut() -> None:
    def fail(ctx: Json) -> object:
        raise RuntimeError("x" * 10_000_000)

    host = await talk(StubAdapter(fail), call_line(RUN, "execute", ctx={}), until=(RUN,))
    assert len(host.responses(RUN)[0]["message"]) <= 1000


async def test_line_of_64_mib_takes_bounded_memory_in_a_real_bridge() -> None:
    async with DevCluster.start() as cluster, a_bridge() as peer:
        ctx = a_context(cluster, "run-1", CLAUDE_LINE_DELAY="0.05")
        run = peer.call("execute", ctx=ctx)
        await peer.next_callback(run, "onLog", "init")
        hostile = peer.call("execute", ctx={"config": json.loads(nested(900))})
        peer.send_raw(b'{"type":"call","id":77,"method":"models","params":{"x":"' + b"x" * 2**26 + b'"}}\n')
        answers: dict[int, Json] = {}
        while len(answers) < 3:
            message = await peer.next()
            if message["type"] != "callback":
                answers[message["id"]] = message
        assert answers[run]["value"]["resultJson"]["log"]["complete"]
        assert "200 levels" in answers[hostile]["message"]
        assert "longer than" in answers[77]["message"]
        assert _peak_memory(peer.process.pid) < 200 * 2**20


def _peak_memory(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


READ_LARGEST_LINES = f"""
from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter
from paperclip_claude_k8s.bridge.wire import read_message
limits = Limits()
for piece in (b"[],", b"{{}},", b'{{"token":"t"}},', b"1,"):
    count = limits.bridge_line_values // sum(map(piece.count, (b",", b"[", b"{{"))) - 10
    line = {START!r} + b'{{"x":[' + piece * count + b"0]}}}}"
    RedactingFormatter().add_secrets_of(read_message(line).params)
"""
"""A program that reads, for each kind of value, the largest line that the limits allow."""


def test_largest_lines_are_read_within_600_mb() -> None:
    """The address space is limited; the interpreter with its libraries takes 150 MB of it."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20,) * 2)

    command = [sys.executable, "-c", READ_LARGEST_LINES]
    finished = subprocess.run(
        command, env={"PYTHONPATH": SOURCE}, preexec_fn=limit, capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr.decode()


def test_commas_and_brackets_inside_of_a_text_do_not_count_as_values() -> None:
    line = START + json.dumps({"ctx": 'a,b[c{d\\"' * MAX_VALUES}).encode() + b"}"
    message = read_message(line)
    assert isinstance(message, Call)
    assert message.id == HOSTILE


def test_secrets_of_deep_params_are_found_without_recursion() -> None:
    deep: object = {"token": "deep"}
    for _ in range(100_000):
        deep = [deep]
    assert list(secrets_in({"x": deep, "token": "flat"})) == [
        "flat",
        "flat",
        "deep",
        "deep",
    ]  # also without "Bearer "


def test_remembered_secrets_are_bounded_and_include_the_token_of_the_host() -> None:
    formatter = RedactingFormatter()
    for _ in range(300):
        env = {f"TOKEN_{number}": f"{number:06}" * 5000 for number in range(20)}
        formatter.add_secrets_of({"ctx": {"config": {"env": env}, "authToken": "token-of-the-host"}})
    assert "token-of-the-host" not in formatter.mask("cannot use token-of-the-host")
    assert sum(len(secret) for secrets in formatter._secrets for secret in secrets) < 60_000_000  # noqa: SLF001


def test_cut_text_ends_before_a_secret_that_it_would_split() -> None:
    formatter = RedactingFormatter()
    formatter.add_secrets_of({"authToken": "token-of-the-host"})
    assert "token" not in formatter.mask("x" * (MAX_TEXT_CHARS - 10) + " token-of-the-host " + "y" * 100)
