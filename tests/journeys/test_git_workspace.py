"""Workspaces that are cloned, changed by the agent, pushed, and seen in the repository."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.file_event import FileEvent
from tests.support.git_server import GitServer, git_server
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.programs import skip_or_fail
from tests.support.real_cluster import IN_HOME_POD, RESULT, VOLUME, wait_for_output
from tests.support.real_namespace import THIS_MACHINE
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

POLICY = TEMPORARY_FOLDERS.model_copy(update={"repositories": ("http://*",)})
CHANGE = "git checkout -q -B fix && echo new >new.txt && git add new.txt && git commit -q -m fix"
STAND_IN = '#!/bin/sh\ncat >/dev/null\neval "$CLAUDE_SCRIPT"\n'
"""The file `claude` that agents run in place of the real CLI. Its folder comes first in PATH."""


@pytest.fixture
async def git_site(site: Site) -> AsyncIterator[Site]:
    """Each cluster, with a policy that allows the test's git server, and an image with git."""
    config, env = dict(site.config), {}
    if site.name == "real":
        image = os.environ.get("CLAUDE_IMAGE") or skip_or_fail("CLAUDE_IMAGE, an image with git, is not set")
        folder = Path(VOLUME) / "stand-in"
        folder.mkdir(exist_ok=True)
        (folder / "claude").write_text(STAND_IN)
        (folder / "claude").chmod(0o755)
        config["image"] = image
        env = IN_HOME_POD
    adapter = Adapter(ProcessSettings(env=env, policy=POLICY))
    yield Site(site.name, adapter, site.gateway, site.namespace, config, site.capture_ref)
    await adapter.shutdown()


@pytest.fixture
def server(site: Site, tmp_path: Path) -> Iterator[GitServer]:
    folder = tmp_path / "git"
    folder.mkdir()
    with git_server(folder, THIS_MACHINE if site.name == "real" else "127.0.0.1") as served:
        yield served


async def run(
    site: Site,
    script: str,
    workspace: dict[str, Any],
    *,
    more: Mapping[str, Any] | None = None,
    host_log: HostLog | None = None,
    workspace_setting: str = "auto",
    **config: Any,
) -> tuple[ExecutionResult, HostLog]:
    """A run whose agent executes `script` and prints a result. `more`: other arguments of `Site.run`."""
    context = {"taskId": "task-1", "paperclipTaskMarkdown": "Fix it.", "paperclipWorkspace": workspace}
    config["workspace"] = workspace_setting
    env = {"CLAUDE_SCRIPT": f"{script}; {RESULT}"}
    if site.name == "real":
        env["PATH"] = "/paperclip/stand-in:/usr/local/bin:/usr/bin:/bin"
    return await site.run(env, host_log=host_log, config=config, context=context, **(more or {}))


async def test_workspace_is_cloned_changed_and_pushed(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    result, log = await run(
        git_site, f"cat README; pwd; {CHANGE}", {"repoUrl": url}, gitPush="agents/{branch}"
    )
    assert result.error_message is None, log.status
    assert log.status.startswith("[paperclip] Workspace: git ("), log.status
    assert log.stdout.startswith("hello\n"), log.stderr
    assert server.read("app", "agents/fix", "new.txt") == "new"
    assert result.result_json is not None
    assert result.result_json["workspace"]["pushed"] == "agents/fix"
    assert result.result_json["workspace"]["unpushedCommits"] == 0
    assert "warnings" not in result.result_json


async def test_work_that_is_not_pushed_is_reported_with_its_size(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    script = f"echo more >>README; head -c 2048 /dev/zero >big; {CHANGE}"
    result, log = await run(git_site, script, {"repoUrl": url, "repoRef": "main"})
    assert result.result_json is not None
    found = result.result_json["workspace"]
    assert (found["pushed"], found["unpushedCommits"], found["uncommittedFiles"]) == (None, 1, 2)
    assert found["uncommittedBytes"] == 2048 + len("hello\nmore\n")
    assert "workspace_not_pushed" in result.result_json["warnings"][0]
    assert "1 commit that is not pushed" in log.status
    assert "2 files that are not committed (2.0 KiB)" in log.status
    assert list(server.branches("app")) == ["main"]


async def test_agent_gets_no_credentials_and_job_shows_none(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    server.password = "canary-git-password"
    name = f"git-{uuid.uuid4().hex[:8]}"
    secret: JsonObject = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": git_site.namespace},
        "stringData": {"password": server.password},
    }
    created = await git_site.gateway.create_secret(git_site.namespace, secret)
    try:
        script = f"env; ls -R /var/run/paperclip 2>/dev/null; cat .git/config; {CHANGE}"
        result, log = await run(git_site, script, {"repoUrl": url}, gitPush="x", gitSecret=name)
    finally:
        await git_site.gateway.delete_secret(created)
    assert result.result_json is not None
    assert result.result_json["workspace"]["pushed"] == "x", log.status
    assert "canary-git" not in str(log.chunks) + str(log.meta) + str(result.to_wire())
    assert "git-secret" not in log.stdout  # the folder in which the other containers have the credentials


async def test_failed_clone_is_reported_with_cause_and_next_step(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    result, _ = await run(git_site, "exit 1", {"repoUrl": url, "repoRef": "nope"}, workspace_setting="git")
    assert result.error_code == "k8s_workspace_unavailable"
    assert result.error_message == (
        "The agent's workspace could not be cloned: the repository has no branch or tag nope — correct the "
        "workspace's version (repoRef), or push it to the repository"
    )
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert await git_site.leftovers() == []


async def test_repository_that_cannot_be_cloned_is_reported_and_the_agent_starts(
    git_site: Site, server: GitServer
) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    server.password = "secret"
    result, log = await run(git_site, "ls -A; echo 1 >made", {"repoUrl": url})
    assert result.error_message is None, log.status
    assert log.stdout.startswith("{"), log.stdout
    assert log.status.startswith("[paperclip] Workspace: git ("), log.status
    assert "Workspace: the agent starts without the project's files: the repository could not be cloned" in (
        log.status
    )
    assert result.result_json is not None
    first, second = result.result_json["warnings"]
    assert first.startswith("workspace_not_cloned: ")
    assert "name a Secret with credentials for this repository in `gitSecret`" in first
    assert second.startswith("workspace_not_pushed: nothing was pushed: the repository was not cloned; lost")
    found = result.result_json["workspace"]
    assert (found["cloned"], found["pushed"], found["uncommittedFiles"]) == (False, None, 1)


async def test_stop_during_a_slow_push_ends_the_run(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    server.push_delay = 300
    stop, log = asyncio.Event(), HostLog()
    async with asyncio.TaskGroup() as group:
        options: dict[str, Any] = {"more": {"signal": stop}, "gitPush": "fix", "stopGraceSec": 5}
        running = group.create_task(run(git_site, CHANGE, {"repoUrl": url}, host_log=log, **options))
        # Until the adapter knows that the agent has ended, a stop would stop the agent, not the push.
        await wait_for_output(log, "the agent has ended; waiting")
        while not any("POST" in line and "receive-pack" in line for line in server.requests):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        stop.set()
        async with asyncio.timeout(60):
            result, _ = await running
    assert result.error_message is None, log.status
    assert result.result_json is not None
    assert result.result_json["workspace"]["pushed"] is None
    assert "workspace_not_pushed" in result.result_json["warnings"][0]


async def test_run_of_a_host_that_dies_is_adopted_and_its_work_is_pushed(
    git_site: Site, server: GitServer, tmp_path: Path
) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    ids = {"runId": str(uuid.uuid4()), "agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}}
    first_log, log, go_on = HostLog(), HostLog(), FileEvent.of(git_site, tmp_path)
    script = f"echo working; {go_on.wait_command}; {CHANGE}"
    options: dict[str, Any] = {"more": ids, "gitPush": "agents/{run}"}
    async with asyncio.TaskGroup() as group:
        first_run = group.create_task(run(git_site, script, {"repoUrl": url}, host_log=first_log, **options))
        await wait_for_output(first_log, "working")
        first_run.cancel()
    await git_site.adapter.shutdown()
    second = Adapter(ProcessSettings(env=IN_HOME_POD if git_site.name == "real" else {}, policy=POLICY))
    try:
        site = replace(git_site, adapter=second)
        async with asyncio.TaskGroup() as group:
            adopting = group.create_task(run(site, script, {"repoUrl": url}, host_log=log, **options))
            await wait_for_output(log, "Reattaching")
            go_on.set()
    finally:
        await second.shutdown()
    result, _ = adopting.result()
    assert result.result_json is not None
    branch = f"agents/{ids['runId']}"
    assert (result.error_message, result.result_json["workspace"]["pushed"]) == (None, branch), log.status
    assert server.read("app", branch, "new.txt") == "new"


@pytest.mark.parametrize("session_volume", ["shared", "auto"])
async def test_second_clone_of_an_agent_uses_objects_of_the_first(
    git_site: Site, server: GitServer, session_volume: str
) -> None:
    if git_site.name != "real" and session_volume == "shared":
        pytest.skip("this cluster's host has no shared volume")
    url = server.new_repository("app", {"README": "hello\n"})
    more = {"agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}}
    config: dict[str, Any] = {"sessionVolume": session_volume}
    _, first = await run(git_site, "true", {"repoUrl": url}, more=more, **config)
    if "may not create its claim" in first.status:
        pytest.skip("this account may not create claims")
    server.commit("app", {"more": "1"})
    _, second = await run(git_site, "ls", {"repoUrl": url}, more=more, **config)
    assert "could not be kept" not in first.status, first.status
    assert "with objects of an earlier clone" in second.status, (first.status, second.status)
    assert second.stdout.startswith("README\nmore\n")


async def test_two_agents_on_one_repository_have_clones_of_their_own(
    git_site: Site, server: GitServer
) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    script = f"ls; sleep 2; {CHANGE}"
    async with asyncio.TaskGroup() as group:
        runs = [
            group.create_task(run(git_site, script, {"repoUrl": url}, gitPush="agents/{agent}"))
            for _ in range(2)
        ]
    for result, log in (task.result() for task in runs):
        assert log.stdout.startswith("README\n")
        assert result.result_json is not None
        assert result.result_json["workspace"]["unpushedCommits"] == 0
    assert len(server.branches("app")) == 3  # main, and one of each agent
