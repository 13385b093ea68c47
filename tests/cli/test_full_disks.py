"""Disks that are really full, read-only or gone, under whole commands: one JSON object ends stdout."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_guides import Place
from tests.support.cli_commands import Desk, claude_k8s, shell
from tests.support.disks import SmallDisk, small_disk
from tests.support.runs import capture

from paperclip_claude_k8s.devcluster import DevCluster

WHOLE = capture("02")
NO_ROOM = "No space left on device"
SLOW = {"CLAUDE_LINE_DELAY": "0.3"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with DevCluster.start() as cluster:
        yield Place(cluster, Desk(tmp_path))


async def on_small_state(place: Place, disk: SmallDisk, *words: str) -> tuple[int, dict[str, Any], str]:
    return await place.desk.run(*words, env={"CLAUDE_K8S_STATE_DIR": str(disk.folder / "state")})


def assert_output_whole(out: Path, told: dict[str, Any]) -> None:
    assert (out / "transcript.ndjson").read_bytes() == WHOLE
    assert json.loads((out / "result.json").read_bytes()) == told
    assert (out / "log").stat().st_size > 0


def resumed(told: dict[str, Any]) -> list[str]:
    """The words of the command that is told."""
    words: list[str] = told["resume"].split()[1:]
    return [*words, "-q"]


# --output ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free", range(5))
async def test_an_output_without_room_is_told_with_the_result_and_can_be_had_later(
    place: Place, disk: SmallDisk, free: int
) -> None:
    """The transcript takes three pages, the log and the result one each."""
    out = disk.folder / "out"
    disk.fill(free)
    code, told, err = await place.desk.run(*place.new("-q", "-o", str(out)))
    assert (code, told["status"], told["error"]) == (1, "failed", "output_unwritable")
    assert NO_ROOM in told["detail"]
    assert told["run_status"] == "succeeded"
    assert told["result"]["exitCode"] == 0
    assert "Traceback" not in err
    assert not (out / "result.json").exists()
    code, still, _ = await place.desk.run(*resumed(told))
    assert (code, still) == (1, told)
    disk.make_room()
    code, again, _ = await place.desk.run(*resumed(told))
    assert (code, again["status"]) == (0, "succeeded")
    assert again["result"] == told["result"]
    assert_output_whole(out, again)


async def test_an_embedded_run_whose_output_has_no_room_is_told_in_the_same_way(
    tmp_path: Path, disk: SmallDisk
) -> None:
    desk, out = Desk(tmp_path), disk.folder / "out"
    disk.fill(1)
    code, told, err = await desk.run("run", "--devcluster", "-q", "-p", "Go.", "-o", str(out))
    assert (code, told["error"], told["run_status"]) == (1, "output_unwritable", "succeeded")
    assert "Traceback" not in err
    disk.make_room()
    code, again, _ = await desk.run(*resumed(told))
    assert (code, again["result"]) == (0, told["result"])
    assert (out / "transcript.ndjson").read_bytes() == desk.saved()


async def test_an_output_that_fills_up_in_mid_run_is_told_at_once_and_ends_nothing(
    place: Place, disk: SmallDisk
) -> None:
    out = disk.folder / "out"
    words = place.new("-o", str(out), **SLOW)
    async with shell(*words, env=place.desk.all_env()) as process, asyncio.TaskGroup() as group:
        saying = group.create_task(process.communicate())
        await place.desk.until(lambda: len(place.desk.saved()) > 0.2 * len(WHOLE))
        disk.fill()
        out_text, err = await saying
    told = json.loads(out_text)
    assert (process.returncode, told["error"]) == (1, "output_unwritable")
    assert told["run_status"] == "succeeded"
    assert b"the run goes on, and it is tried again at its end" in err
    assert place.desk.saved() == WHOLE


async def test_room_that_is_made_before_the_end_is_enough(place: Place, disk: SmallDisk) -> None:
    out = disk.folder / "out"
    words = place.new("-o", str(out), **SLOW)
    async with shell(*words, env=place.desk.all_env()) as process, asyncio.TaskGroup() as group:
        saying = group.create_task(process.communicate())
        await place.desk.until(lambda: len(place.desk.saved()) > 0.2 * len(WHOLE))
        disk.fill()
        await place.desk.until(lambda: len(place.desk.saved()) > 0.7 * len(WHOLE))
        disk.make_room()
        text, _ = await saying
    assert process.returncode == 0
    assert_output_whole(out, json.loads(text))


async def test_an_output_folder_that_is_removed_in_mid_run_is_told(place: Place) -> None:
    out = place.desk.folder / "out"
    words = place.new("-q", "-o", str(out), **SLOW)
    async with shell(*words, env=place.desk.all_env()) as process, asyncio.TaskGroup() as group:
        saying = group.create_task(process.communicate())
        await place.desk.until(lambda: len(place.desk.saved()) > 0.2 * len(WHOLE))
        shutil.rmtree(out)
        text, _ = await saying
    told = json.loads(text)
    assert (process.returncode, told["error"]) == (1, "output_unwritable")
    assert told["run_status"] == "succeeded"
    code, again, _ = await place.desk.run(*resumed(told))
    assert code == 0
    assert_output_whole(out, again)


async def test_one_look_whose_output_cannot_be_written_says_that_the_run_goes_on(
    place: Place, disk: SmallDisk
) -> None:
    desk = place.desk
    await desk.killed(
        signal.SIGKILL, lambda: len(desk.saved()) > 0.2 * len(WHOLE), *place.new("-q", CLAUDE_LINE_DELAY="1")
    )
    record = desk.record()
    assert record is not None
    run_id, out = record["run_id"], str(disk.folder / "out")
    disk.fill()
    code, told, _ = await desk.run("run", "--run-id", run_id, "--poll-once", "-o", out)
    assert (code, told["error"], told["run_status"]) == (1, "output_unwritable", "polling")
    disk.make_room()
    code, told, _ = await place.desk.run("run", "--run-id", run_id, "-q", "-o", out)
    assert code == 0
    assert_output_whole(disk.folder / "out", told)


async def test_a_read_only_output_is_told_before_anything_is_submitted(place: Place, disk: SmallDisk) -> None:
    disk.remount_read_only()
    code, told, _ = await place.desk.run(*place.new("-q", "-o", str(disk.folder / "out")))
    assert (code, told["error"], told["run_status"]) == (1, "output_unwritable", "not_submitted")
    assert "Read-only file system" in told["detail"]
    assert await place.jobs() == []
    code, again, _ = await place.desk.run("run", "--run-id", told["run_id"], "-q")
    assert (code, again["status"]) == (0, "succeeded")


# State ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free", range(8))
async def test_a_state_without_room_is_told_and_the_run_can_be_resumed(
    place: Place, disk: SmallDisk, free: int
) -> None:
    """A record takes one page, two while it is replaced; the transcript three, the log one."""
    disk.fill(free)
    code, told, err = await on_small_state(place, disk, *place.new("-q"))
    if told["status"] == "succeeded":
        assert free > 5
        return
    assert (code, told["status"], told["error"]) == (1, "failed", "state_unwritable")
    assert NO_ROOM in told["detail"]
    assert "Traceback" not in err
    made = await place.jobs()
    if "run_id" not in told:
        assert told["run_status"] == "not_submitted"
        assert made == []
        return
    if told["run_status"] == "succeeded":
        assert told["result"]["exitCode"] == 0
    disk.make_room()
    code, again, _ = await on_small_state(place, disk, *resumed(told))
    assert (code, again["status"]) == (0, "succeeded")
    (saved,) = disk.folder.glob("state/runs/*/transcript.ndjson")
    assert saved.read_bytes() == WHOLE
    assert again["result"]["resultJson"]["log"]["complete"] is True


@pytest.mark.parametrize("free", [0, 2, 3, 4, 5])
async def test_an_embedded_run_whose_state_has_no_room_is_told_in_one_object(
    tmp_path: Path, disk: SmallDisk, free: int
) -> None:
    disk.fill(free)
    env = {"CLAUDE_K8S_STATE_DIR": str(disk.folder / "state")}
    code, told, err = await Desk(tmp_path).run("run", "--devcluster", "-q", "-p", "Go.", env=env)
    assert (code, told["error"]) == (1, "state_unwritable")
    assert NO_ROOM in told["detail"]
    assert told["run_status"] in {"not_submitted", "failed", "succeeded"}
    assert "resume" not in told
    assert "Traceback" not in err


async def test_a_state_that_fills_up_in_mid_run_leaves_the_job_and_is_resumed(
    place: Place, disk: SmallDisk
) -> None:
    words = place.new("-q", **SLOW)
    env = {"CLAUDE_K8S_STATE_DIR": str(disk.folder / "state")}

    def saved() -> bytes:
        return b"".join(path.read_bytes() for path in disk.folder.glob("state/runs/*/transcript.ndjson"))

    async with shell(*words, env=place.desk.all_env(env)) as process, asyncio.TaskGroup() as group:
        saying = group.create_task(process.communicate())
        await place.desk.until(lambda: len(saved()) > 0.2 * len(WHOLE))
        disk.fill()
        text, err = await saying
    told = json.loads(text)
    assert (process.returncode, told["error"]) == (1, "state_unwritable")
    assert told["run_status"] == "polling"
    assert b"Traceback" not in err
    assert len(await place.jobs()) == 1
    disk.make_room()
    code, again, _ = await on_small_state(place, disk, *resumed(told))
    assert (code, again["status"]) == (0, "succeeded")
    assert saved() == WHOLE


async def test_a_state_folder_that_is_removed_in_mid_run_leaves_the_job(place: Place) -> None:
    words = place.new("-q", **SLOW)
    async with shell(*words, env=place.desk.all_env()) as process, asyncio.TaskGroup() as group:
        saying = group.create_task(process.communicate())
        await place.desk.until(lambda: len(place.desk.saved()) > 0.2 * len(WHOLE))
        shutil.rmtree(place.desk.state)
        text, _ = await saying
    told = json.loads(text)
    assert (process.returncode, told["error"]) == (1, "state_unwritable")
    assert "removed while it went on" in told["detail"]
    assert told["run_status"] == "polling"
    code, again, _ = await place.desk.run(*resumed(told))
    assert (code, again["status"]) == (0, "succeeded")
    assert place.desk.saved() == WHOLE


async def test_a_read_only_state_can_be_read_and_starts_nothing(place: Place, disk: SmallDisk) -> None:
    code, told, _ = await on_small_state(place, disk, *place.new("-q"))
    assert code == 0
    disk.remount_read_only()
    for words in (["last-run"], ["history"], ["run", "--run-id", told["run_id"], "-q"]):
        code, read, _ = await on_small_state(place, disk, *words)
        assert code == 0, read
        assert told["result"]["sessionId"] in json.dumps(read)
    for words in (place.new("-q"), ["spawn", *place.new()[1:]]):
        code, refused, err = await on_small_state(place, disk, *words)
        assert (code, refused["error"]) == (1, "state_unwritable")
        assert "Read-only file system" in refused["detail"]
        assert "Traceback" not in err
    assert await place.jobs() == []


async def test_a_wish_to_cancel_that_cannot_be_written_down_is_told(place: Place, disk: SmallDisk) -> None:
    env = {"CLAUDE_K8S_STATE_DIR": str(disk.folder / "state"), **place.desk.env}
    code, out, _ = await claude_k8s(*place.new("--submit-only", **SLOW), env=place.desk.all_env(env))
    assert code == 0
    disk.remount_read_only()
    code, told, err = await on_small_state(place, disk, "cancel", out.strip())
    assert (code, told["error"], told["run_id"]) == (1, "state_unwritable", out.strip())
    assert told["run_status"] == "polling"
    assert "Traceback" not in err
    assert len(await place.jobs()) == 1


# Stdout and stderr ---------------------------------------------------------------------------------------


async def test_an_answer_that_stdout_does_not_take_is_on_stderr(place: Place) -> None:
    within = ["sh", "-c", 'exec "$@" >/dev/full', "-"]
    code, out, err = await claude_k8s(*place.new("-q"), env=place.desk.all_env(), within=within)
    assert (code, out) == (1, "")
    first, _, rest = err.partition("\n")
    assert first == f"The answer cannot be printed on stdout ({NO_ROOM}):"
    assert json.loads(rest)["status"] == "succeeded"


@pytest.mark.parametrize("how", ["2>/dev/full", "2>&-"])
async def test_a_stderr_that_takes_nothing_costs_the_run_nothing(place: Place, how: str) -> None:
    within = ["sh", "-c", f'exec "$@" {how}', "-"]
    code, out, _ = await claude_k8s(*place.new(), env=place.desk.all_env(), within=within)
    told = json.loads(out)
    assert (code, told["status"]) == (0, "succeeded")
    assert told["result"]["resultJson"]["log"]["complete"] is True
    assert told["result"]["resultJson"]["log"]["hostFailures"] == 0
    assert place.desk.saved() == WHOLE


@pytest.mark.parametrize("ended", [False, True])
async def test_a_log_that_stdout_does_not_take_ends_with_one_line(
    place: Place,
    ended: bool,  # noqa: FBT001
) -> None:
    run_id = await place.submitted(CLAUDE_LINE_DELAY="0.01" if ended else "1")
    if ended:
        code, _, _ = await place.desk.run("run", "--run-id", run_id, "-q")
        assert code == 0
    within = ["sh", "-c", 'exec "$@" >/dev/full', "-"]
    words = ["logs", "-f", run_id]
    async with asyncio.timeout(30):
        code, _, err = await claude_k8s(*words, env=place.desk.all_env(), within=within)
    assert (code, err) == (1, f"The log cannot be printed on stdout ({NO_ROOM})\n")


async def test_a_log_whose_reader_leaves_ends_without_a_word(place: Place) -> None:
    run_id = await place.submitted(CLAUDE_LINE_DELAY="0.3")
    within = ["sh", "-c", '"$@" | head -n 1', "-"]
    async with asyncio.timeout(30):
        _, out, err = await claude_k8s("logs", "-f", run_id, env=place.desk.all_env(), within=within)
    assert out.encode() == WHOLE.splitlines(keepends=True)[0]
    assert err == ""
