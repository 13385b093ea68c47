"""Workspaces that are uploaded, changed by the agent, and brought back to the host's folder."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.packed_changes import tree
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_cluster import IN_HOME_POD, RESULT, wait_for_output
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog


def new_adapter(site: Site) -> Adapter:
    env = IN_HOME_POD if site.name == "real" else {}
    return Adapter(ProcessSettings(env=env, policy=TEMPORARY_FOLDERS))


@pytest.fixture
async def upload_site(site: Site) -> AsyncIterator[Site]:
    """Each cluster, with a policy that allows temporary folders to be uploaded."""
    adapter = new_adapter(site)
    yield replace(site, adapter=adapter)
    await adapter.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "my-project"
    write(folder, {"README": "hello\n", "src/a.txt": "a\n", "src/b.txt": "b\n", ".gitignore": "build/\n"})
    write(folder, {"build/big": "ignored\n", ".git/HEAD": "ref: refs/heads/main\n"})
    # A file that is as new as the run could count as changed by the agent.
    os.utime(folder / ".git/HEAD", (1_700_000_000, 1_700_000_000))
    (folder / "link").symlink_to("src/a.txt")
    return folder


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


async def run(
    site: Site,
    script: str,
    folder: Path,
    *,
    more: Mapping[str, Any] | None = None,
    host_log: HostLog | None = None,
    **config: Any,
) -> tuple[ExecutionResult, HostLog]:
    """A run whose agent executes `script` and prints a result. `more`: replaces parts of the context."""
    context = {
        "taskId": "task-1",
        "paperclipTaskMarkdown": "Fix it.",
        "paperclipWorkspace": {"cwd": str(folder)},
    }
    env = {"CLAUDE_SCRIPT": f"{script}; {RESULT}"}
    config = {"workspace": "upload", **config}
    return await site.run(env, host_log=host_log, config=config, context=context, **(more or {}))


def workspace_result(result: ExecutionResult) -> dict[str, Any]:
    assert result.result_json is not None
    found = result.result_json["workspace"]
    assert isinstance(found, dict)
    return found


async def test_folder_is_uploaded_changed_and_brought_back(upload_site: Site, project: Path) -> None:
    script = (
        "pwd; find . | sort; cat link; echo more >>README; rm src/b.txt; mkdir new; echo n >new/run.sh; "
        "chmod +x new/run.sh"
    )
    result, log = await run(upload_site, script, project)
    assert result.error_message is None, log.status
    assert log.status.startswith("[paperclip] Workspace: upload of the host's folder"), log.status
    assert "./build" not in log.stdout, log.stdout
    assert "./src/b.txt" in log.stdout
    assert (project / "README").read_text() == "hello\nmore\n"
    assert not (project / "src/b.txt").exists()
    assert (project / "new/run.sh").stat().st_mode & 0o777 == 0o755
    assert (project / "build/big").read_text() == "ignored\n"
    assert workspace_result(result)["written"] == 2, log.status
    assert workspace_result(result)["deleted"] == 1
    assert "warnings" not in (result.result_json or {})
    assert await upload_site.leftovers() == []


async def test_file_that_changed_on_the_host_is_kept_and_reported(upload_site: Site, project: Path) -> None:
    log = HostLog()
    script = "echo agent >README; rm src/a.txt; echo agent >new.txt; echo working; sleep 3"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(upload_site, script, project, host_log=log))
        await wait_for_output(log, "working")
        write(project, {"README": "person\n", "src/a.txt": "person\n", "new.txt": "person\n"})
    result, _ = running.result()
    assert {(project / name).read_text() for name in ("README", "src/a.txt", "new.txt")} == {"person\n"}
    kept = workspace_result(result)["keptBeside"]
    assert len(kept) == 2, log.status
    assert {(project / name).read_text() for name in kept} == {"agent\n"}
    assert workspace_result(result)["notDeleted"] == ["src/a.txt"]
    assert "workspace_not_returned" in (result.result_json or {})["warnings"][0]


async def test_what_an_agent_must_not_write_stays_in_the_pod(upload_site: Site, project: Path) -> None:
    script = (
        "mkdir -p .git/hooks sub; echo evil >.git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; "
        "echo 'gitdir: x' >sub/.git; ln -s / out; ln -s /etc/passwd sub/p; mkfifo pipe; "
        "rm link; ln -s /etc link; rm -r src; ln -s /tmp src; echo fine >fine.txt"
    )
    before = {str(path) for path in project.parent.iterdir()}
    result, log = await run(upload_site, script, project)
    assert (project / "fine.txt").read_text() == "fine\n", log.status
    found = set(tree(project))
    assert found == {"README", "fine.txt", "link", ".gitignore", "build/big", ".git/HEAD"}, log.status
    assert str((project / "link").readlink()) == "src/a.txt"
    assert {str(path) for path in project.parent.iterdir()} == before
    not_returned = workspace_result(result)["left"]
    assert (not_returned["special"], not_returned["git"]) == (1, 1)
    assert not_returned["links"] >= 2
    assert "lost with the Pod" in log.status


async def test_next_host_brings_changes_back_if_a_host_dies_in_mid_run(
    upload_site: Site, project: Path
) -> None:
    ids = {"runId": str(uuid.uuid4()), "agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}}
    first_log, log = HostLog(), HostLog()
    script = "echo working; sleep 5; echo agent >README"
    async with asyncio.TaskGroup() as group:
        first_run = group.create_task(run(upload_site, script, project, host_log=first_log, more=ids))
        await wait_for_output(first_log, "working")
        first_run.cancel()
    await upload_site.adapter.shutdown()
    second = new_adapter(upload_site)
    try:
        result, _ = await run(replace(upload_site, adapter=second), script, project, host_log=log, more=ids)
    finally:
        await second.shutdown()
    assert "Reattaching" in log.status
    assert (result.error_message, workspace_result(result)["written"]) == (None, 1), log.status
    assert (project / "README").read_text() == "agent\n"


async def end_host_in_mid_run(site: Site, project: Path, script: str, agent: dict[str, str]) -> None:
    """Start a run whose agent prints "working", end its host, and wait until the agent has ended too."""
    log = HostLog()
    async with asyncio.TaskGroup() as group:
        more = {"runId": str(uuid.uuid4()), "agent": agent}
        running = group.create_task(run(site, script, project, host_log=log, more=more))
        await wait_for_output(log, "working")
        running.cancel()
    await site.adapter.shutdown()
    await asyncio.sleep(4)


async def test_run_of_another_task_brings_back_changes_of_a_dead_host(
    upload_site: Site, project: Path
) -> None:
    agent = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    log = HostLog()
    await end_host_in_mid_run(upload_site, project, "echo working; sleep 2; echo agent >README", agent)
    second = new_adapter(upload_site)
    context = {"taskId": "task-2", "paperclipWorkspace": {"cwd": str(project)}}
    try:
        env = {"CLAUDE_SCRIPT": f"cat README; {RESULT}"}
        site = replace(upload_site, adapter=second)
        config = {"workspace": "upload"}
        result, _ = await site.run(env, host_log=log, config=config, context=context, agent=agent)
    finally:
        await second.shutdown()
    assert result.error_message is None, log.status
    assert "of an earlier run" in log.status
    assert log.stdout.startswith("agent\n"), log.status
    assert (project / "README").read_text() == "agent\n"


async def test_changes_are_brought_back_only_by_runs_in_their_folder(
    upload_site: Site, project: Path
) -> None:
    agent = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    other = project.parent / "other"
    write(other, {"README": "other\n"})
    await end_host_in_mid_run(upload_site, project, "echo working; sleep 1; echo agent >README", agent)
    second = new_adapter(upload_site)
    site = replace(upload_site, adapter=second)
    env = {"CLAUDE_SCRIPT": f"cat README; {RESULT}"}
    try:
        for folder, text in ((other, "other\n"), (project, "agent\n")):
            context = {"taskId": folder.name, "paperclipWorkspace": {"cwd": str(folder)}}
            result, log = await site.run(env, config={"workspace": "upload"}, context=context, agent=agent)
            assert result.error_message is None, log.status
            assert log.stdout.startswith(text), log.status
    finally:
        await second.shutdown()
    assert (other / "README").read_text() == "other\n"


async def test_stopped_run_brings_back_what_was_changed(upload_site: Site, project: Path) -> None:
    stop, log = asyncio.Event(), HostLog()
    script = "echo agent >README; echo working; sleep 60"
    async with asyncio.TaskGroup() as group:
        more = {"signal": stop}
        running = group.create_task(
            run(upload_site, script, project, host_log=log, more=more, stopGraceSec=10)
        )
        await wait_for_output(log, "working")
        stop.set()
    result, _ = running.result()
    assert (project / "README").read_text() == "agent\n", log.status
    assert result.error_code is not None


async def test_fifty_megabytes_in_5000_files_are_changed_and_brought_back(
    upload_site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    for number in range(5000):
        path = folder / f"d{number % 50}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(10_480))
    script = "for d in d*; do for f in $d/*; do echo x >>$f; done; done"
    result, log = await run(upload_site, script, folder, uploadLimit="128Mi", startTimeoutSec=240)
    assert result.error_message is None, log.status
    assert (workspace_result(result)["written"], workspace_result(result)["counts"]) == (5000, {}), log.status
    assert {path.stat().st_size for path in folder.glob("d*/f*")} == {10_480 + len("x\n")}


async def test_folder_outside_of_the_policy_is_refused(upload_site: Site) -> None:
    result, _ = await run(upload_site, "true", Path("/etc"))
    assert result.error_code == "k8s_policy_refused"
    assert "uploadRoots" in (result.error_message or "")
    assert await upload_site.leftovers() == []


async def test_folder_above_its_limit_is_refused(upload_site: Site, project: Path) -> None:
    write(project, {"large": "x" * 5000})
    result, _ = await run(upload_site, "true", project, uploadLimit="4Ki")
    assert result.error_code == "k8s_workspace_unavailable"
    assert "uploadExcludes" in (result.error_message or "")
    result, _ = await run(upload_site, "true", project, uploadLimit="4Ki", uploadExcludes="/lar*")
    assert result.error_message is None
