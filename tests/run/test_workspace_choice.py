"""How a run gets its workspace if the host's folder is not in the cluster."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, one_host

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("url", ["git@host.invalid:acme/app.git", "ssh://host.invalid/acme/app"])
async def test_workspace_auto_starts_without_files_if_ssh_cannot_work(tmp_path: Path, url: str) -> None:
    context: dict[str, Any] = {"taskId": "t", "paperclipWorkspace": {"cwd": "/home/me/app", "repoUrl": url}}
    async with one_host(tmp_path, GOOD) as (_, run):
        result, log = await run(context=context)
        assert result.error_message is None, log.status
        first = log.status.splitlines()[0]
        assert "Workspace: none, so the agent does not get the project's files" in log.status, first
        assert "needs a Secret with known_hosts in `gitSecret`" in log.status
        assert result.result_json is not None
        assert result.result_json["warnings"][0].startswith("workspace_not_cloned: the agent starts without")
