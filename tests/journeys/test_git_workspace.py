"""Workspaces that are cloned, changed by the agent, pushed, and seen in the repository."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.git_server import GitServer, git_server
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_cluster import IN_HOME_POD, RESULT
from tests.support.real_namespace import THIS_MACHINE
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

POLICY = TEMPORARY_FOLDERS.model_copy(update={"repositories": ("http://*",)})
CHANGE = f"git checkout -q -B fix && echo new >new.txt && git add new.txt && git commit -q -m fix; {RESULT}"


@pytest.fixture
async def git_site(site: Site) -> AsyncIterator[Site]:
    """Each cluster, with a policy that allows the test's git server."""
    env = IN_HOME_POD if site.name == "real" else {}
    adapter = Adapter(ProcessSettings(env=env, policy=POLICY))
    yield Site(site.name, adapter, site.gateway, site.namespace, site.config, site.capture_ref)
    await adapter.shutdown()


@pytest.fixture
def server(site: Site, tmp_path: Path) -> Any:
    folder = tmp_path / "git"
    folder.mkdir()
    with git_server(folder, THIS_MACHINE if site.name == "real" else "127.0.0.1") as served:
        yield served


async def run(
    site: Site, script: str, workspace: dict[str, Any], *, host_log: HostLog | None = None, **config: Any
) -> tuple[ExecutionResult, HostLog]:
    context = {"taskId": "task-1", "paperclipTaskMarkdown": "Fix it.", "paperclipWorkspace": workspace}
    return await site.run({"CLAUDE_SCRIPT": script}, host_log=host_log, config=config, context=context)


async def test_workspace_is_cloned_changed_and_pushed(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    result, log = await run(
        git_site, f"cat README; pwd; {CHANGE}", {"repoUrl": url}, gitPush="agents/{branch}"
    )
    assert result.error_message is None, log.status
    assert log.status.startswith("[paperclip] Workspace: git ("), log.status
    assert log.stdout.startswith("hello\n")
    assert server.read("app", "agents/fix", "new.txt") == "new"
    assert result.result_json is not None
    assert result.result_json["workspace"]["pushed"] == "agents/fix"
    assert result.result_json["workspace"]["unpushedCommits"] == 0
    assert "warnings" not in result.result_json


async def test_what_is_not_pushed_is_told_with_its_size(git_site: Site, server: GitServer) -> None:
    url = server.new_repository("app", {"README": "hello\n"})
    script = f"echo more >>README; head -c 2048 /dev/zero >big; {CHANGE}"
    result, log = await run(git_site, script, {"repoUrl": url, "repoRef": "main"})
    assert result.result_json is not None
    found = result.result_json["workspace"]
    assert (found["pushed"], found["unpushedCommits"], found["uncommittedFiles"]) == (None, 1, 2)
    assert found["uncommittedBytes"] == 2048 + 11
    assert "workspace_not_pushed" in result.result_json["warnings"][0]
    assert "1 commit that is not pushed" in log.status
    assert "2 files that are not committed (2.0 KiB)" in log.status
    assert list(server.branches("app")) == ["main"]
