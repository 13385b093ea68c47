"""`sessionVolume` on a real cluster: sessions that outlive their Pods, with the rights that `rbac` prints."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.programs import as_admin
from tests.support.real_account import RealAccount, open_account
from tests.support.real_cluster import RESULT, wait_for_output
from tests.support.real_namespace import NAMESPACE
from tests.support.runs import Site
from tests.support.scripted_api import MODEL, Answer, answer, claude_image, scripted_api, text, tool
from tests.support.static_volumes import claim_of_auto, volume_for

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.checks.rights import CLAIM_RIGHTS, Right, rights_of
from paperclip_claude_k8s.cli.volumes_command import prune_unused
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.paths import CONFIG_DIR, SESSION_DIR
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real
KUBECONFIG = os.environ.get("KUBECONFIG_FOR_TESTS", "")
ALL_RIGHTS = rights_of(auto_claims=True)
GO_ON = "go-on"
"""Name of a file in the agent's CLAUDE_CONFIG_DIR, for which the agents below wait."""
WAIT = f'until [ -e "$CLAUDE_CONFIG_DIR/{GO_ON}" ]; do sleep 0.2; done'
SLOW_TOOL = answer(text("Now slowly."), tool("toolu_1", "Bash", command=WAIT), tokens=(9, 90, 31, 100))


def go_on(volume: Path) -> None:
    """Let the only agent of this volume go on."""
    (folder,) = volume.glob("agents/*/*/session/claude")
    (folder / GO_ON).touch()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealAccount]:
    async with open_account("sessions-test", tmp_path_factory.mktemp("s"), auto_claims=True) as account:
        yield account


@dataclass(slots=True)
class Sessions:
    """A host outside of the cluster, with a kubeconfig and an image, and one agent."""

    site: Site
    folder: Path
    agent: str = field(default_factory=lambda: f"agent-{uuid.uuid4().hex[:8]}")

    async def run_script(self, script: str, **more: Any) -> tuple[ExecutionResult, HostLog]:
        """A run of the stand-in for the CLI."""
        config = {"sessionVolume": "auto", "image": "local/agent:1", **more.pop("config", {})}
        agent = {"id": more.pop("agent", self.agent), "companyId": "co", "name": "Ada"}
        return await self.site.run(
            {"CLAUDE_SCRIPT": f"{script}; {RESULT}"}, config=config, agent=agent, **more
        )

    async def run_claude(self, *steps: Answer, **more: Any) -> tuple[ExecutionResult, HostLog, str]:
        """A run of the real CLI: the result, what the host received, and the first request to the API."""
        async with scripted_api(self.folder / f"{uuid.uuid4().hex}.jsonl", *steps) as api:
            env = {**api.env, "CLAUDE_CODE_MAX_RETRIES": "2"}
            config = {"sessionVolume": "auto", "image": claude_image(), "model": MODEL}
            agent = {"id": self.agent, "companyId": "co", "name": "Ada"}
            result, host_log = await self.site.run(env, config=config, agent=agent, **more)
            return result, host_log, api.request_text(0)


@asynccontextmanager
async def open_sessions(kubeconfig: str, folder: Path) -> AsyncIterator[Sessions]:
    adapter, gateway = Adapter(ProcessSettings(env={})), Gateway(KUBECONFIG)
    config = {"kubeconfig": kubeconfig, "imagePullPolicy": "Never"}
    try:
        yield Sessions(Site("real", adapter, gateway, NAMESPACE, config, capture_ref=str), folder)
    finally:
        await adapter.shutdown()
        await gateway.close()


@asynccontextmanager
async def closing(process: Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await process.close()


def session_of(result: ExecutionResult) -> dict[str, Any]:
    assert result.result_json is not None, result.error_message
    reported: dict[str, Any] = result.result_json["session"]
    return reported


def runtime_to_resume(result: ExecutionResult) -> dict[str, Any]:
    return {"sessionParams": result.session_params}


@pytest.mark.slow
async def test_three_runs_of_one_session_are_resumed_by_the_real_cli(
    account: RealAccount, tmp_path: Path
) -> None:
    claude_image()
    await account.grant(ALL_RIGHTS)
    async with open_sessions(account.kubeconfig, tmp_path) as sessions:
        claim = claim_of_auto(sessions.agent)
        async with volume_for(claim) as volume:
            first, log, _ = await sessions.run_claude(
                answer(text("I remember plum."), tokens=(10, 3000, 12, 0))
            )
            assert (first.error_message, first.summary) == (None, "I remember plum."), log.status
            assert f"Created claim {claim}" in log.status
            earlier = first
            for words in ("It was plum.", "And it still is."):
                plain = answer(text(words), tokens=(10, 120, 9, 3000))
                later, log, request = await sessions.run_claude(plain, runtime=runtime_to_resume(earlier))
                assert (later.error_message, later.summary) == (None, words), log.status
                assert later.session_id == first.session_id
                assert "I remember plum." in request
                assert session_of(later) == {
                    "volume": "auto",
                    "claim": claim,
                    "kept": True,
                    "resumed": True,
                }
                assert "fresh session" not in log.status
                earlier = later
            (config,) = volume.glob("agents/*/*/session/claude")
            assert config.stat().st_mode & 0o777 == 0o700
            (transcript,) = config.glob(f"projects/*/{first.session_id}.jsonl")
            assert transcript.stat().st_mode & 0o077 == 0
        assert await sessions.site.leftovers(agent=sessions.agent) == []


async def adopt(
    site: Site, volume: Path, env: dict[str, str], run_fields: dict[str, Any]
) -> tuple[ExecutionResult, HostLog]:
    """Adopt a run, and let its agent go on as soon as the run is adopted."""
    log = HostLog()
    async with asyncio.TaskGroup() as group:
        adopting = group.create_task(site.run(env, host_log=log, **run_fields))
        await wait_for_output(log, "Reattaching")
        go_on(volume)
    return adopting.result()


@pytest.mark.slow
async def test_session_is_resumed_after_its_host_was_replaced(account: RealAccount, tmp_path: Path) -> None:
    claude_image()
    await account.grant(ALL_RIGHTS)
    async with open_sessions(account.kubeconfig, tmp_path) as sessions:
        async with volume_for(claim_of_auto(sessions.agent)) as volume:
            host_log = HostLog()
            steps = (SLOW_TOOL, answer(text("Plum is done."), tokens=(10, 120, 9, 3000)))
            async with scripted_api(tmp_path / "api.jsonl", *steps) as api, asyncio.TaskGroup() as group:
                config = {"sessionVolume": "auto", "image": claude_image(), "model": MODEL}
                run_fields: dict[str, Any] = {
                    "config": config,
                    "agent": {"id": sessions.agent, "companyId": "co"},
                    "runId": "r-1",
                }
                running = group.create_task(sessions.site.run(api.env, host_log=host_log, **run_fields))
                await wait_for_output(host_log, "toolu_1")
                await sessions.site.adapter.shutdown()
                assert running.cancelled()
                async with open_sessions(account.kubeconfig, tmp_path) as next_host:
                    adopted, log = await adopt(next_host.site, volume, api.env, run_fields)
            assert (adopted.error_message, adopted.summary) == (None, "Plum is done."), log.status
            async with open_sessions(account.kubeconfig, tmp_path) as next_host:
                next_host.agent = sessions.agent
                plain = answer(text("I go on."), tokens=(10, 120, 9, 3000))
                later, log, request = await next_host.run_claude(plain, runtime=runtime_to_resume(adopted))
                assert (later.error_message, later.summary) == (None, "I go on."), log.status
                assert later.session_id == adopted.session_id
                assert "Plum is done." in request
        assert await sessions.site.leftovers(agent=sessions.agent) == []


async def test_agents_of_a_company_see_only_their_own_folder(account: RealAccount, tmp_path: Path) -> None:
    await account.grant(ALL_RIGHTS)
    company = {"sessionVolumePer": "company"}
    claim = claim_of_auto("any", **company)
    async with open_sessions(account.kubeconfig, tmp_path) as sessions, volume_for(claim) as volume:
        look = f"ls -a {SESSION_DIR} {SESSION_DIR}/..; id -u; stat -c '%a %u' {CONFIG_DIR}; sleep 3"
        write = f"echo secret >{CONFIG_DIR}/of-$PAPERCLIP_AGENT_ID"
        async with asyncio.TaskGroup() as group:
            runs = [
                group.create_task(sessions.run_script(f"{write}; {look}", agent=agent, config=company))
                for agent in ("left-agent", "right-agent")
            ]
        for run in runs:
            result, log = run.result()
            assert result.error_message is None, log.status
            assert "700 1000" in log.stdout
            assert "agents" not in log.stdout.split()
        assert {path.name for path in volume.glob("agents/*/*/session/claude/of-*")} == {
            "of-left-agent",
            "of-right-agent",
        }


@pytest.mark.parametrize("right", CLAIM_RIGHTS, ids=lambda right: right.code)
async def test_missing_right_to_claims_disables_only_its_feature(
    account: RealAccount, tmp_path: Path, right: Right
) -> None:
    await account.grant([other for other in ALL_RIGHTS if other != right])
    may_create = right.access.verb != "create"
    async with (
        open_sessions(account.kubeconfig, tmp_path) as sessions,
        volume_for(claim_of_auto(sessions.agent)),
    ):
        checkup = await sessions.site.adapter.test_environment(
            {"config": {**sessions.site.config, "sessionVolume": "auto", "image": "local/agent:1"}}
        )
        assert [check.code for check in checkup.checks if check.code == right.code and check.level == "warn"]
        for number in (1, 2):
            result, log = await sessions.run_script("true")
            assert result.error_message is None, log.status
            assert session_of(result)["kept"] is may_create
            assert ("this account may not create its claim" in log.status) is (not may_create)
            assert ("could not be noted" in log.status) is (may_create and number == 2)
        if not may_create:
            assert "session_not_kept" in str((result.result_json or {})["warnings"])


async def test_claim_is_pruned_only_after_the_run_that_uses_it(account: RealAccount, tmp_path: Path) -> None:
    await account.grant(ALL_RIGHTS)
    async with open_sessions(account.kubeconfig, tmp_path) as sessions:
        claim = claim_of_auto(sessions.agent)
        in_40_days = ProcessSettings(env={}, now=lambda: datetime.now(UTC) + timedelta(days=40))
        admin = Process(in_40_days)
        ports = admin.ports(os.environ["ADMIN_KUBECONFIG_FOR_TESTS"], None)
        async with volume_for(claim) as volume, closing(admin), asyncio.TaskGroup() as group:
            host_log = HostLog()
            running = group.create_task(sessions.run_script(f"echo begun; {WAIT}", host_log=host_log))
            await wait_for_output(host_log, "begun")
            during_run = await prune_unused(NAMESPACE, ports, timedelta(days=30), dry_run=False)
            assert claim not in during_run["removed"]
            assert f"Job/ac-{sessions.agent}" in during_run["kept"][claim]
            go_on(volume)
            result, log = await running
            assert result.error_message is None, log.status
            assert await sessions.site.leftovers(agent=sessions.agent) == []
            after_run = await prune_unused(NAMESPACE, ports, timedelta(days=30), dry_run=False)
            assert claim in after_run["removed"], after_run
            await as_admin("wait", "--for=delete", f"pvc/{claim}", "--timeout=30s")
