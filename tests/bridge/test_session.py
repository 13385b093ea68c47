"""The bridge as a process: handshake, calls, concurrent runs, cancellation, and hosts that exit."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bridge import Peer, a_bridge, a_context
from tests.support.cli_commands import SOURCE
from tests.support.file_event import FileEvent

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.bridge.callbacks import WINDOW_BYTES
from paperclip_claude_k8s.bridge.wire import PROTOCOL, encode
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.labels import RUN_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.devcluster import DevCluster

RESULT = '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
LINE_COUNT = 40_000
PADDING = "x" * 60
LONG_OUTPUT = (
    f"i=0; while [ $i -lt {LINE_COUNT} ]; do echo line $i {PADDING}; i=$((i+1)); done; "
    f"printf '%s\\n' '{RESULT}'"
)
"""About 3 MB of output: eleven times what the bridge sends before it needs an acknowledgement."""


@pytest.fixture
async def cluster() -> AsyncIterator[DevCluster]:
    async with DevCluster.start() as running:
        yield running


async def jobs(cluster: DevCluster, run: str) -> list[JobSnapshot]:
    gateway = Gateway(str(cluster.kubeconfig))
    try:
        return list((await gateway.list_jobs(cluster.namespace, {RUN_LABEL: run})).items)
    finally:
        await gateway.close()


async def exchange_hellos(
    protocol: object, version: str = __version__
) -> tuple[list[dict[str, Any]], int, str]:
    """Send a hello and close stdin; return the messages received, the exit code, and stderr."""
    async with a_bridge(greet=False) as peer:
        peer.send({"type": "hello", "protocol": protocol, "version": version})
        responses = [await peer.next()]
        if protocol != PROTOCOL:
            responses.append(await peer.next())
        return responses, *(await peer.close_stdin())


async def test_handshake_reports_versions() -> None:
    (greeting,), code, err = await exchange_hellos(PROTOCOL, "0.0.9")
    assert (greeting["protocol"], greeting["version"]) == (PROTOCOL, __version__)
    assert greeting["python"].startswith("3.")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("protocol", [PROTOCOL + 1, "1", None])
async def test_handshake_with_another_protocol_names_both_versions(protocol: object) -> None:
    (greeting, refusal), code, err = await exchange_hellos(protocol, "9.9.9")
    assert greeting["protocol"] == PROTOCOL
    assert (refusal["kind"], refusal["id"]) == ("version", None)
    for word in ("9.9.9", __version__, "node-shim --out DIR"):
        assert word in refusal["message"]
        assert word in err
    assert code == 3


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b'{"type":"call","id":1,"method":"models"}\n'])
async def test_session_without_hello_is_refused(line: bytes) -> None:
    async with a_bridge(greet=False) as peer:
        peer.send_raw(line)
        refusal = await peer.next()
        assert refusal["kind"] == "protocol"
        assert "hello" in refusal["message"]
        assert (await peer.wait())[0] == 3


async def test_malformed_line_is_an_error_and_the_next_line_is_served() -> None:
    async with a_bridge() as peer:
        for line in (b"sk-not-json-but-secret\n", b"[]\n", b"\n", b'{"type":"ack","id":99,"n":1}\n'):
            peer.send_raw(line)
        call = peer.call("models")
        response = await peer.response(call)
        assert response["value"][0]["id"].startswith("claude-")
        errors = [message for message in peer.received if message["type"] == "error"]
        # for the first two lines; an empty line and an acknowledgement of an unknown call are ignored
        assert [(error["id"], error["kind"]) for error in errors] == [(None, "protocol")] * 2
        _, err = await peer.close_stdin()
        assert "sk-not-json" not in json.dumps(peer.received) + err


async def test_unfinished_last_line_is_ignored() -> None:
    async with a_bridge() as peer:
        peer.send_raw(b'{"type":"call","id":1,"meth')
        assert await peer.close_stdin() == (0, "")


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("fly", {}, "method"),
        ("execute", {}, "params"),
        ("execute", {"ctx": "no"}, "params"),
        ("syncSkills", {"ctx": {}}, "params"),
    ],
)
async def test_invalid_call_is_an_error_of_its_kind(method: str, params: Any, kind: str) -> None:
    async with a_bridge() as peer:
        response = await peer.response(peer.call(method, **params))
        assert (response["type"], response["kind"]) == ("error", kind)


async def test_every_method_except_execute_returns_a_result() -> None:
    async with a_bridge({"ANTHROPIC_MODEL": "claude-opus-5", "HOME": "/nonexistent"}) as peer:
        params_by_method: dict[str, dict[str, Any]] = {
            "models": {},
            "listModels": {},
            "refreshModels": {},
            "detectModel": {},
            "getConfigSchema": {},
            "getQuotaWindows": {},
            "listSkills": {"ctx": {"agentId": "a", "config": {}}},
            "syncSkills": {"ctx": {"agentId": "a", "config": {}}, "desired": ["x"]},
            "testEnvironment": {"ctx": {"config": {"kubeconfig": "/nowhere", "image": "i"}}},
            "sessionCodec.deserialize": {"value": {"session_id": " s ", "folder": "/w"}},
            "sessionCodec.getDisplayId": {"value": {"sessionId": "s"}},
            "sessionCodec.serialize": {"value": None},
        }
        calls = {method: peer.call(method, **params) for method, params in params_by_method.items()}
        values: dict[int, Any] = {}
        while len(values) < len(calls):
            message = await peer.next()
            assert message["type"] == "result", message
            values[message["id"]] = message["value"]
        responses = {method: values[call] for method, call in calls.items()}
        assert responses["models"] == responses["listModels"] == responses["refreshModels"]
        assert responses["detectModel"]["model"] == "claude-opus-5"
        assert "image" in [field["key"] for field in responses["getConfigSchema"]["fields"]]
        assert responses["getQuotaWindows"]["provider"] == "anthropic"
        assert responses["listSkills"]["mode"] == "ephemeral"
        assert responses["syncSkills"]["desiredSkills"] == ["x"]
        assert responses["testEnvironment"]["status"] == "fail"
        assert responses["sessionCodec.deserialize"] == {"sessionId": "s", "cwd": "/w"}
        assert responses["sessionCodec.getDisplayId"] == "s"
        assert responses["sessionCodec.serialize"] is None


async def test_two_concurrent_runs_have_separate_callbacks(cluster: DevCluster) -> None:
    async with a_bridge() as peer:
        ada = peer.call("execute", ctx=a_context(cluster, "run-1", "ada", CLAUDE_LINE_DELAY="0.05"))
        bob = peer.call("execute", ctx=a_context(cluster, "run-2", "bob", CLAUDE_LINE_DELAY="0.05"))
        responses: dict[int, Any] = {}
        while len(responses) < 2:
            message = await peer.next()
            if message["type"] != "callback":
                responses[message["id"]] = message
        sessions = {responses[call]["value"]["sessionId"] for call in (ada, bob)}
        assert len(sessions) == 2
        for call in (ada, bob):
            assert responses[call]["value"]["exitCode"] == 0
            numbers = [
                message["n"]
                for message in peer.received
                if message["type"] == "callback" and message["id"] == call
            ]
            assert numbers == list(range(1, len(numbers) + 1))
            assert responses[call]["value"]["sessionId"] in peer.stdout_of(call)
            assert len(peer.callbacks(call, "onDispatch")) == 1
            assert peer.callbacks(call, "onRuntimeProgress")
            assert peer.callbacks(call, "onSpawn") == []
            assert "keepalive" not in json.dumps(peer.callbacks(call, "onLog"))
        first_bob = next(i for i, m in enumerate(peer.received) if m.get("id") == bob)
        last_ada = max(i for i, m in enumerate(peer.received) if m.get("id") == ada)
        assert first_bob < last_ada, "the runs must overlap"


async def test_run_without_acknowledgements_waits_but_other_calls_do_not(cluster: DevCluster) -> None:
    async with a_bridge() as peer:
        slow_call = peer.call("execute", ctx=a_context(cluster, "run-1", "ada", CLAUDE_SCRIPT=LONG_OUTPUT))
        await peer.next_callback(slow_call, "onLog", "line 0 ")
        peer.acknowledges = False
        unacknowledged: list[dict[str, Any]] = []
        while sum(sizes := [len(encode(message)) for message in unacknowledged]) < WINDOW_BYTES:
            unacknowledged.append(await peer.next())
        await _assert_no_message(peer)
        assert sum(sizes[:-1]) < WINDOW_BYTES <= sum(sizes)
        assert "value" in await peer.response(peer.call("models"))
        peer.acknowledges = True
        for message in unacknowledged:
            peer.acknowledge(message)
        response = await peer.response(slow_call)
        assert response["value"]["exitCode"] == 0
        lines = peer.stdout_of(slow_call).splitlines()
        assert [line.split()[1] for line in lines[:-1]] == [str(n) for n in range(LINE_COUNT)]
        assert response["value"]["resultJson"]["log"]["complete"]


async def _assert_no_message(peer: Peer) -> None:
    """Assert that no message comes for a second."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await peer.next()


@pytest.mark.parametrize("late", [False, True], ids=["before the last callback", "after the last callback"])
async def test_chunk_that_the_host_refuses_makes_the_log_incomplete(
    cluster: DevCluster,
    late: bool,  # noqa: FBT001
) -> None:
    """`late`: the host refuses the chunk after the last callback, so no callback can raise the refusal."""
    async with a_bridge() as peer:
        peer.acknowledges = False
        call = peer.call("execute", ctx=a_context(cluster, "run-1"))
        unacknowledged: list[dict[str, Any]] = []
        while (message := await peer.next())["type"] == "callback":
            if not (message["name"] == "onLog" and '"type":"result"' in message["args"][1]):
                peer.acknowledge(message)
                continue
            unacknowledged.append(message)
            if late:
                await _read_until_quiet(peer, unacknowledged)
            peer.send({"type": "ack", "id": call, "n": unacknowledged[0]["n"], "error": "its disk is full"})
            for other in unacknowledged[1:]:
                peer.acknowledge(other)
        assert unacknowledged
        log = message["value"]["resultJson"]["log"]
        assert (log["complete"], log["hostFailures"]) == (False, 1)
        assert "its disk is full" in log["firstHostError"]
        assert message["value"]["exitCode"] == 0


async def _read_until_quiet(peer: Peer, unacknowledged: list[dict[str, Any]]) -> None:
    """Add messages to `unacknowledged` until none has come for a second."""
    while True:
        try:
            async with asyncio.timeout(1):
                unacknowledged.append(await peer.next())
        except TimeoutError:
            return


async def test_cancel_stops_the_agent_and_deletes_the_job(cluster: DevCluster) -> None:
    async with a_bridge() as peer:
        call = peer.call("execute", ctx=a_context(cluster, "run-1", CLAUDE_SLEEP="300"))
        await peer.next_callback(call, "onLog", "result")
        peer.send({"type": "cancel", "id": call, "reason": "Cancelled by a person"})
        value = (await peer.response(call))["value"]
        assert value["errorCode"] == "cancelled"
        assert value["resultJson"]["executionCancellation"]["state"] == "acknowledged"
        assert await jobs(cluster, "run-1") == []


async def test_run_that_is_cancelled_at_once_is_not_started(cluster: DevCluster) -> None:
    async with a_bridge() as peer:
        call = peer.call("execute", ctx=a_context(cluster, "run-1"))
        peer.send({"type": "cancel", "id": call})
        value = (await peer.response(call))["value"]
        assert value["errorCode"] == "cancelled"
        assert peer.callbacks(call, "onDispatch") == []


@pytest.mark.parametrize("stopped_by", ["closed pipe", "SIGTERM"])
async def test_job_of_a_stopped_bridge_is_adopted_by_the_next_bridge(
    cluster: DevCluster, stopped_by: str, tmp_path: Path
) -> None:
    adopted = FileEvent.in_folder(tmp_path)
    init = '{"type":"system","subtype":"init","session_id":"s"}'
    script = f"echo '{init}'; {adopted.wait_command}; echo '{RESULT}'"
    async with a_bridge() as peer:
        call = peer.call("execute", ctx=a_context(cluster, "run-1", CLAUDE_SCRIPT=script))
        await peer.next_callback(call, "onLog", "init")
        if stopped_by == "SIGTERM":
            peer.terminate()
            response = await peer.response(call)
            assert (response["type"], response["kind"]) == ("error", "shutdown")
            assert "shutting down; the next one adopts it" in json.dumps(peer.callbacks(call, "onLog"))
            assert (await peer.wait())[0] == -signal.SIGTERM
        else:
            assert (await peer.close_stdin())[0] == 0
    (job,) = await jobs(cluster, "run-1")
    assert not job.finished
    async with a_bridge() as successor:
        call = successor.call("execute", ctx=a_context(cluster, "run-2") | {"context": _same_task()})
        await successor.next_callback(call, "onLog", job.ref.name)
        adopted.set()
        value = (await successor.response(call))["value"]
        assert value["exitCode"] == 0
        assert successor.stdout_of(call).count('"subtype":"init"') == 1
    assert await jobs(cluster, "run-2") == []


def _same_task() -> dict[str, Any]:
    """Return a context with the task of the agent `ada`, as in `a_context`."""
    return {"taskId": "task-of-ada", "paperclipTaskMarkdown": "Say hello."}


async def test_no_secret_from_host_errors_is_on_stderr_or_in_a_message(cluster: DevCluster) -> None:
    canaries = {"auth": "canary-auth-5f2c8e", "env": "canary-env-5f2c8e", "mcp": "canary-mcp-5f2c8e"}
    ctx = a_context(cluster, "run-1", MY_TOKEN=canaries["env"]) | {
        "authToken": canaries["auth"],
        "runtimeMcp": {"servers": [{"name": "a", "url": "http://mcp", "token": canaries["mcp"]}]},
    }
    async with a_bridge() as peer:
        peer.acknowledges = False
        call = peer.call("execute", ctx=ctx)
        while (message := await peer.next())["type"] == "callback":
            error = {"error": f"cannot take {' '.join(canaries.values())}"}
            peer.send({"type": "ack", "id": call, "n": message["n"], **error})
        assert message["value"]["exitCode"] == 0
        peer.call("execute", ctx={**ctx, "agent": {"id": canaries["auth"]}, "config": {"image": 7}})
        _, err = await peer.close_stdin()
        assert "onLog" in err
        for canary in canaries.values():
            assert canary not in err
            assert canary not in json.dumps(peer.received)


NOISY_MODULE = """
import os, threading, time
def noise():
    while os.fstat(1).st_ino != os.fstat(2).st_ino:
        time.sleep(0.01)
    print("noise", flush=True)
    os.write(1, b"noise")
threading.Thread(target=noise).start()
"""
"""As soon as stdout is a copy of stderr, prints twice: with `print` and to file descriptor 1."""


async def test_other_output_to_stdout_goes_to_stderr(tmp_path: Path) -> None:
    """Python imports the noisy module when it starts, because the module is named `sitecustomize`."""
    (tmp_path / "sitecustomize.py").write_text(NOISY_MODULE, encoding="utf-8")
    async with a_bridge({"PYTHONPATH": f"{tmp_path}:{SOURCE}"}) as peer:
        await asyncio.sleep(0.2)
        await peer.response(peer.call("models"))
        assert {message["type"] for message in peer.received} == {"hello", "result"}
        _, err = await peer.close_stdin()
        assert err.count("noise") == 2
