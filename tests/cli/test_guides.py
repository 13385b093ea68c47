"""What agents were taught about long tasks holds for runs: seeds 000 and 001, SPEC 12, each by its name."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import Desk, claude_k8s
from tests.support.runs import capture, capture_file

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest
from paperclip_claude_k8s.devcluster import DevCluster

WHOLE = capture("02")
PROGRESS = re.compile(r"^  \[\d+s\] +run=(\S+)  status=([A-Z]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """A development cluster, and an operator who works there."""

    cluster: DevCluster
    desk: Desk

    def new(self, *more: str, number: str = "02", **env: str) -> list[str]:
        """The words of a new run whose agent plays that capture."""
        played = self.desk.folder / capture_file(number)
        played.write_bytes(capture(number))
        path = self.desk.folder / "config.json"
        config = {
            "kubeconfig": str(self.cluster.kubeconfig),
            "image": "local/agent:1",
            "env": {"CLAUDE_CAPTURE": str(played), **env},
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return ["run", "-p", "Go.", "--config", str(path), *more]

    async def submitted(self, *more: str, **env: str) -> str:
        """The id of a run that was left alone."""
        words = self.new("--submit-only", *more, **env)
        code, out, _ = await claude_k8s(*words, env=self.desk.all_env())
        assert code == 0
        assert re.fullmatch(r"[0-9a-f-]{36}\n", out), "seed 001: the bare id, and nothing else"
        return out.strip()

    def held(self) -> dict[str, str]:
        """Variables of an agent that plays the usual capture and goes on until `let_go`."""
        played = self.desk.folder / capture_file("02")
        return {"CLAUDE_SCRIPT": f"cat '{played}'; until [ -e '{self._gate}' ]; do sleep 0.1; done"}

    def let_go(self) -> None:
        self._gate.touch()

    @property
    def _gate(self) -> Path:
        return self.desk.folder / "let-go"

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        gateway = Gateway(str(self.cluster.kubeconfig))
        try:
            yield gateway
        finally:
            await gateway.close()

    async def jobs(self) -> list[str]:
        async with self.gateway() as gateway:
            found = await gateway.list_jobs(self.cluster.namespace, {})
            return [job.ref.name for job in found.items]

    async def job_has_ended(self) -> None:
        """Once the only Job's condition says so."""
        async with self.gateway() as gateway, asyncio.timeout(60):
            while True:
                (job,) = (await gateway.list_jobs(self.cluster.namespace, {})).items
                if job.finished:
                    return
                await asyncio.sleep(0.1)

    async def agent_has_spoken(self) -> None:
        """Once the only Pod's log can be read and holds something."""
        async with self.gateway() as gateway, asyncio.timeout(60):
            while True:
                for pod in (await gateway.list_pods(self.cluster.namespace, {})).items:
                    with suppress(ClusterError):
                        wanted = LogRequest(pod.namespace, pod.name, "claude", follow=False)
                        async with gateway.log(wanted) as log:
                            if await log.read():
                                return
                await asyncio.sleep(0.1)

    async def delete_jobs(self) -> None:
        async with self.gateway() as gateway:
            for job in (await gateway.list_jobs(self.cluster.namespace, {})).items:
                await gateway.delete_job(job.ref, "Background")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with DevCluster.start() as cluster:
        yield Place(cluster, Desk(tmp_path))


def looks(err: str) -> list[tuple[str, str]]:
    return PROGRESS.findall(err)


# Seed 001: the four patterns and their exit codes --------------------------------------------------


async def test_seed_001_pattern_1_polls_until_done_with_progress_on_stderr(place: Place) -> None:
    words = place.new("--poll-interval", "0.2", "--timeout", "50", "--print-response", CLAUDE_SLEEP="1")
    code, told, err = await place.desk.run(*words)
    assert (code, told["status"]) == (0, "succeeded")
    assert told["response"] == told["result"]["summary"]
    statuses = [status for run_id, status in looks(err) if run_id == told["run_id"]]
    assert statuses[0] == "PENDING"
    assert statuses[-1] == "SUCCEEDED"
    assert "RUNNING" in statuses


async def test_seed_001_pattern_4_quiet_says_nothing(place: Place) -> None:
    code, _, err = await place.desk.run(*place.new("--quiet"))
    assert (code, err) == (0, "")


async def test_seed_001_pattern_2_exit_code_2_runs_0_done_and_saved(place: Place) -> None:
    run_id = await place.submitted(**place.held())
    out = place.desk.folder / "out"
    code, told, _ = await place.desk.run("run", "--run-id", run_id, "--poll-once", "--output", str(out))
    assert (code, told["status"], told["run_id"]) == (2, "polling", run_id)
    assert not (out / "result.json").exists()
    assert told["resume"] == f"claude-k8s run --run-id {run_id}"
    place.let_go()
    async with asyncio.timeout(60):
        while code == 2:
            words = ("run", "--run-id", run_id, "--poll-once", "--output", str(out))
            code, told, err = await place.desk.run(*words)
    assert (code, told["status"]) == (0, "succeeded")
    assert looks(err)[-1] == (run_id, "SUCCEEDED")
    assert (out / "transcript.ndjson").read_bytes() == WHOLE
    assert json.loads((out / "result.json").read_bytes()) == told
    assert "Created K8s Job" in (out / "log").read_text()
    assert await place.jobs() == []


async def test_seed_001_pattern_2_exit_code_1_failed(place: Place) -> None:
    run_id = await place.submitted(number="07b", CLAUDE_EXIT="1")
    await place.job_has_ended()
    code, told, _ = await place.desk.run("run", "--run-id", run_id, "--poll-once")
    assert (code, told["status"], told["error"]) == (1, "failed", "task_failed")
    assert told["error_code"] == "claude_auth_required"
    assert told["detail"]


@pytest.mark.parametrize("command", ["run", "query"])
async def test_seed_001_pattern_3_and_seed_000_query_resume_the_wait(place: Place, command: str) -> None:
    run_id = await place.submitted(CLAUDE_SLEEP="1")
    out = place.desk.folder / "out"
    words = ["--run-id", run_id, "--poll-interval", "0.5", "--timeout", "50", "--output", str(out)]
    code, told, _ = await place.desk.run(command, *words)
    assert (code, told["run_id"]) == (0, run_id)
    assert (out / "transcript.ndjson").read_bytes() == WHOLE


async def test_seed_001_timeout_ends_the_wait_with_a_resume_hint_and_not_the_run(place: Place) -> None:
    words = place.new("--timeout", "4", **place.held())
    code, told, _ = await place.desk.run(*words)
    assert (code, told["status"], told["error"]) == (1, "failed", "poll_timeout")
    assert len(await place.jobs()) == 1
    place.let_go()
    code, again, _ = await place.desk.run(*told["resume"].split()[1:])
    assert (code, again["run_id"]) == (0, told["run_id"])


# Seed 000: schedules, progress lines, error names --------------------------------------------------


async def test_seed_000_poll_timeout_when_the_schedule_is_used_up(place: Place) -> None:
    words = place.new("--poll-schedule", "100,200,300", CLAUDE_SLEEP="20")
    env = {"CLAUDE_K8S_POLL_MIN_TOTAL_MS": "0"}
    code, told, err = await place.desk.run(*words, env=env)
    assert (code, told["error"]) == (1, "poll_timeout")
    assert "no end after 4 looks" in told["detail"]
    assert re.findall(r"look=(\d)/4", err) == ["1", "3", "4"]


async def test_seed_000_progress_0_leaves_the_transcript_alone(place: Place) -> None:
    _, _, err = await place.desk.run(*place.new(), env={"CLAUDE_K8S_PROGRESS": "0"})
    assert looks(err) == []
    assert "→ Write" in err


async def test_seed_000_poll_aborted_after_consecutive_errors_and_the_run_goes_on(place: Place) -> None:
    words = place.new("-q", "--poll-interval", "0.3", CLAUDE_LINE_DELAY="0.2")
    env = {"CLAUDE_K8S_POLL_MAX_CONSECUTIVE_ERRORS": "3"}
    async with asyncio.TaskGroup() as group:
        running = group.create_task(place.desk.run(*words, env=env))
        await place.desk.until(lambda: len(place.desk.saved()) > 0)
        await place.cluster.go_down(3)
    code, told, _ = running.result()
    assert (code, told["error"]) == (1, "poll_aborted")
    assert "3 looks in a row failed" in told["detail"]
    code, again, _ = await place.desk.run(*told["resume"].split()[1:])
    assert (code, again["status"]) == (0, "succeeded")
    assert place.desk.saved() == WHOLE


async def test_seed_000_last_run_names_a_run_that_was_cut_off(place: Place) -> None:
    words = place.new(CLAUDE_LINE_DELAY="0.2")
    await place.desk.killed(signal.SIGKILL, lambda: len(place.desk.saved()) > 0, *words)
    code, told, _ = await place.desk.run("last-run")
    assert (code, told["status"]) == (0, "polling")
    assert told["job"] in await place.jobs()
    await place.desk.run(*told["resume"].split()[1:], "-q")
    _, ended, _ = await place.desk.run("last-run")
    assert (ended["run_id"], ended["status"]) == (told["run_id"], "succeeded")


async def test_seed_000_history_lists_runs_and_those_that_cannot_be_read(place: Place) -> None:
    first = await place.submitted()
    await place.desk.run("run", "--run-id", first, "-q")
    await place.desk.run(*place.new("-q"))
    broken = place.desk.state / "runs" / "broken" / "record.json"
    broken.parent.mkdir()
    broken.write_text('{"version": 99}')
    code, told, _ = await place.desk.run("history")
    assert code == 0
    assert sorted(run["status"] for run in told["runs"]) == ["failed", "succeeded", "succeeded"]
    assert first in [run["run_id"] for run in told["runs"]]
    (one,) = (await place.desk.run("history", "--limit", "1"))[1]["runs"]
    assert one["run_id"] == "broken"


async def test_seed_000_result_lost_when_the_job_went_unheard(place: Place) -> None:
    run_id = await place.submitted(CLAUDE_SLEEP="20")
    await place.delete_jobs()
    code, told, _ = await place.desk.run("run", "--run-id", run_id)
    assert (code, told["status"], told["error"]) == (1, "failed", "result_lost")
    assert await place.jobs() == []
    assert (await place.desk.run("run", "--run-id", run_id, "--poll-once"))[1] == told


async def test_seed_000_spawn_gives_an_agent_host_an_hour_and_one_run(place: Place) -> None:
    words = place.new(CLAUDE_LINE_DELAY="0.1")[1:]
    code, told, _ = await place.desk.run("spawn", *words)
    arguments = told["sessions_spawn_args"]
    assert (code, arguments["runTimeoutSeconds"]) == (0, 3600)
    assert told["command"] in arguments["task"]
    assert await place.jobs() == []
    async with asyncio.TaskGroup() as group:
        starts = [group.create_task(place.desk.run(*told["command"].split()[1:])) for _ in range(3)]
    answers = [start.result() for start in starts]
    assert [code for code, _, _ in answers] == [0, 0, 0]
    assert answers[0][1] == answers[1][1] == answers[2][1]
    (log,) = place.desk.state.glob("runs/*/log")
    assert log.read_text().count("Created K8s Job") == 1


# SPEC 12: signals, other holders, cancellation, bad input ------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_spec_12_a_signal_is_answered_in_json_and_died_of(place: Place, how: signal.Signals) -> None:
    words = place.new(CLAUDE_LINE_DELAY="0.5")
    code, out, _ = await place.desk.killed(how, lambda: len(place.desk.saved()) > 0, *words)
    told = json.loads(out)
    assert code == -how
    assert (told["status"], told["error"]) == ("failed", "poll_aborted")
    assert how.name in told["detail"]
    assert "run_id" in told
    assert told["resume"] == f"claude-k8s run --run-id {told['run_id']}"
    async with place.gateway() as gateway:
        leases = await gateway.list_leases(place.cluster.namespace, {})
    assert leases.items == ()
    assert len(await place.jobs()) == 1


async def test_spec_12_a_run_that_was_left_is_in_the_way_while_it_lives_and_nobody_elses_afterwards(
    place: Place,
) -> None:
    run_id = await place.submitted(**place.held())
    code, blocked, _ = await place.desk.run(*place.new("-q"))
    assert (code, blocked["error_code"]) == (1, "k8s_concurrent_run_blocked")
    place.let_go()
    await place.job_has_ended()
    code, other, _ = await place.desk.run(*place.new("-q"))
    assert (code, other["status"]) == (0, "succeeded")
    assert other["run_id"] != run_id
    code, told, _ = await place.desk.run("run", "--run-id", run_id, "-q")
    assert (code, told["run_id"]) == (0, run_id)
    assert await place.jobs() == []


@pytest.mark.parametrize("watched", [True, False], ids=["by another shell", "by nobody"])
async def test_spec_12_cancel_ends_a_run_and_keeps_what_it_said(
    place: Place,
    watched: bool,  # noqa: FBT001
) -> None:
    words = place.new("-q", CLAUDE_LINE_DELAY="0.8")
    if watched:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(place.desk.run(*words))
            await place.desk.until(lambda: len(place.desk.saved()) > 0)
            record = place.desk.record()
            assert record is not None
            ended = group.create_task(place.desk.run("cancel", "-q", record["run_id"]))
        assert watching.result()[0] == 1
        assert watching.result()[1] == ended.result()[1]
        code, told, _ = ended.result()
    else:
        run_id = await place.submitted(CLAUDE_LINE_DELAY="0.8")
        await place.agent_has_spoken()
        code, told, _ = await place.desk.run("cancel", "-q", run_id)
    assert (code, told["status"], told["error"]) == (0, "cancelled", "cancelled")
    assert 0 < len(place.desk.saved()) < len(WHOLE)
    assert WHOLE.startswith(place.desk.saved())


async def test_spec_12_jobs_and_logs_look_without_touching(place: Place) -> None:
    run_id = await place.submitted("--agent", "ada", CLAUDE_LINE_DELAY="0.4")
    kubeconfig = ["--kubeconfig", str(place.cluster.kubeconfig)]
    code, told, _ = await place.desk.run("jobs", *kubeconfig)
    (job,) = told["jobs"]
    assert (code, job["run_id"], job["agent"], job["status"]) == (0, run_id, "ada", "live")
    code, followed, err = await claude_k8s("logs", "-f", run_id, env=place.desk.all_env())
    assert (code, followed.encode(), err) == (0, WHOLE, "")
    assert len(await place.jobs()) == 1
    await place.desk.run("run", "--run-id", run_id, "-q")
    code, saved, _ = await claude_k8s("logs", run_id, env=place.desk.all_env())
    assert (code, saved.encode()) == (0, WHOLE)


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (["run", "--poll-once"], "usage", "--poll-once looks at a known run: give its --run-id"),
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
        (["logs", "nope"], "unknown_run", "run nope is not known"),
        (["last-run"], "unknown_run", "no run was started from here yet"),
    ],
)
async def test_spec_12_bad_input_is_one_sentence_in_json_and_exit_code_1(
    tmp_path: Path, words: list[str], error: str, told: str
) -> None:
    code, answer, _ = await Desk(tmp_path).run(*words)
    assert (code, answer["status"], answer["error"]) == (1, "failed", error)
    assert told in answer["detail"]


async def test_spec_12_a_folder_that_cannot_be_written_is_told_before_anything_starts(place: Place) -> None:
    code, told, _ = await place.desk.run(*place.new("-o", "/proc/nowhere"))
    assert (code, told["error"]) == (1, "output_unwritable")
    env = {"CLAUDE_K8S_STATE_DIR": "/proc/nowhere"}
    code, told, _ = await place.desk.run(*place.new(), env=env)
    assert (code, told["error"]) == (1, "state_unwritable")
    assert await place.jobs() == []


async def test_a_disk_that_is_full_costs_no_line_and_no_result(place: Place) -> None:
    words = place.new("-q", CLAUDE_LINE_DELAY="0.05")
    small_files = [
        "bash",
        "-c",
        'ulimit -f 6; exec "$@"',
        "-",
    ]  # in KiB: records fit, the transcript does not
    env = place.desk.all_env({"PYTHONDONTWRITEBYTECODE": "1"})  # or it would leave torn ones
    code, out, _ = await claude_k8s(*words, env=env, within=small_files)
    told = json.loads(out)
    assert (code, told["error"]) == (1, "state_unwritable")
    assert "make room and resume" in told["detail"]
    assert len(await place.jobs()) == 1
    code, again, _ = await place.desk.run(*told["resume"].split()[1:], "-q")
    assert (code, again["status"]) == (0, "succeeded")
    assert place.desk.saved() == WHOLE


async def test_spec_12_a_record_of_another_cluster_is_told(place: Place) -> None:
    run_id = await place.submitted(CLAUDE_SLEEP="5")
    async with DevCluster.start() as other:
        words = ["run", "--run-id", run_id, "--kubeconfig", str(other.kubeconfig)]
        code, told, _ = await place.desk.run(*words)
    assert (code, told["error"]) == (1, "other_cluster")
    assert other.token not in json.dumps(told)
    (path,) = place.desk.state.glob("runs/*/record.json")
    assert place.cluster.token not in path.read_text()


async def test_spec_12_a_kubeconfig_without_rights_is_a_failed_run(place: Place) -> None:
    words = place.new("-q")
    place.cluster.kubeconfig.write_text(
        place.cluster.kubeconfig.read_text().replace(place.cluster.token, "x")
    )
    code, told, _ = await place.desk.run(*words)
    assert (code, told["error"], told["error_code"]) == (
        1,
        "task_failed",
        "k8s_concurrency_guard_unreachable",
    )
    assert "Unauthorized" in told["detail"]


async def test_an_embedded_cluster_ends_with_its_shell_and_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    words = ["run", "--devcluster", "-p", "Go."]
    _, out, _ = await desk.killed(signal.SIGTERM, lambda: len(desk.saved()) > 0, *words)
    told = json.loads(out)
    assert told["error"] == "poll_aborted"
    assert "claude-k8s devcluster up" in told["detail"]
    assert "resume" not in told
    assert (await desk.run("run", "--run-id", told["run_id"]))[:2] == (1, told)


async def test_an_embedded_cluster_that_was_killed_loses_the_result(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.killed(signal.SIGKILL, lambda: len(desk.saved()) > 0, "run", "--devcluster", "-p", "Go.")
    record: dict[str, Any] = desk.record() or {}
    await asyncio.to_thread(Path(record["request"]["config"]["kubeconfig"]).unlink)
    code, told, _ = await desk.run("run", "--run-id", record["run_id"])
    assert (code, told["error"]) == (1, "result_lost")
    assert "lived inside of its shell" in told["detail"]


async def test_a_development_cluster_stays_up_for_later_shells(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert (await desk.run("devcluster", "status"))[:2] == (1, {"status": "down"})
    try:
        async with asyncio.TaskGroup() as group:
            ups = [group.create_task(desk.run("devcluster", "up")) for _ in range(2)]
        assert ups[0].result()[1] == ups[1].result()[1]
        code, out, _ = await claude_k8s("run", "--devcluster", "-p", "x", "--submit-only", env=desk.all_env())
        assert code == 0
        code, told, _ = await desk.run("run", "--run-id", out.strip(), "-q")
        assert (code, told["status"]) == (0, "succeeded")
    finally:
        assert (await desk.run("devcluster", "down"))[:2] == (0, {"status": "down"})
    assert (await desk.run("devcluster", "status"))[1] == {"status": "down"}


async def test_shells_complete_commands() -> None:
    env = {"_CLAUDE_K8S_COMPLETE": "complete_bash", "COMP_WORDS": "claude-k8s la", "COMP_CWORD": "1"}
    assert (await claude_k8s(env=env))[1].split() == ["last-run"]
