"""Runs have the same results as with the TypeScript adapter, or differ on purpose."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.host.policy_folders import SERVER_SKILLS_VARIABLE
from paperclip_claude_k8s.testing import (
    AgentRunner,
    FakeCluster,
    HostLog,
    PodScript,
    build_context,
    create_adapter,
)

INIT = {"type": "system", "subtype": "init", "model": "claude-opus-4-7", "session_id": "sess_trunc"}
SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
OTHER_SESSION = "00000000-026f-4619-ac69-4537ef7d22eb"
NO_WAIT = {"concurrencyWaitSec": 0}
WITH_VOLUME = {"claimName": "paperclip-data"}
"""Config with which sessions outlive their Pods."""
USED = {"input_tokens": 1, "cache_creation_input_tokens": 523, "cache_read_input_tokens": 46295}
CALL = {"type": "tool_use", "id": "tool_1", "name": "Bash", "input": {"command": "echo hi"}}


def stdout(*events: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(event)}\n" for event in events).encode()


def answer(tokens: int, *blocks: dict[str, Any]) -> dict[str, Any]:
    usage = {**USED, "output_tokens": tokens}
    message = {"id": "m", "stop_reason": None, "usage": usage, "content": list(blocks)}
    return {"type": "assistant", "session_id": "sess_trunc", "message": message}


def jobs(cluster: FakeCluster) -> list[dict[str, Any]]:
    return list(cluster.store.list(JOBS))


async def leave_job(cluster: FakeCluster, **fields: Any) -> None:
    """Leave a Job with a running agent, whose host process has ended."""
    adapter = create_adapter(cluster, "earlier")
    async with asyncio.TaskGroup() as group:
        group.create_task(adapter.execute(build_context(HostLog(), **{"runId": "prior-run", **fields})))
        await asyncio.sleep(10)
        await adapter.shutdown()


# ── Before the Job ───────────────────────────────────────────────────────────────────────────────


async def test_agent_id_without_a_legal_character_is_an_error(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    result, _ = await run_agent(agent={"id": "@@@", "companyId": "co"})
    assert result.error_code == "k8s_agent_id_invalid"
    assert fake_cluster.calls.count("create") == 0


async def test_jobs_that_cannot_be_listed_are_an_error(run_agent: AgentRunner) -> None:
    result, _ = await run_agent(fault="jobs_forbidden")
    assert result.error_code == "k8s_concurrency_guard_unreachable"


@pytest.mark.parametrize(
    ("left", "fields", "code"),
    [
        ({}, {"config": {"reattachOrphanedJobs": False, **NO_WAIT}}, "k8s_concurrent_run_blocked"),
        ({"context": {}}, {"context": {}}, "k8s_orphan_task_unknown"),
        ({"context": {"taskId": "other"}}, {"config": NO_WAIT}, "k8s_concurrent_run_blocked"),
        (
            {"runtime": {"sessionId": SESSION}, "config": WITH_VOLUME},
            {"runtime": {"sessionId": OTHER_SESSION}, "config": WITH_VOLUME},
            "k8s_orphan_session_mismatch",
        ),
    ],
)
async def test_unfitting_job_of_an_earlier_process_blocks_the_run(
    left: dict[str, Any],
    fields: dict[str, Any],
    code: str,
    fake_cluster: FakeCluster,
    run_agent: AgentRunner,
) -> None:
    await leave_job(fake_cluster, **left)
    result, _ = await run_agent(**fields)
    assert result.error_code == code
    assert len(jobs(fake_cluster)) == 1
    assert_typescript_adapter_differs("messages about Jobs of earlier host processes")


@pytest.mark.parametrize("run", ["run-2", "prior-run"])
async def test_fitting_job_of_an_earlier_process_is_adopted(
    run: str, fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    await leave_job(fake_cluster)
    result, _ = await run_agent(runId=run)
    assert result.error_code is None
    assert fake_cluster.calls.count("create", "jobs") == 1
    assert_typescript_adapter_differs("a live Job of the same run blocks it")
    assert_typescript_adapter_differs("re-attaching to a Job without a Pod fails at once")


async def test_refused_job_is_an_error_with_the_words_of_the_server(run_agent: AgentRunner) -> None:
    result, _ = await run_agent(fault="job_refused")
    assert result.error_code == "k8s_job_create_failed"
    assert "exceeded quota" in (result.error_message or "")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"labels": {"paperclip.io/x": "y"}}, "paperclip.io/x"),
        ({"instructionsFilePath": "/paperclip/nowhere.md"}, "nowhere.md"),
    ],
)
async def test_unusable_config_value_causes_a_warning(
    config: dict[str, Any], named: str, run_agent: AgentRunner
) -> None:
    result, host_log = await run_agent(config=config)
    assert result.error_code is None
    assert named in host_log.status


async def run_with_skills(cluster: FakeCluster, folder: Path, *names: str) -> HostLog:
    """Run an agent with required skills of these names, whose sources are below `folder`."""
    for name in names:
        (folder / name).mkdir()
        (folder / name / "SKILL.md").write_text(f"---\nname: {name}\n---\n", encoding="utf-8")
    skills = [
        {"key": f"co/{name}", "runtimeName": name, "source": str(folder / name), "required": True}
        for name in names
    ]
    chosen = {"desiredSkills": [skill["key"] for skill in skills]}
    adapter = create_adapter(cluster, env={SERVER_SKILLS_VARIABLE: str(folder)})
    run = AgentRunner(cluster, adapter)
    _, host_log = await run(config={"paperclipRuntimeSkills": skills, "paperclipSkillSync": chosen})
    await adapter.shutdown()
    return host_log


@pytest.mark.parametrize(("names", "listed"), [((), "none"), (("safety", "sdlc"), "safety, sdlc")])
async def test_skills_of_a_run_are_in_its_log(
    names: tuple[str, ...], listed: str, tmp_path: Path, fake_cluster: FakeCluster
) -> None:
    host_log = await run_with_skills(fake_cluster, tmp_path, *names)
    assert f"Skills bundled ({len(names)}): {listed}" in host_log.status


async def test_skills_of_a_run_are_in_the_notes_for_the_host(
    tmp_path: Path, fake_cluster: FakeCluster
) -> None:
    host_log = await run_with_skills(fake_cluster, tmp_path, "safety")
    assert "Skills (1): safety" in host_log.meta[0]["commandNotes"]


# ── The run ──────────────────────────────────────────────────────────────────────────────────────


async def test_good_run_has_session_usage_and_model(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    result, host_log = await run_agent()
    assert (result.exit_code, result.timed_out, result.error_message) == (0, False, None)
    assert result.session_id is not None
    assert result.usage is not None
    assert result.usage.output_tokens > 0
    assert (result.provider, result.model) == ("anthropic", "claude-sonnet-4-5-20250929")
    assert jobs(fake_cluster) == []
    assert "Pod running" in host_log.status


async def test_session_that_does_not_exist_is_given_up(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    text = f"No conversation found with session ID: {SESSION}"
    end = {"type": "result", "subtype": "error_during_execution", "is_error": True, "errors": [text]}
    fake_cluster.pod_script = PodScript.replaying(stdout(end), exit_code=1)
    result, _ = await run_agent()
    assert (result.error_code, result.clear_session) == ("session_unavailable", True)


ANY_CODE = None
CUT = PodScript(
    output=((0.0, stdout(INIT, answer(35, CALL))),), ends_at=2.0, exit_code=137, reason="OOMKilled"
)


@pytest.mark.parametrize(
    ("script", "code", "parts"),
    [
        (PodScript.replaying(b"boom\n", exit_code=1), ANY_CODE, ["Claude exited with code 1: boom"]),
        (PodScript.replaying(stdout(INIT), exit_code=1), ANY_CODE, ["after init", "claude-opus-4-7"]),
        (
            PodScript.replaying(stdout(INIT, answer(0)), exit_code=1),
            "llm_api_error",
            ["stop_reason: null", "output_tokens: 0"],
        ),
        (
            CUT,
            "claude_truncated",
            ["truncated mid-stream", "claude-opus-4-7", "exit code 137", "SIGKILL", "OOMKilled"],
        ),
    ],
)
async def test_output_without_a_result_is_explained(
    script: PodScript, code: str | None, parts: list[str], fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = script
    result, _ = await run_agent()
    assert code in {ANY_CODE, result.error_code}
    assert [part for part in parts if part not in (result.error_message or "")] == []


async def test_job_is_kept_with_retain_jobs(fake_cluster: FakeCluster, run_agent: AgentRunner) -> None:
    result, _ = await run_agent(config={"retainJobs": True})
    assert result.error_code is None
    assert len(jobs(fake_cluster)) == 1


async def test_job_that_cannot_be_deleted_does_not_change_the_result(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.faults.refuse("delete", "jobs", code=500, times=1000)
    result, _ = await run_agent()
    assert result.error_code is None


async def test_deleted_job_is_reported_with_what_was_seen(run_agent: AgentRunner) -> None:
    result, _ = await run_agent(fault="job_deleted")
    assert result.error_code == "k8s_job_deleted_externally"
    start = "K8s Job was deleted externally before Claude could complete ["
    assert (result.error_message or "").startswith(start)
    assert "detected_via=" in (result.error_message or "")


# ── Cancellation, SIGTERM, concurrent runs ───────────────────────────────────────────────────────


async def test_cancelled_run_is_stopped(fake_cluster: FakeCluster, run_agent: AgentRunner) -> None:
    signal = asyncio.Event()
    asyncio.get_running_loop().call_later(15.0, signal.set)
    result, _ = await run_agent(signal=signal)
    assert (result.error_code, result.timed_out) == ("cancelled", False)
    assert result.error_message is not None
    assert result.error_message.startswith("Run cancelled")
    assert jobs(fake_cluster) == []


async def test_job_is_kept_when_the_host_process_ends(fake_cluster: FakeCluster) -> None:
    await leave_job(fake_cluster)
    assert len(jobs(fake_cluster)) == 1
    assert fake_cluster.calls.count("delete", "jobs") == 0
    assert_typescript_adapter_differs("importing the adapter installs a SIGTERM handler")


async def test_second_run_of_an_agent_starts_after_the_first_fails_to_create_its_job(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.faults.refuse("create", "jobs", code=403, times=1, message="exceeded quota")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(run_agent(runId="run-1"))
        second = group.create_task(run_agent(runId="run-2"))
    assert first.result().result.error_code == "k8s_job_create_failed"
    assert second.result().result.error_code is None


async def test_runs_of_two_agents_do_not_wait_for_each_other(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    async with asyncio.TaskGroup() as group:
        runs = [
            group.create_task(run_agent(runId=f"run-{name}", agent={"id": name, "companyId": "co"}))
            for name in ("ada", "grace")
        ]
        await asyncio.sleep(10)
        assert len(jobs(fake_cluster)) == 2
    assert [run.result().result.error_code for run in runs] == [None, None]
