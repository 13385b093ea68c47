"""Checks of the server's address, of missing settings, and of execution by the server itself."""

from pathlib import Path
from typing import Any

import pytest
from tests.checks.harness import HOME_ENV, check_of, open_harness, problems
from tests.checks.test_probe import script_by_pod

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.checkup import Checkup
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import PodScript

pytestmark = pytest.mark.looptime
LOOPBACK, SERVICE = "http://127.0.0.1:3100", "http://paperclip.agents.svc:3100"


async def checkup_for(folder: Path, url: str, answer: str = "", **config: Any) -> Checkup:
    """Run the environment test in a server with the address `url`. The probe's Pod prints `answer` last."""
    script = script_by_pod(PodScript(output=((0.1, f"2.1.332 (Claude Code)\n{answer}\n".encode()),)))
    async with open_harness(folder, script) as harness:
        env = {**HOME_ENV, "PAPERCLIP_API_URL": url}
        adapter = Adapter(ProcessSettings(env=env), lambda *_: harness.fake.gateway)
        harness.create_objects()
        try:
            return await adapter.test_environment({"config": config})
        finally:
            await adapter.shutdown()


async def test_loopback_address_of_the_server_is_a_warning_with_a_hint(tmp_path: Path) -> None:
    checkup = await checkup_for(tmp_path, LOOPBACK)
    (check,) = problems(checkup)
    assert (check.code, check.level) == ("k8s_api_url_loopback", "warn")
    assert LOOPBACK in check.message
    assert "set PAPERCLIP_API_URL in the server's environment" in (check.hint or "")
    assert checkup.checks[0] == check


async def test_address_that_is_not_loopback_is_no_problem(tmp_path: Path) -> None:
    checkup = await checkup_for(tmp_path, SERVICE)
    assert problems(checkup) == []
    assert "testWithProbe" in (check_of(checkup, "k8s_api_url").hint or "")


@pytest.mark.parametrize(
    ("url", "answer", "code", "status"),
    [
        (SERVICE, "paperclip-api-reached=yes", "k8s_api_url_reached", "pass"),
        (LOOPBACK, "paperclip-api-reached=yes", "k8s_api_url_reached", "pass"),
        (SERVICE, "paperclip-api-reached=no", "k8s_api_url_unreachable", "fail"),
        (SERVICE, "paperclip-api-reached=unknown", "k8s_api_url", "pass"),
        (LOOPBACK, "paperclip-api-reached=no", "k8s_api_url_loopback", "warn"),
    ],
)
async def test_probe_that_a_setting_switches_on_tries_the_servers_address(
    tmp_path: Path, url: str, answer: str, code: str, status: str
) -> None:
    checkup = await checkup_for(tmp_path, url, answer, testWithProbe=True)
    assert check_of(checkup, code)
    assert checkup.status == status
    assert check_of(checkup, "k8s_probe_passed").message.endswith(": 2.1.332 (Claude Code)")


@pytest.mark.parametrize(
    ("context", "status"),
    [
        ({"setupMayFollow": True}, "warn"),
        ({}, "fail"),
        ({"setupMayFollow": True, "config": {"kubeconfig": "/nowhere"}}, "fail"),
    ],
)
async def test_missing_settings_are_a_warning_if_setup_may_follow_and_else_an_error(
    context: dict[str, Any], status: str
) -> None:
    """The wizard of the Paperclip server creates an agent without settings, but not if the test fails."""
    checkup = await Adapter(ProcessSettings(env={})).test_environment({"config": {}, **context})
    assert checkup.status == status
    if status == "warn":
        check = check_of(checkup, "k8s_setup_needed")
        assert all(f"`{key}`" in (check.hint or "") for key in ("kubeconfig", "image", "namespace"))


@pytest.mark.parametrize(
    ("env", "context"),
    [
        ({}, {"executionTarget": {"kind": "remote", "transport": "sandbox"}}),
        ({"PAPERCLIP_EXECUTION_MODE": "kubernetes"}, {"executionTarget": {"kind": "local"}}),
    ],
)
async def test_execution_by_the_server_itself_is_an_error_with_a_hint(
    tmp_path: Path, env: dict[str, str], context: dict[str, Any]
) -> None:
    async with open_harness(tmp_path) as harness:
        adapter = Adapter(ProcessSettings(env={**HOME_ENV, **env}), lambda *_: harness.fake.gateway)
        checkup = await adapter.test_environment({"config": {}, **context})
    (check,) = checkup.checks
    assert (check.code, checkup.status) == ("k8s_remote_execution", "fail")
    assert "PAPERCLIP_EXECUTION_MODE=any" in (check.hint or "")
