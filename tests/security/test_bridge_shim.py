"""The adapter's npm package (shim) in a Node host: hostile contexts and callbacks affect no other run."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.bridge import a_context
from tests.support.node import node_host, warnings_in

from paperclip_claude_k8s.bridge.package import write_package
from paperclip_claude_k8s.devcluster import DevCluster


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    write_package(tmp_path / "shim", sys.executable)
    return tmp_path / "shim"


NESTED = "let deep = 1; for (let i = 0; i < {levels}; i++) deep = {{a: deep}}; "
HOSTILE_CONTEXTS = {  # name → JavaScript that changes the context, and words of the error
    "config nested 1,500 deep": (NESTED.format(levels=1500) + "ctx.config = deep;", "nested deeper than"),
    "metadata nested 1,500 deep": (
        NESTED.format(levels=1500) + "ctx.agent.metadata = deep;",
        "nested deeper",
    ),
    "nested 100,000 deep": (
        NESTED.format(levels=100_000) + "ctx.context.x = deep;",
        "cannot be written as JSON",
    ),
    "a cycle": ("ctx.agent.self = ctx.agent;", "circular"),
    "a BigInt": ("ctx.config.maxTurnsPerRun = 10n;", "BigInt"),
    "a getter that throws": (
        "ctx.config = {get image() { throw new Error('no image'); }};",
        "no image",
    ),
    "a getter that throws null": (
        "Object.defineProperty(ctx, 'config', {get() { throw null; }});",
        "cannot be read",
    ),
    "a getter that throws an object without a text": (
        "Object.defineProperty(ctx, 'agent', {get() { throw Object.create(null); }});",
        "without a readable text",
    ),
    "a toJSON that throws": ("ctx.agent.toJSON = () => { throw new Error('no JSON'); };", "no JSON"),
    "a toJSON that returns text": ("ctx.agent.toJSON = () => 'text';", "agent"),
    "a config that is a function": ("ctx.config = () => {};", "Invalid configuration"),
    "a context that is too long": ("ctx.context.x = 'x'.repeat(20_000_000);", "bytes as JSON"),
    "a Buffer of 10 MB": ("ctx.context.x = Buffer.alloc(10_000_000);", "bytes as JSON"),
    "300,000 values": ("ctx.context.x = Array(300_000).fill(0);", "commas and brackets"),
    "getServers that throws": (
        "ctx.runtimeMcp.getServers = () => { throw new TypeError('no servers'); };",
        "no servers",
    ),
    "a signal that throws": ("ctx.signal = {get aborted() { throw new Error('no signal'); }};", "no signal"),
}
ODD_BUT_HARMLESS = """
ctx.agent.metadata = {
  date: new Date(0), none: undefined, fn() {}, [Symbol('s')]: 1, list: [undefined, Symbol('s')],
  map: new Map([[1, 2]]), buffer: Buffer.from('x'), nan: NaN,
  surrogate: '\\ud800', zero: '\\0', line: '\\u2028',
  ['__proto__']: {polluted: true}, constructor: 'c'};
"""


async def test_runs_with_hostile_contexts_fail_and_another_run_succeeds(
    shim: Path, dev_cluster: DevCluster
) -> None:
    """All hostile runs are started at once, beside a harmless run that lasts longer."""
    victim = {
        "name": "victim",
        "method": "execute",
        "ctx": a_context(dev_cluster, "run-0", CLAUDE_LINE_DELAY="0.1"),
    }
    hostile = [
        {
            "name": name,
            "method": "execute",
            "ctx": a_context(dev_cluster, f"run-{name}", agent="eve"),
            "change": change,
        }
        for name, (change, _) in HOSTILE_CONTEXTS.items()
    ]
    outcome, _ = await node_host(shim, [[victim, *hostile]])
    results = outcome["results"]
    _assert_succeeded(results["victim"])
    for name, (_, words) in HOSTILE_CONTEXTS.items():
        result = results[name]
        assert words in result["errorMessage"], name
        assert len(result["errorMessage"]) < 1000, name
        assert result["errorCode"] in {"adapter_failed", "k8s_config_invalid", "k8s_context_invalid"}, name
        assert result["executionRecovery"]["providerWorkStarted"] is False, name


def _assert_succeeded(result: dict[str, Any]) -> None:
    assert result["exitCode"] == 0, result
    assert result["resultJson"]["log"]["complete"] is True


async def test_odd_but_harmless_values_do_not_fail_a_run(shim: Path, dev_cluster: DevCluster) -> None:
    step = {
        "name": "odd",
        "method": "execute",
        "ctx": a_context(dev_cluster, "run-1"),
        "change": ODD_BUT_HARMLESS,
    }
    outcome, err = await node_host(shim, [step])
    _assert_succeeded(outcome["results"]["odd"])
    assert warnings_in(err) == []


HOSTILE_CALLBACKS = {  # what `onLog` does → JavaScript that replaces it
    "throws null": "ctx.onLog = () => { throw null; };",
    "throws an object without a text": "ctx.onLog = async () => { throw Object.create(null); };",
    "throws a message that throws": (
        "ctx.onLog = () => { const e = new Error(); "
        "Object.defineProperty(e, 'message', {get() { throw 1; }}); throw e; };"
    ),
    "rejects with a message of 50 MB": "ctx.onLog = async () => { throw Error('x'.repeat(50_000_000)); };",
    "returns a thenable that throws": "ctx.onLog = () => ({then() { throw new Error('then'); }});",
}


async def test_hostile_callbacks_are_counted_in_their_own_runs_only(
    shim: Path, dev_cluster: DevCluster
) -> None:
    victim = {"name": "victim", "method": "execute", "ctx": a_context(dev_cluster, "run-0")}
    hostile = [
        {
            "name": name,
            "method": "execute",
            "ctx": a_context(dev_cluster, f"run-{number}", agent=f"eve-{number}"),
            "change": change,
        }
        for number, (name, change) in enumerate(HOSTILE_CALLBACKS.items(), 1)
    ]
    outcome, _ = await node_host(shim, [[victim, *hostile]])
    _assert_succeeded(outcome["results"]["victim"])
    for name in HOSTILE_CALLBACKS:
        result = outcome["results"][name]
        assert result["exitCode"] == 0, name
        assert result["resultJson"]["log"]["hostFailures"] > 0, name
        assert len(str(result["resultJson"]["log"]["firstHostError"])) < 1000, name


async def test_callback_that_never_ends_holds_back_its_own_run_only(
    shim: Path, dev_cluster: DevCluster
) -> None:
    stuck = {
        "name": "stuck",
        "method": "execute",
        "ctx": a_context(dev_cluster, "run-1", agent="eve"),
        "change": "ctx.onLog = () => new Promise(() => {});",
        "background": True,
    }
    victim = {"name": "victim", "method": "execute", "ctx": a_context(dev_cluster, "run-0")}
    last = {"name": "last", "method": "listModels"}
    outcome, _ = await node_host(shim, [stuck, victim, last])
    _assert_succeeded(outcome["results"]["victim"])
    assert outcome["results"]["last"]


@pytest.mark.parametrize(
    "reason", ["null", "Object.create(null)", "{get message() { throw 1; }}", "Symbol('s')"]
)
async def test_stop_with_an_odd_reason_stops_the_run(
    shim: Path, dev_cluster: DevCluster, reason: str
) -> None:
    change = (
        "const stop = new AbortController(); ctx.signal = stop.signal; const log = ctx.onLog; "
        "ctx.onLog = async (stream, chunk) => { await log(stream, chunk); "
        f"if (stream === 'stdout') stop.abort({reason}); }};"
    )
    ctx = a_context(dev_cluster, "run-1", CLAUDE_SLEEP="300")
    outcome, _ = await node_host(
        shim, [{"name": "stopped", "method": "execute", "ctx": ctx, "change": change}]
    )
    assert outcome["results"]["stopped"]["errorCode"] == "cancelled"


@pytest.mark.parametrize("method", ["testEnvironment", "listSkills", "syncSkills"])
async def test_other_methods_report_contexts_that_are_no_json(shim: Path, method: str) -> None:
    cycle = {"name": "cycle", "method": method, "ctx": {"config": {}}, "change": "ctx.config.self = ctx;"}
    getter = "Object.defineProperty(ctx, 'x', {enumerable: true, get() { throw null; }});"
    throws = {"name": "throws", "method": method, "ctx": {"config": {}}, "change": getter}
    outcome, _ = await node_host(shim, [cycle, throws])
    for name, words in (("cycle", "circular"), ("throws", "cannot be read")):
        result = outcome["results"][name]
        message = result["checks"][0]["message"] if method == "testEnvironment" else result["warnings"][0]
        assert words in message


@pytest.mark.parametrize("noise", ["null", "3", '"text"', "[]", "[null]", "{}", "\\377\\376"])
async def test_noise_before_the_hello_message_is_ignored(shim: Path, tmp_path: Path, noise: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nprintf '{noise}\\n'\nexec {sys.executable} \"$@\"\n", encoding="utf-8")
    python.chmod(0o755)
    env = {"CLAUDE_K8S_PYTHON": str(python), "ANTHROPIC_MODEL": "m"}
    outcome, err = await node_host(shim, [{"name": "model", "method": "detectModel"}], env)
    assert outcome["results"]["model"]["model"] == "m"
    assert warnings_in(err) == []


STARTS_LIKE_THE_BRIDGE = (
    '#!/bin/sh\nread -r hello; echo \'{"type":"hello","protocol":1,"version":"1"}\'; read -r call\n'
)
"""Beginning of a script that runs in place of Python: exchanges hello messages, and reads one call."""


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"error","id":null,"kind":"protocol","message":"what?"}',
        "null",
        "[[[",
        '{"type":"result"',
    ],
)
async def test_line_that_belongs_to_no_call_fails_the_open_run(shim: Path, tmp_path: Path, line: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"{STARTS_LIKE_THE_BRIDGE}echo '{line}'; exec sleep 60\n", encoding="utf-8")
    python.chmod(0o755)
    ctx = {"runId": "r", "agent": {"id": "a"}, "runtime": {}, "config": {}, "context": {}}
    step = {"name": "run", "method": "execute", "ctx": ctx}
    outcome, _ = await node_host(shim, [step], {"CLAUDE_K8S_PYTHON": str(python)})
    assert outcome["results"]["run"]["errorCode"] == "k8s_bridge_lost"
