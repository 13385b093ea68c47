"""Runs that outlive their commands: waiting, polling, resuming, signals and cancellation."""

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.dev_cluster_cli import TRANSCRIPT, DevClusterCli

from paperclip_claude_k8s.devcluster import DevCluster

PROGRESS = re.compile(r"^  \[\d+s\] +run=(\S+)  status=([A-Z]+)", re.MULTILINE)


def statuses(err: str) -> list[tuple[str, str]]:
    """Run id and status of each progress line on stderr."""
    return PROGRESS.findall(err)


# Waiting and polling, and their exit codes ---------------------------------------------------------


async def test_run_polls_until_the_end_and_shows_progress_on_stderr(dev: DevClusterCli) -> None:
    args = dev.new_run_args("--poll-interval", "0.2", "--timeout", "50", "--print-response", CLAUDE_SLEEP="1")
    code, reply, err = await dev.cli.run(*args)
    assert (code, reply["status"]) == (0, "succeeded")
    assert reply["response"] == reply["result"]["summary"]
    seen = [status for run_id, status in statuses(err) if run_id == reply["run_id"]]
    assert seen[0] == "PENDING"
    assert seen[-1] == "SUCCEEDED"
    assert "RUNNING" in seen


async def test_run_with_quiet_prints_nothing_on_stderr(dev: DevClusterCli) -> None:
    code, _, err = await dev.cli.run(*dev.new_run_args("--quiet"))
    assert (code, err) == (0, "")


async def test_poll_once_exits_2_while_the_run_continues_and_0_after_its_end(dev: DevClusterCli) -> None:
    run_id = await dev.submit(**dev.env_of_waiting_agent())
    out = dev.cli.folder / "out"
    code, reply, _ = await dev.cli.run("run", "--run-id", run_id, "--poll-once", "--output", str(out))
    assert (code, reply["status"], reply["run_id"]) == (2, "polling", run_id)
    assert not (out / "result.json").exists()
    assert reply["resume"] == f"claude-k8s run --run-id {run_id}"
    dev.end_agent()
    async with asyncio.timeout(60):
        while code == 2:
            args = ("run", "--run-id", run_id, "--poll-once", "--output", str(out))
            code, reply, err = await dev.cli.run(*args)
    assert (code, reply["status"]) == (0, "succeeded")
    assert statuses(err)[-1] == (run_id, "SUCCEEDED")
    assert (out / "transcript.ndjson").read_bytes() == TRANSCRIPT
    assert json.loads((out / "result.json").read_bytes()) == reply
    assert "Created K8s Job" in (out / "log").read_text()
    assert await dev.job_names() == []


async def test_poll_once_exits_1_if_the_run_failed(dev: DevClusterCli) -> None:
    run_id = await dev.submit(number="07b", CLAUDE_EXIT="1")
    await dev.wait_for_job_end()
    code, reply, _ = await dev.cli.run("run", "--run-id", run_id, "--poll-once")
    assert (code, reply["status"], reply["error"]) == (1, "failed", "task_failed")
    assert reply["error_code"] == "claude_auth_required"
    assert reply["detail"]


@pytest.mark.parametrize("command", ["run", "query"])
async def test_run_and_query_with_a_run_id_resume_the_wait(dev: DevClusterCli, command: str) -> None:
    run_id = await dev.submit(CLAUDE_SLEEP="1")
    out = dev.cli.folder / "out"
    args = ["--run-id", run_id, "--poll-interval", "0.5", "--timeout", "50", "--output", str(out)]
    code, reply, _ = await dev.cli.run(command, *args)
    assert (code, reply["run_id"]) == (0, run_id)
    assert (out / "transcript.ndjson").read_bytes() == TRANSCRIPT


async def test_timeout_ends_the_wait_but_not_the_run(dev: DevClusterCli) -> None:
    args = dev.new_run_args("--timeout", "4", **dev.env_of_waiting_agent())
    code, reply, _ = await dev.cli.run(*args)
    assert (code, reply["status"], reply["error"]) == (1, "polling", "poll_timeout")
    assert f"claude-k8s cancel {reply['run_id']}" == reply["cancel"]
    assert reply["job"] in reply["detail"]
    assert len(await dev.job_names()) == 1
    dev.end_agent()
    code, resumed, _ = await dev.cli.run(*reply["resume"].split()[1:])
    assert (code, resumed["run_id"]) == (0, reply["run_id"])


# Schedules, progress lines, and the names of errors ------------------------------------------------


async def test_poll_schedule_that_is_used_up_is_a_poll_timeout(dev: DevClusterCli) -> None:
    args = dev.new_run_args("--poll-schedule", "100,200,300", CLAUDE_SLEEP="20")
    env = {"CLAUDE_K8S_POLL_MIN_TOTAL_MS": "0"}
    code, reply, err = await dev.cli.run(*args, env=env)
    assert (code, reply["error"]) == (1, "poll_timeout")
    assert "no end after 4 polls" in reply["detail"]  # one before each pause, and one after the last
    # the first poll, every third and the last have a progress line
    assert re.findall(r"poll=(\d)/4", err) == ["1", "3", "4"]


async def test_progress_0_hides_progress_lines_but_not_the_transcript(dev: DevClusterCli) -> None:
    _, _, err = await dev.cli.run(*dev.new_run_args(), env={"CLAUDE_K8S_PROGRESS": "0"})
    assert statuses(err) == []
    assert "→ Write" in err


async def test_consecutive_poll_errors_abort_the_wait_but_not_the_run(dev: DevClusterCli) -> None:
    args = dev.new_run_args("-q", "--poll-interval", "0.3", CLAUDE_LINE_DELAY="0.2")
    env = {"CLAUDE_K8S_POLL_MAX_CONSECUTIVE_ERRORS": "3"}
    async with asyncio.TaskGroup() as group:
        running = group.create_task(dev.cli.run(*args, env=env))
        await dev.cli.wait_until(lambda: len(dev.cli.transcript()) > 0)
        await dev.cluster.go_down(seconds=3)
    code, reply, _ = running.result()
    assert (code, reply["error"]) == (1, "poll_aborted")
    assert "3 polls in a row failed" in reply["detail"]
    code, resumed, _ = await dev.cli.run(*reply["resume"].split()[1:])
    assert (code, resumed["status"]) == (0, "succeeded")
    assert dev.cli.transcript() == TRANSCRIPT


async def test_last_run_shows_a_run_whose_command_was_killed(dev: DevClusterCli) -> None:
    args = dev.new_run_args(CLAUDE_LINE_DELAY="0.2")
    await dev.cli.run_and_kill(signal.SIGKILL, lambda: len(dev.cli.transcript()) > 0, *args)
    code, reply, _ = await dev.cli.run("last-run")
    assert (code, reply["status"]) == (0, "polling")
    assert reply["job"] in await dev.job_names()
    await dev.cli.run(*reply["resume"].split()[1:], "-q")
    _, ended, _ = await dev.cli.run("last-run")
    assert (ended["run_id"], ended["status"]) == (reply["run_id"], "succeeded")


async def test_history_lists_runs_and_unreadable_records(dev: DevClusterCli) -> None:
    first = await dev.submit()
    await dev.cli.run("run", "--run-id", first, "-q")
    await dev.cli.run(*dev.new_run_args("-q"))
    broken = dev.cli.state / "runs" / "broken" / "record.json"
    broken.parent.mkdir()
    broken.write_text('{"version": 99}')
    code, reply, _ = await dev.cli.run("history")
    assert code == 0
    assert sorted(run["status"] for run in reply["runs"]) == ["failed", "succeeded", "succeeded"]
    assert first in [run["run_id"] for run in reply["runs"]]
    (newest,) = (await dev.cli.run("history", "--limit", "1"))[1]["runs"]
    assert newest["run_id"] == "broken"  # an unreadable record counts as changed when its folder changed


async def test_run_whose_job_was_deleted_ends_with_result_lost(dev: DevClusterCli) -> None:
    run_id = await dev.submit(CLAUDE_SLEEP="20")
    await dev.delete_jobs()
    code, reply, _ = await dev.cli.run("run", "--run-id", run_id)
    assert (code, reply["status"], reply["error"]) == (1, "failed", "result_lost")
    assert await dev.job_names() == []
    assert (await dev.cli.run("run", "--run-id", run_id, "--poll-once"))[1] == reply


async def test_spawned_command_repeated_three_times_is_one_run(dev: DevClusterCli) -> None:
    args = dev.new_run_args(CLAUDE_LINE_DELAY="0.1")[1:]
    code, reply, _ = await dev.cli.run("spawn", *args)
    arguments = reply["sessions_spawn_args"]
    assert (code, arguments["runTimeoutSeconds"]) == (0, 3600)
    assert reply["command"] in arguments["task"]
    assert await dev.job_names() == []
    async with asyncio.TaskGroup() as group:
        starts = [group.create_task(dev.cli.run(*reply["command"].split()[1:])) for _ in range(3)]
    replies = [start.result() for start in starts]
    assert [code for code, _, _ in replies] == [0, 0, 0]
    assert replies[0][1] == replies[1][1] == replies[2][1]
    (log,) = dev.cli.state.glob("runs/*/log")
    assert log.read_text().count("Created K8s Job") == 1


# Signals, other processes, cancellation, bad input -------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signal_prints_a_reply_and_ends_the_command_by_the_signal(
    dev: DevClusterCli, signum: signal.Signals
) -> None:
    args = dev.new_run_args(CLAUDE_LINE_DELAY="0.5")
    code, out, _ = await dev.cli.run_and_kill(signum, lambda: len(dev.cli.transcript()) > 0, *args)
    reply = json.loads(out)
    assert code == -signum
    assert (reply["status"], reply["error"]) == ("polling", "poll_aborted")
    assert "costs money until it ends by itself or it is cancelled" in reply["detail"]
    assert signum.name in reply["detail"]
    assert "run_id" in reply
    assert reply["resume"] == f"claude-k8s run --run-id {reply['run_id']}"
    async with dev.gateway() as gateway:
        leases = await gateway.list_leases(dev.cluster.namespace, {})
    assert leases.items == ()
    assert len(await dev.job_names()) == 1


async def test_submitted_run_blocks_other_runs_of_its_agent_until_it_ends(dev: DevClusterCli) -> None:
    run_id = await dev.submit(**dev.env_of_waiting_agent())
    code, blocked, _ = await dev.cli.run(*dev.new_run_args("-q"))
    assert (code, blocked["error_code"]) == (1, "k8s_concurrent_run_blocked")
    dev.end_agent()
    await dev.wait_for_job_end()
    code, other, _ = await dev.cli.run(*dev.new_run_args("-q"))
    assert (code, other["status"]) == (0, "succeeded")
    assert other["run_id"] != run_id
    code, reply, _ = await dev.cli.run("run", "--run-id", run_id, "-q")
    assert (code, reply["run_id"]) == (0, run_id)
    assert await dev.job_names() == []


@pytest.mark.parametrize("another_waits", [True, False], ids=["another command waits", "no command waits"])
async def test_cancel_ends_the_run_and_keeps_its_output(
    dev: DevClusterCli,
    another_waits: bool,  # noqa: FBT001
) -> None:
    args = dev.new_run_args("-q", CLAUDE_LINE_DELAY="0.8")
    if another_waits:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(dev.cli.run(*args))
            await dev.cli.wait_until(lambda: len(dev.cli.transcript()) > 0)
            record = dev.cli.record()
            assert record is not None
            ended = group.create_task(dev.cli.run("cancel", "-q", record["run_id"]))
        assert waiting.result()[0] == 1
        assert waiting.result()[1] == ended.result()[1]
        code, reply, _ = ended.result()
    else:
        run_id = await dev.submit(CLAUDE_LINE_DELAY="0.8")
        await dev.wait_for_output()
        code, reply, _ = await dev.cli.run("cancel", "-q", run_id)
    assert (code, reply["status"], reply["error"]) == (0, "cancelled", "cancelled")
    assert 0 < len(dev.cli.transcript()) < len(TRANSCRIPT)
    assert TRANSCRIPT.startswith(dev.cli.transcript())


async def test_jobs_and_logs_do_not_affect_the_run(dev: DevClusterCli) -> None:
    run_id = await dev.submit("--agent", "ada", **dev.env_of_waiting_agent())
    kubeconfig = ["--kubeconfig", str(dev.cluster.kubeconfig)]
    code, reply, _ = await dev.cli.run("jobs", *kubeconfig)
    (job,) = reply["jobs"]
    assert (code, job["run_id"], job["agent"], job["status"]) == (0, run_id, "ada", "live")
    dev.end_agent()
    code, followed, err = await claude_k8s("logs", "-f", run_id, env=dev.cli.environment())
    assert (code, followed.encode(), err) == (0, TRANSCRIPT, "")
    assert len(await dev.job_names()) == 1
    await dev.cli.run("run", "--run-id", run_id, "-q")
    code, saved, _ = await claude_k8s("logs", run_id, env=dev.cli.environment())
    assert (code, saved.encode()) == (0, TRANSCRIPT)


@pytest.mark.parametrize(
    ("args", "error", "detail"),
    [
        (["run", "--poll-once"], "usage", "--poll-once checks a known run: give its --run-id"),
        (["run", "--run-id", "nope"], "unknown_run", "run nope is not known"),
        (["run", "--run-id", "nope", "-p", "x"], "usage", "give one of them"),
        (["run", "--run-id", "x", "--submit-only"], "usage", "not with --run-id"),
        (["run", "-p", "x", "--devcluster", "--submit-only"], "usage", "claude-k8s devcluster up"),
        (["run", "-p", "x", "--poll-schedule", "soon"], "usage", "expected milliseconds"),
        (["run", "-p", "x", "--timeout", "soon"], "usage", "--timeout"),
        (["run", "--no-such-option"], "usage", "--no-such-option"),
        (["query"], "usage", "--run-id"),
        (["query", "--run-id", "nope"], "unknown_run", "run nope is not known"),
        (["cancel", "nope"], "unknown_run", "run nope is not known"),
        (["last-run"], "unknown_run", "no run has been started yet by this user"),
    ],
)
async def test_bad_input_is_reported_in_json_with_exit_code_1(
    tmp_path: Path, args: list[str], error: str, detail: str
) -> None:
    code, reply, _ = await CommandRunner(tmp_path).run(*args)
    assert (code, reply["status"], reply["error"]) == (1, "failed", error)
    assert detail in reply["detail"]


async def test_unwritable_folder_fails_the_call_before_it_submits_a_run(dev: DevClusterCli) -> None:
    code, reply, _ = await dev.cli.run(*dev.new_run_args("--output", "/proc/nowhere"))
    assert (code, reply["error"]) == (1, "output_unwritable")
    env = {"CLAUDE_K8S_STATE_DIR": "/proc/nowhere"}
    code, reply, _ = await dev.cli.run(*dev.new_run_args(), env=env)
    assert (code, reply["error"]) == (1, "state_unwritable")
    assert await dev.job_names() == []


async def test_no_line_is_lost_if_the_transcript_reaches_the_file_size_limit(dev: DevClusterCli) -> None:
    args = dev.new_run_args("-q", CLAUDE_LINE_DELAY="0.05")
    # 6 KiB: records fit, the transcript does not
    small_files = ["bash", "-c", 'ulimit -f 6; exec "$@"', "-"]
    env = dev.cli.environment({"PYTHONDONTWRITEBYTECODE": "1"})  # no .pyc files, which the limit would cut
    code, out, _ = await claude_k8s(*args, env=env, prefix=small_files)
    reply = json.loads(out)
    assert (code, reply["error"]) == (1, "state_unwritable")
    assert "make room and resume" in reply["detail"]
    assert len(await dev.job_names()) == 1
    code, resumed, _ = await dev.cli.run(*reply["resume"].split()[1:], "-q")
    assert (code, resumed["status"]) == (0, "succeeded")
    assert dev.cli.transcript() == TRANSCRIPT


async def test_resume_on_another_cluster_is_refused(dev: DevClusterCli) -> None:
    run_id = await dev.submit(CLAUDE_SLEEP="5")
    async with DevCluster.start() as other:
        args = ["run", "--run-id", run_id, "--kubeconfig", str(other.kubeconfig)]
        code, reply, _ = await dev.cli.run(*args)
    assert (code, reply["error"]) == (1, "other_cluster")
    assert other.token not in json.dumps(reply)
    (path,) = dev.cli.state.glob("runs/*/record.json")
    assert dev.cluster.token not in path.read_text()


async def test_kubeconfig_with_an_invalid_token_fails_the_run(dev: DevClusterCli) -> None:
    args = dev.new_run_args("-q")
    dev.cluster.kubeconfig.write_text(dev.cluster.kubeconfig.read_text().replace(dev.cluster.token, "x"))
    code, reply, _ = await dev.cli.run(*args)
    assert (code, reply["error"], reply["error_code"]) == (
        1,
        "task_failed",
        "k8s_concurrency_guard_unreachable",
    )
    assert "Unauthorized" in reply["detail"]


async def test_embedded_cluster_ends_with_its_command(tmp_path: Path) -> None:
    cli = CommandRunner(tmp_path)
    args = ["run", "--devcluster", "-p", "Go."]
    _, out, _ = await cli.run_and_kill(signal.SIGTERM, lambda: len(cli.transcript()) > 0, *args)
    reply = json.loads(out)
    assert reply["error"] == "poll_aborted"
    assert "claude-k8s devcluster up" in reply["detail"]
    assert "resume" not in reply
    assert (await cli.run("run", "--run-id", reply["run_id"]))[:2] == (1, reply)


async def test_killed_embedded_cluster_loses_the_result(tmp_path: Path) -> None:
    cli = CommandRunner(tmp_path)
    await cli.run_and_kill(
        signal.SIGKILL, lambda: len(cli.transcript()) > 0, "run", "--devcluster", "-p", "Go."
    )
    record: dict[str, Any] = cli.record() or {}
    await asyncio.to_thread(Path(record["request"]["config"]["kubeconfig"]).unlink, missing_ok=True)
    code, reply, _ = await cli.run("run", "--run-id", record["run_id"])
    assert (code, reply["error"]) == (1, "result_lost")
    assert "was embedded in the command" in reply["detail"]


async def test_devcluster_up_refuses_a_missing_claude(tmp_path: Path) -> None:
    code, reply, _ = await CommandRunner(tmp_path).run("devcluster", "up", "--claude", "/nowhere/claude")
    assert (code, reply["error"]) == (2, "usage")
    assert reply["detail"] == "--claude /nowhere/claude does not exist"


async def test_devcluster_up_serves_later_commands_until_down(tmp_path: Path) -> None:
    cli = CommandRunner(tmp_path)
    assert (await cli.run("devcluster", "status"))[:2] == (1, {"status": "down"})
    _, out, _ = await claude_k8s("jobs", "--devcluster", "-o", "text", env=cli.environment())
    assert out.startswith("No runs: the development cluster is not running; `claude-k8s devcluster up`")
    try:
        async with asyncio.TaskGroup() as group:
            ups = [group.create_task(cli.run("devcluster", "up")) for _ in range(2)]
        assert ups[0].result()[1] == ups[1].result()[1]
        code, out, _ = await claude_k8s(
            "run", "--devcluster", "-p", "x", "--submit-only", env=cli.environment()
        )
        assert code == 0
        code, reply, _ = await cli.run("run", "--run-id", out.strip(), "-q")
        assert (code, reply["status"]) == (0, "succeeded")
    finally:
        assert (await cli.run("devcluster", "down"))[:2] == (0, {"status": "down"})
    assert (await cli.run("devcluster", "status"))[1] == {"status": "down"}


@pytest.mark.parametrize("pid", ["-1", "1", "\xe9"])
async def test_devcluster_with_a_damaged_pid_file_signals_no_other_process(tmp_path: Path, pid: str) -> None:
    cli = CommandRunner(tmp_path)
    try:
        up = (await cli.run("devcluster", "up"))[1]
        file = Path(up["kubeconfig"]).with_name("pid")
        file.write_text(pid, encoding="latin-1")
        assert (await cli.run("devcluster", "status"))[:2] == (0, {**up, "pid": None})
        code, reply, _ = await cli.run("devcluster", "down")
        assert (code, reply["error"]) == (1, "not_down")
        assert "lock" in reply["detail"]
        file.write_text(str(up["pid"]), encoding="utf-8")
    finally:
        assert (await cli.run("devcluster", "down"))[0] == 0


async def test_devcluster_up_reports_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    cli = CommandRunner(tmp_path)
    up = (await cli.run("devcluster", "up"))[1]
    assert (await cli.run("devcluster", "down"))[0] == 0
    log = Path(up["kubeconfig"]).with_name("log")
    log.unlink()
    log.mkdir()
    code, reply, _ = await cli.run("devcluster", "up")
    assert (code, reply["error"]) == (1, "state_unwritable")


async def test_shell_completion_lists_commands() -> None:
    env = {"_CLAUDE_K8S_COMPLETE": "complete_bash", "COMP_WORDS": "claude-k8s la", "COMP_CWORD": "1"}
    assert (await claude_k8s(env=env))[1].split() == ["last-run"]
