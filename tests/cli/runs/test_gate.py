"""The quota gate (seed 000): asked once before a new run, and what becomes of its answers."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import Desk
from tests.support.quota_service import Gate, quota_gate

from paperclip_claude_k8s.cli.runs import quota_gate as gates
from paperclip_claude_k8s.cli.runs.quota_gate import Told, ask, refusal
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.devcluster import DevCluster


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with quota_gate() as gate:
        yield gate


@pytest.fixture
def desk(tmp_path: Path, gate: Gate) -> Desk:
    """An operator whose cluster cannot be reached: what is refused before needs none."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig), encoding="utf-8")
    configure(tmp_path, gate, {"kubeconfig": str(tmp_path / "kubeconfig"), "image": "x"})
    return Desk(tmp_path)


def configure(folder: Path, gate: Gate, config: dict[str, Any]) -> None:
    settings = {"quotaGateUrl": gate.url, **config}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")


def new_run(desk: Desk) -> list[str]:
    return ["run", "-q", "-p", "Go.", "--config", str(desk.folder / "config.json")]


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ('{"code": 60001, "detail": "join"}', 60001, "membership_required"),
        ('{"code": 60002, "msg": "pay"}', 60002, "credit_required"),
        ('{"code": "60002", "message": "pay"}', 60002, "credit_required"),
        ('{"meta": {"code": 60001, "msg": "join"}}', 60001, "membership_required"),
        ('{"code": 7, "detail": "odd"}', 7, "consume_param_error"),
        ('{"code": "E_QUOTA", "detail": "odd"}', -1, "consume_param_error"),
        ('{"code": null}', -1, "consume_param_error"),
        ('{"code": true}', -1, "consume_param_error"),
        ('{"code": 1.5}', -1, "consume_param_error"),
    ],
)
def test_seed_000_each_code_has_its_error(body: str, code: int, error: str) -> None:
    stop = refusal(Told(200, body.encode()))
    assert stop is not None
    assert (stop.error, stop.more["api_code"]) == (error, code)
    assert stop.more["failure_stage"] == "consume_quota"
    assert stop.more["agent_instruction"]


@pytest.mark.parametrize(
    "body",
    [
        '{"code": 0}',
        '{"code": "0"}',
        '{"code": -0}',
        '{"meta": {"code": 0}}',
        '{"code": 0, "meta": {"code": 0}}',
    ],
)
def test_only_an_explicit_code_0_lets_the_run_through(body: str) -> None:
    assert refusal(Told(200, body.encode())) is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{}",
        "[]",
        "0",
        "null",
        '"ok"',
        '[{"code": 0}]',
        "<html><body>Sign in</body></html>",
        "\xff\xfe",
        "[" * 60_000,
        '{"code": 0',
        '{"error": "no such route"}',
        '{"status": "ok"}',
        '{"ok": true}',
        '{"Code": 0}',
        '{"data": {"code": 0}}',
        '{"meta": {}}',
        '{"meta": 0}',
        '{"code": null}',
        '{"code": false}',
        '{"code": true}',
        '{"code": 0.0}',
        '{"code": ""}',
        '{"code": "zero"}',
        '{"code": "0.0"}',
        '{"code": [0]}',
        '{"code": {"code": 0}}',
        '{"code": NaN}',
    ],
)
@pytest.mark.parametrize("status", [200, 204])
def test_any_other_good_answer_is_a_refusal_without_a_number(status: int, body: str) -> None:
    stop = refusal(Told(status, body.encode("latin-1")))
    assert stop is not None
    assert (stop.error, stop.more["api_code"]) == ("consume_param_error", -1)
    assert stop.detail


@pytest.mark.parametrize(
    "body", ['{"code": 60001, "meta": {"code": 0}}', '{"code": 0, "meta": {"code": 60001}}']
)
def test_of_two_codes_the_one_that_refuses_counts(body: str) -> None:
    stop = refusal(Told(200, body.encode()))
    assert stop is not None
    assert (stop.error, stop.more["api_code"]) == ("membership_required", 60001)


def test_an_answer_without_a_code_says_what_is_missing() -> None:
    stop = refusal(Told(200, b"<html>"))
    assert stop is not None
    assert stop.detail == (
        "the quota gate answered HTTP 200 without a code, and only an explicit code 0 lets a run through"
    )
    named = refusal(Told(200, b'{"error": "no such route"}'))
    assert named is not None
    assert named.detail == "no such route"


@pytest.mark.parametrize("status", [302, 403, 500, None])
def test_anything_but_a_good_answer_is_a_refusal(status: int | None) -> None:
    stop = refusal(Told(status, b'{"code": 0}'))
    assert stop is not None
    assert stop.error == "consume_param_error"


@pytest.mark.parametrize(
    ("detail", "url"),
    [
        ("Upgrade at https://pay.example/plan?a=1&b=2. Thanks", "https://pay.example/plan?a=1&b=2"),
        ("请前往https://pay.example/会员 购买", "https://pay.example/"),
        ("See (https://pay.example/x)", "https://pay.example/x"),
        ("http://pay.example is no safe link", None),
        ("no link", None),
    ],
)
def test_seed_000_a_link_in_the_detail_is_the_pricing_url(detail: str, url: str | None) -> None:
    stop = refusal(Told(200, json.dumps({"code": 60001, "detail": detail}).encode()))
    assert stop is not None
    assert stop.more.get("pricing_url") == url
    assert stop.detail == detail


async def test_one_post_tells_the_run_id_and_follows_no_redirect(gate: Gate) -> None:
    gate.answer = (307, "")
    told = await ask(gate.url, "r1", {"agent_id": "ada"})
    assert (told.status, gate.asked, gate.keys) == (
        307,
        [{"run_id": "r1", "agent_id": "ada"}],
        ["r1"],
    )


async def test_the_gate_is_asked_through_the_proxy_of_the_environment(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", gate.url.removesuffix("/consume"))
    told = await ask("http://gate.example/consume", "r1", {})
    assert (told.status, gate.keys) == (200, ["r1"])


async def test_an_answer_that_comes_in_pieces_is_read_whole(gate: Gate) -> None:
    gate.in_pieces = True
    told = await ask(gate.url, "r1", {})
    assert told == Told(200, b'{"code": 0}')
    assert refusal(told) is None


async def test_an_answer_that_is_too_long_is_read_no_further_and_is_a_refusal(gate: Gate) -> None:
    gate.answer = (200, '{"code": 0, "pad": "' + "x" * 2 * gates.BODY_BYTES + '"}')
    told = await ask(gate.url, "r1", {})
    assert len(told.body) == gates.BODY_BYTES + 1
    assert refusal(told) is not None


async def test_a_gate_that_cannot_be_reached_is_told_without_its_address() -> None:
    stop = refusal(await ask("http://127.0.0.1:9/?token=canary", "r1", {}))
    assert stop is not None
    assert "cannot be reached" in stop.detail
    assert "canary" not in stop.detail


async def test_a_gate_that_keeps_silent_is_waited_for_and_then_refuses(gate: Gate) -> None:
    gate.delay = 600.0
    loop = asyncio.get_running_loop()
    began = loop.time()
    stop = refusal(await ask(gate.url, "r1", {}, patience=0.5))
    assert loop.time() - began >= 0.4
    assert stop is not None
    assert "no answer within 0.5s" in stop.detail
    assert gates.PATIENCE == 10.0


@pytest.mark.parametrize("url", ["ftp://x", "gate", "http://"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(Stop, match="expected an http or https address"):
        gates.checked_url(url)


async def test_seed_000_a_refused_run_is_told_in_json_and_never_asks_again(desk: Desk, gate: Gate) -> None:
    gate.answer = (200, '{"code": 60001, "detail": "Join at https://pay.example/join"}')
    code, told, _ = await desk.run(*new_run(desk))
    assert code == 1
    assert told["status"] == "failed"
    assert told["error"] == "membership_required"
    assert told["failure_stage"] == "consume_quota"
    assert told["api_code"] == 60001
    assert told["pricing_url"] == "https://pay.example/join"
    assert "agent_instruction" in told
    assert gate.asked == [{"run_id": told["run_id"], "agent_id": "cli"}]
    for words in (["run", "--run-id"], ["query", "--run-id"]):
        again = await desk.run(*words, told["run_id"])
        assert again[:2] == (1, told)
    assert len(gate.asked) == 1


async def test_a_shell_killed_while_it_asks_does_not_get_the_run_past_the_gate(
    desk: Desk, gate: Gate
) -> None:
    gate.delay = 60.0
    await desk.killed(signal.SIGKILL, lambda: bool(gate.asked), *new_run(desk))
    (asked,) = gate.asked
    code, told, _ = await desk.run("run", "--run-id", asked["run_id"])
    assert (code, told["error"], told["api_code"]) == (1, "consume_param_error", -1)
    assert "start a new run" in told["detail"]
    assert len(gate.asked) == 1


async def test_a_run_that_was_let_through_is_not_asked_for_again_when_it_is_resumed(
    desk: Desk, gate: Gate
) -> None:
    async with DevCluster.start() as cluster:
        env = {"CLAUDE_LINE_DELAY": "0.1"}
        configure(desk.folder, gate, {"kubeconfig": str(cluster.kubeconfig), "image": "x", "env": env})
        await desk.killed(signal.SIGKILL, lambda: len(desk.saved()) > 100, *new_run(desk))
        record = desk.record()
        assert record is not None
        assert record["gate"] == "granted"
        code, told, _ = await desk.run("run", "--run-id", record["run_id"], "-q")
        assert (code, told["status"]) == (0, "succeeded")
        assert gate.asked == [{"run_id": record["run_id"], "agent_id": "cli"}]


async def test_an_announced_run_asks_when_it_is_started_and_only_then(desk: Desk, gate: Gate) -> None:
    gate.answer = (200, '{"code": 60002, "detail": "pay"}')
    _, told, _ = await desk.run("spawn", *new_run(desk)[2:])
    assert gate.asked == []
    words = told["command"].split()[1:]
    first, second = await desk.run(*words), await desk.run(*words)
    assert first[1]["error"] == "credit_required"
    assert first[1] == second[1]
    assert len(gate.asked) == 1


async def test_an_announced_run_that_is_cancelled_asks_nobody(desk: Desk, gate: Gate) -> None:
    _, told, _ = await desk.run("spawn", *new_run(desk)[2:])
    code, ended, _ = await desk.run("cancel", told["run_id"])
    assert (code, ended["status"]) == (0, "cancelled")
    assert (await desk.run(*told["command"].split()[1:]))[1] == ended
    assert gate.asked == []


async def test_a_run_without_a_usable_cluster_asks_nobody(desk: Desk, gate: Gate) -> None:
    configure(desk.folder, gate, {"kubeconfig": "/nowhere", "image": "x"})
    code, told, _ = await desk.run(*new_run(desk))
    assert (code, told["error"], told["error_code"]) == (1, "task_failed", "k8s_config_invalid")
    assert gate.asked == []
