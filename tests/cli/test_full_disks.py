"""Commands whose output or state folder is on a full or read-only disk, or deleted: stdout is still JSON.

The disk is real: a small file system that a test mounts and fills.
"""

import asyncio
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.dev_cluster_cli import TRANSCRIPT, DevClusterCli
from tests.support.disks import SmallDisk, small_disk

NO_ROOM = "No space left on device"
SLOW = {"CLAUDE_LINE_DELAY": "0.3"}
"""Environment of an agent that pauses for 0.3 seconds after each line."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
def small_disk_cli(disk: SmallDisk) -> CommandRunner:
    """Commands whose state folder is on the small disk."""
    return CommandRunner(disk.folder)


def assert_output_whole(out: Path, reply: dict[str, Any]) -> None:
    assert (out / "transcript.ndjson").read_bytes() == TRANSCRIPT
    assert json.loads((out / "result.json").read_bytes()) == reply
    assert (out / "log").stat().st_size > 0


def resume_args(reply: dict[str, Any]) -> list[str]:
    """Arguments of the command that resumes the run."""
    args: list[str] = reply["resume"].split()[1:]
    return [*args, "-q"]


# --output ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free_pages", range(5))
async def test_output_without_room_is_reported_and_completed_by_a_resume(
    dev: DevClusterCli, disk: SmallDisk, free_pages: int
) -> None:
    """The transcript takes three pages of the disk; the log and the result take one page each."""
    out = disk.folder / "out"
    disk.fill(free_pages)
    code, reply, err = await dev.cli.run(*dev.new_run_args("-q", "--output", str(out)))
    assert (code, reply["status"], reply["error"]) == (1, "failed", "output_unwritable")
    assert NO_ROOM in reply["detail"]
    assert reply["run_status"] == "succeeded"
    assert reply["result"]["exitCode"] == 0
    assert "Traceback" not in err
    assert not (out / "result.json").exists()
    code, retried, _ = await dev.cli.run(*resume_args(reply))
    assert (code, retried) == (1, reply)
    disk.make_room()
    code, resumed, _ = await dev.cli.run(*resume_args(reply))
    assert (code, resumed["status"]) == (0, "succeeded")
    assert resumed["result"] == reply["result"]
    assert_output_whole(out, resumed)


async def test_output_without_room_of_a_run_with_devcluster_is_completed_by_a_resume(
    tmp_path: Path, disk: SmallDisk
) -> None:
    cli, out = CommandRunner(tmp_path), disk.folder / "out"
    disk.fill(1)
    code, reply, err = await cli.run("run", "--devcluster", "-q", "-p", "Go.", "--output", str(out))
    assert (code, reply["error"], reply["run_status"]) == (1, "output_unwritable", "succeeded")
    assert "Traceback" not in err
    disk.make_room()
    code, resumed, _ = await cli.run(*resume_args(reply))
    assert (code, resumed["result"]) == (0, reply["result"])
    assert (out / "transcript.ndjson").read_bytes() == cli.transcript()


async def test_output_disk_that_fills_up_is_reported_and_does_not_end_the_run(
    dev: DevClusterCli, disk: SmallDisk
) -> None:
    out = disk.folder / "out"
    args = dev.new_run_args("--output", str(out), **SLOW)
    code, reply, err = await dev.run_with_steps_at_shares(args, (0.2, disk.fill))
    assert (code, reply["error"]) == (1, "output_unwritable")
    assert reply["run_status"] == "succeeded"
    assert "the run continues, and --output is retried at its end" in err
    assert dev.cli.transcript() == TRANSCRIPT


async def test_output_is_complete_if_room_is_made_before_the_run_ends(
    dev: DevClusterCli, disk: SmallDisk
) -> None:
    out = disk.folder / "out"
    args = dev.new_run_args("--output", str(out), **SLOW)
    code, reply, _ = await dev.run_with_steps_at_shares(args, (0.2, disk.fill), (0.7, disk.make_room))
    assert code == 0
    assert_output_whole(out, reply)


async def test_output_folder_that_is_deleted_is_reported(dev: DevClusterCli) -> None:
    out = dev.cli.folder / "out"
    args = dev.new_run_args("-q", "--output", str(out), **SLOW)
    code, reply, _ = await dev.run_with_steps_at_shares(args, (0.2, lambda: shutil.rmtree(out)))
    assert (code, reply["error"]) == (1, "output_unwritable")
    assert reply["run_status"] == "succeeded"
    code, resumed, _ = await dev.cli.run(*resume_args(reply))
    assert code == 0
    assert_output_whole(out, resumed)


async def test_poll_once_with_unwritable_output_reports_that_the_run_continues(
    dev: DevClusterCli, disk: SmallDisk
) -> None:
    cli = dev.cli
    await cli.run_and_kill(
        signal.SIGKILL,
        lambda: len(cli.transcript()) > 0.2 * len(TRANSCRIPT),
        *dev.new_run_args("-q", CLAUDE_LINE_DELAY="1"),
    )
    record = cli.record()
    assert record is not None
    run_id, out = record["run_id"], str(disk.folder / "out")
    disk.fill()
    code, reply, _ = await cli.run("run", "--run-id", run_id, "--poll-once", "--output", out)
    assert (code, reply["error"], reply["run_status"]) == (1, "output_unwritable", "polling")
    disk.make_room()
    code, reply, _ = await dev.cli.run("run", "--run-id", run_id, "-q", "--output", out)
    assert code == 0
    assert_output_whole(disk.folder / "out", reply)


async def test_read_only_output_fails_the_call_before_it_submits_the_run(
    dev: DevClusterCli, disk: SmallDisk
) -> None:
    disk.remount_read_only()
    code, reply, _ = await dev.cli.run(*dev.new_run_args("-q", "--output", str(disk.folder / "out")))
    assert (code, reply["error"], reply["run_status"]) == (1, "output_unwritable", "not_submitted")
    assert "Read-only file system" in reply["detail"]
    assert await dev.job_names() == []
    code, resumed, _ = await dev.cli.run("run", "--run-id", reply["run_id"], "-q")
    assert (code, resumed["status"]) == (0, "succeeded")


# State ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free_pages", range(8))
async def test_state_without_room_is_reported_and_the_run_can_be_resumed(
    dev: DevClusterCli, disk: SmallDisk, small_disk_cli: CommandRunner, free_pages: int
) -> None:
    """A record takes one page of the disk (two while it is replaced), the log one, the transcript three."""
    disk.fill(free_pages)
    code, reply, err = await small_disk_cli.run(*dev.new_run_args("-q"))
    if reply["status"] == "succeeded":
        assert free_pages > 5, "a run needs six pages"
        return
    status = "polling" if reply["run_status"] == "polling" else "failed"
    assert (code, reply["status"], reply["error"]) == (1, status, "state_unwritable")
    assert NO_ROOM in reply["detail"]
    assert "Traceback" not in err
    jobs = await dev.job_names()
    if "run_id" not in reply:
        assert reply["run_status"] == "not_submitted"
        assert jobs == []
        return
    if reply["run_status"] == "succeeded":
        assert reply["result"]["exitCode"] == 0
    disk.make_room()
    code, resumed, _ = await small_disk_cli.run(*resume_args(reply))
    assert (code, resumed["status"]) == (0, "succeeded")
    assert small_disk_cli.transcript() == TRANSCRIPT
    assert resumed["result"]["resultJson"]["log"]["complete"] is True


@pytest.mark.parametrize("free_pages", range(6))
async def test_state_without_room_of_a_run_with_devcluster_is_reported(
    small_disk_cli: CommandRunner, disk: SmallDisk, free_pages: int
) -> None:
    disk.fill(free_pages)
    code, reply, err = await small_disk_cli.run("run", "--devcluster", "-q", "-p", "Go.")
    assert (code, reply["error"]) == (1, "state_unwritable")
    assert NO_ROOM in reply["detail"]
    assert reply["run_status"] in {"not_submitted", "failed", "succeeded"}
    assert "resume" not in reply
    assert "Traceback" not in err


async def test_job_is_kept_for_a_resume_if_the_disk_of_the_state_fills_up(
    dev: DevClusterCli, disk: SmallDisk, small_disk_cli: CommandRunner
) -> None:
    args = dev.new_run_args("-q", **SLOW)
    code, reply, err = await small_disk_cli.run_with_steps_at_bytes(args, (0.2 * len(TRANSCRIPT), disk.fill))
    assert (code, reply["error"]) == (1, "state_unwritable")
    assert reply["run_status"] == "polling"
    assert "Traceback" not in err
    assert len(await dev.job_names()) == 1
    disk.make_room()
    code, resumed, _ = await small_disk_cli.run(*resume_args(reply))
    assert (code, resumed["status"]) == (0, "succeeded")
    assert small_disk_cli.transcript() == TRANSCRIPT


async def test_job_is_kept_for_a_resume_if_the_state_folder_is_deleted(dev: DevClusterCli) -> None:
    args = dev.new_run_args("-q", **SLOW)
    code, reply, _ = await dev.run_with_steps_at_shares(args, (0.2, lambda: shutil.rmtree(dev.cli.state)))
    assert (code, reply["error"]) == (1, "state_unwritable")
    assert "deleted while it was running" in reply["detail"]
    assert reply["run_status"] == "polling"
    code, resumed, _ = await dev.cli.run(*resume_args(reply))
    assert (code, resumed["status"]) == (0, "succeeded")
    assert dev.cli.transcript() == TRANSCRIPT


async def test_read_only_state_can_be_read_but_starts_no_run(
    dev: DevClusterCli, disk: SmallDisk, small_disk_cli: CommandRunner
) -> None:
    code, reply, _ = await small_disk_cli.run(*dev.new_run_args("-q"))
    assert code == 0
    disk.remount_read_only()
    for args in (["last-run"], ["history"], ["run", "--run-id", reply["run_id"], "-q"]):
        code, read, _ = await small_disk_cli.run(*args)
        assert code == 0, read
        assert reply["result"]["sessionId"] in json.dumps(read)
    for args in (dev.new_run_args("-q"), ["spawn", *dev.new_run_args()[1:]]):
        code, refused, err = await small_disk_cli.run(*args)
        assert (code, refused["error"]) == (1, "state_unwritable")
        assert "Read-only file system" in refused["detail"]
        assert "Traceback" not in err
    assert await dev.job_names() == []


async def test_cancel_with_unwritable_state_is_reported(
    dev: DevClusterCli, disk: SmallDisk, small_disk_cli: CommandRunner
) -> None:
    code, out, _ = await claude_k8s(
        *dev.new_run_args("--submit-only", **SLOW), env=small_disk_cli.environment()
    )
    assert code == 0
    disk.remount_read_only()
    code, reply, err = await small_disk_cli.run("cancel", out.strip())
    assert (code, reply["error"], reply["run_id"]) == (1, "state_unwritable", out.strip())
    assert reply["run_status"] == "polling"
    assert "Traceback" not in err
    assert len(await dev.job_names()) == 1


# Stdout and stderr ---------------------------------------------------------------------------------------


async def test_reply_goes_to_stderr_if_stdout_is_full(dev: DevClusterCli) -> None:
    prefix = ["sh", "-c", 'exec "$@" >/dev/full', "-"]
    code, out, err = await claude_k8s(*dev.new_run_args("-q"), env=dev.cli.environment(), prefix=prefix)
    assert (code, out) == (1, "")
    first, _, rest = err.partition("\n")
    assert first == f"Cannot write the reply to stdout ({NO_ROOM}):"
    assert json.loads(rest)["status"] == "succeeded"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
async def test_full_or_closed_stderr_does_not_affect_the_run(dev: DevClusterCli, redirection: str) -> None:
    prefix = ["sh", "-c", f'exec "$@" {redirection}', "-"]
    code, out, _ = await claude_k8s(*dev.new_run_args(), env=dev.cli.environment(), prefix=prefix)
    reply = json.loads(out)
    assert (code, reply["status"]) == (0, "succeeded")
    assert reply["result"]["resultJson"]["log"]["complete"] is True
    assert reply["result"]["resultJson"]["log"]["hostFailures"] == 0
    assert dev.cli.transcript() == TRANSCRIPT


@pytest.mark.parametrize("run_ended", [False, True])
async def test_logs_command_with_full_stdout_ends_with_one_line_on_stderr(
    dev: DevClusterCli,
    run_ended: bool,  # noqa: FBT001
) -> None:
    run_id = await dev.submit(CLAUDE_LINE_DELAY="0.01" if run_ended else "1")
    if run_ended:
        code, _, _ = await dev.cli.run("run", "--run-id", run_id, "-q")
        assert code == 0
    prefix = ["sh", "-c", 'exec "$@" >/dev/full', "-"]
    args = ["logs", "-f", run_id]
    async with asyncio.timeout(30):
        code, _, err = await claude_k8s(*args, env=dev.cli.environment(), prefix=prefix)
    assert (code, err) == (1, f"Cannot write the log to stdout ({NO_ROOM})\n")


async def test_logs_command_ends_silently_if_its_reader_closes_the_pipe(dev: DevClusterCli) -> None:
    run_id = await dev.submit(CLAUDE_LINE_DELAY="0.3")
    prefix = ["sh", "-c", '"$@" | head -n 1', "-"]
    async with asyncio.timeout(30):
        _, out, err = await claude_k8s("logs", "-f", run_id, env=dev.cli.environment(), prefix=prefix)
    assert out.encode() == TRANSCRIPT.splitlines(keepends=True)[0]
    assert err == ""
