"""The quota gate, which is asked once before a new run: any response but a clear approval is a refusal."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import write_kubeconfig
from tests.support.cli_commands import CommandRunner
from tests.support.quota_service import QuotaService, quota_service

from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.quota_gate import QuotaResponse, find_refusal, request_approval
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.devcluster import DevCluster


@pytest.fixture
async def service() -> AsyncIterator[QuotaService]:
    async with quota_service() as service:
        yield service


@pytest.fixture
def cli(tmp_path: Path, service: QuotaService) -> CommandRunner:
    """Commands whose cluster cannot be reached: a refused run does not need a cluster."""
    configure(tmp_path, service, {"kubeconfig": write_kubeconfig(tmp_path), "image": "x"})
    return CommandRunner(tmp_path)


def configure(folder: Path, service: QuotaService, config: dict[str, Any]) -> None:
    settings = {"quotaGateUrl": service.url, **config}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")


def new_run_args(cli: CommandRunner) -> list[str]:
    return ["run", "-q", "-p", "Go.", "--config", str(cli.folder / "config.json")]


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
def test_code_of_a_refusal_decides_its_error(body: str, code: int, error: str) -> None:
    stop = find_refusal(QuotaResponse(200, body.encode()))
    assert stop is not None
    assert (stop.error, stop.fields["api_code"]) == (error, code)
    assert stop.fields["failure_stage"] == "consume_quota"
    assert stop.fields["agent_instruction"]


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
def test_explicit_code_0_approves_the_run(body: str) -> None:
    assert find_refusal(QuotaResponse(200, body.encode())) is None


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
def test_2xx_response_without_a_valid_code_is_a_refusal(status: int, body: str) -> None:
    stop = find_refusal(QuotaResponse(status, body.encode("latin-1")))
    assert stop is not None
    assert (stop.error, stop.fields["api_code"]) == ("consume_param_error", -1)
    assert stop.detail


@pytest.mark.parametrize(
    "body", ['{"code": 60001, "meta": {"code": 0}}', '{"code": 0, "meta": {"code": 60001}}']
)
def test_two_codes_of_which_one_refuses_are_a_refusal(body: str) -> None:
    stop = find_refusal(QuotaResponse(200, body.encode()))
    assert stop is not None
    assert (stop.error, stop.fields["api_code"]) == ("membership_required", 60001)


@pytest.mark.parametrize(
    "body",
    [
        '{"code": 60001, "code": 0}',
        '{"code": 0, "code": 60001}',
        '{"code": 0, "code": 0}',
        '{"meta": {"code": 60001, "code": 0}}',
        '{"meta": {"code": 60001}, "code": 0, "meta": {}}',
        '{"code": 0, "detail": [{"code": 1, "c\\u006fde": 0}]}',
    ],
)
def test_key_that_an_object_has_twice_is_a_refusal(body: str) -> None:
    stop = find_refusal(QuotaResponse(200, body.encode()))
    assert stop is not None
    assert (stop.error, stop.fields["api_code"]) == ("consume_param_error", -1)
    assert " twice" in stop.detail


def test_refusal_without_a_code_says_so_or_quotes_the_error() -> None:
    stop = find_refusal(QuotaResponse(200, b"<html>"))
    assert stop is not None
    assert stop.detail == (
        "the quota gate answered HTTP 200 without a code, and a run may start only after an explicit code 0"
    )
    quoted = find_refusal(QuotaResponse(200, b'{"error": "no such route"}'))
    assert quoted is not None
    assert quoted.detail == "no such route"


@pytest.mark.parametrize("status", [302, 403, 500, None])
def test_response_that_is_not_2xx_is_a_refusal(status: int | None) -> None:
    stop = find_refusal(QuotaResponse(status, b'{"code": 0}'))
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
def test_link_in_the_detail_is_the_pricing_url(detail: str, url: str | None) -> None:
    stop = find_refusal(QuotaResponse(200, json.dumps({"code": 60001, "detail": detail}).encode()))
    assert stop is not None
    assert stop.fields.get("pricing_url") == url
    assert stop.detail == detail


async def test_request_is_posted_once_with_the_run_id_without_following_a_redirect(
    service: QuotaService,
) -> None:
    service.response = (307, "")
    response = await request_approval(service.url, "r1", {"agent_id": "ada"})
    assert (response.status, service.requests, service.idempotency_keys) == (
        307,
        [{"run_id": "r1", "agent_id": "ada"}],
        ["r1"],
    )


async def test_response_in_many_pieces_is_read_completely(service: QuotaService) -> None:
    service.byte_by_byte = True
    response = await request_approval(service.url, "r1", {})
    assert response == QuotaResponse(200, b'{"code": 0}')
    assert find_refusal(response) is None


async def test_response_that_is_too_long_is_a_refusal(service: QuotaService) -> None:
    service.response = (200, '{"code": 0, "pad": "' + "x" * 2 * quota_gate.MAX_BODY_BYTES + '"}')
    response = await request_approval(service.url, "r1", {})
    assert len(response.body) == quota_gate.MAX_BODY_BYTES + 1  # one more shows that it is too long
    assert find_refusal(response) is not None


async def test_unreachable_gate_is_reported_without_its_address() -> None:
    stop = find_refusal(await request_approval("http://127.0.0.1:9/?token=canary", "r1", {}))
    assert stop is not None
    assert "cannot be reached" in stop.detail
    assert "canary" not in stop.detail


async def test_silent_gate_is_a_refusal_after_the_timeout(service: QuotaService) -> None:
    service.delay = 600.0
    loop = asyncio.get_running_loop()
    began = loop.time()
    stop = find_refusal(await request_approval(service.url, "r1", {}, seconds=0.5))
    assert loop.time() - began >= 0.4  # 0.5 s, less the inaccuracy of timers
    assert stop is not None
    assert "no response within 0.5s" in stop.detail
    assert quota_gate.QUOTA_TIMEOUT == 10.0  # the limit without the argument `seconds`


async def test_request_uses_the_proxy_of_the_environment(
    service: QuotaService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", service.url.removesuffix("/consume"))
    response = await request_approval("http://gate.example/consume", "r1", {})
    assert (response.status, service.idempotency_keys) == (200, ["r1"])


@pytest.mark.parametrize("url", ["ftp://x", "gate", "http://", "http://[x"])
def test_invalid_gate_url_is_refused(url: str) -> None:
    with pytest.raises(Stop, match="expected an http or https address"):
        quota_gate.check_url(url)


async def test_refusal_is_the_outcome_of_the_run_and_the_gate_gets_one_request(
    cli: CommandRunner, service: QuotaService
) -> None:
    service.response = (200, '{"code": 60001, "detail": "Join at https://pay.example/join"}')
    code, reply, _ = await cli.run(*new_run_args(cli))
    assert code == 1
    assert reply["status"] == "failed"
    assert reply["error"] == "membership_required"
    assert reply["failure_stage"] == "consume_quota"
    assert reply["api_code"] == 60001
    assert reply["pricing_url"] == "https://pay.example/join"
    assert "agent_instruction" in reply
    assert service.requests == [{"run_id": reply["run_id"], "agent_id": "cli"}]
    for args in (["run", "--run-id"], ["query", "--run-id"]):
        again = await cli.run(*args, reply["run_id"])
        assert again[:2] == (1, reply)
    assert len(service.requests) == 1


async def test_resume_is_refused_if_the_command_was_killed_during_the_request(
    cli: CommandRunner, service: QuotaService
) -> None:
    service.delay = 60.0
    await cli.run_and_kill(signal.SIGKILL, lambda: bool(service.requests), *new_run_args(cli))
    (request,) = service.requests
    code, reply, _ = await cli.run("run", "--run-id", request["run_id"])
    assert (code, reply["error"], reply["api_code"]) == (1, "consume_param_error", -1)
    assert "start a new run" in reply["detail"]
    assert len(service.requests) == 1


async def test_approved_run_sends_no_second_request_when_resumed(
    cli: CommandRunner, service: QuotaService
) -> None:
    async with DevCluster.start() as cluster:
        env = {"CLAUDE_LINE_DELAY": "0.1"}
        configure(cli.folder, service, {"kubeconfig": str(cluster.kubeconfig), "image": "x", "env": env})
        await cli.run_and_kill(signal.SIGKILL, lambda: len(cli.transcript()) > 100, *new_run_args(cli))
        record = cli.record()
        assert record is not None
        assert record["gate"] == "granted"
        code, reply, _ = await cli.run("run", "--run-id", record["run_id"], "-q")
        assert (code, reply["status"]) == (0, "succeeded")
        assert service.requests == [{"run_id": record["run_id"], "agent_id": "cli"}]


async def test_spawned_run_requests_approval_when_it_is_started(
    cli: CommandRunner, service: QuotaService
) -> None:
    service.response = (200, '{"code": 60002, "detail": "pay"}')
    _, reply, _ = await cli.run("spawn", *new_run_args(cli)[2:])
    assert service.requests == []
    args = reply["command"].split()[1:]
    first, second = await cli.run(*args), await cli.run(*args)
    assert first[1]["error"] == "credit_required"
    assert first[1] == second[1]
    assert len(service.requests) == 1


async def test_spawned_run_that_is_cancelled_sends_no_request(
    cli: CommandRunner, service: QuotaService
) -> None:
    _, reply, _ = await cli.run("spawn", *new_run_args(cli)[2:])
    code, ended, _ = await cli.run("cancel", reply["run_id"])
    assert (code, ended["status"]) == (0, "cancelled")
    assert (await cli.run(*reply["command"].split()[1:]))[1] == ended
    assert service.requests == []


async def test_run_without_a_usable_cluster_sends_no_request(
    cli: CommandRunner, service: QuotaService
) -> None:
    configure(cli.folder, service, {"kubeconfig": "/nowhere", "image": "x"})
    code, reply, _ = await cli.run(*new_run_args(cli))
    assert (code, reply["error"], reply["error_code"]) == (1, "task_failed", "k8s_config_invalid")
    assert service.requests == []
