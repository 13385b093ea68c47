"""A disk that fails at any one operation of a run: the reply reports this, and what became of the run."""

import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from tests.support.api_server import write_kubeconfig
from tests.support.run_calls import script_of_lost_session

from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.run_command import start_or_resume, stop_to_reply
from paperclip_claude_k8s.cli.runs.call import CallProgress, Dependencies
from paperclip_claude_k8s.cli.runs.disk import Disk
from paperclip_claude_k8s.cli.runs.replies import Reply, exit_code
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript, capture

pytestmark = pytest.mark.looptime
LINES = capture("02").splitlines(keepends=True)
WHOLE = b"".join(LINES)
LINE_DELAY = 0.7
"""Seconds between two lines. In this time the position in the record is updated."""
SLOW_SCRIPT = PodScript(
    output=tuple((number * LINE_DELAY, line) for number, line in enumerate(LINES)),
    ends_at=len(LINES) * LINE_DELAY + 1,
)
SESSION_ID = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
OTHER_FAULTS = (errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT)


Reach = Literal["once", "folder", "everything"]


@dataclass(slots=True)
class FailingDisk(Disk):
    """A disk whose operation `fails_at`, counted from 0, fails with the error number `fault`.

    `reach` says which later operations fail, too. "once": none. "folder": those in the same folder of
    `folders`. "everything": all.
    """

    fails_at: int | None = None
    reach: Reach = "once"
    folders: tuple[Path, ...] = ()
    fault: int = errno.ENOSPC
    operations: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Operations that failed."""

    def before(self, operation: str, file: Path | int) -> None:
        if isinstance(file, int):
            path = Path(f"/proc/self/fd/{file}").readlink()
        else:
            path = file.parent.resolve() / file.name
        self.operations.append(f"{operation} {path}")
        if self._fails(len(self.operations) - 1):
            self.failed.append(f"{operation} {path}")
            raise OSError(self.fault, os.strerror(self.fault))

    def _fails(self, number: int) -> bool:
        if self.fails_at is None or number < self.fails_at:
            return False
        if number == self.fails_at or self.reach == "everything":
            return True
        first, this = (self._folder(self.operations[n]) for n in (self.fails_at, number))
        return self.reach == "folder" and first == this

    def _folder(self, operation: str) -> Path | None:
        return next((folder for folder in self.folders if str(folder) in operation), None)

    def make_room(self) -> None:
        self.fails_at = None


@dataclass(slots=True)
class CommandHarness:
    """Runs commands with a cluster in memory, and with state and output folder on a disk that may fail."""

    folder: Path
    cluster: FakeCluster
    disk: FailingDisk = field(default_factory=FailingDisk)
    session: str | None = None

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def run(self, run_id: str | None = None, **more: Any) -> Reply:
        options = RunOptions(
            prompt=None if run_id else "Go.",
            run_id=run_id,
            output=self.out,
            kubeconfig=self.folder / "kubeconfig",
            namespace=NAMESPACE,
            image="x",
            session=None if run_id else self.session,
            config=None if run_id or self.session is None else self.claim_config(),
            quiet=True,
            **more,
        )
        settings = ProcessSettings(env={"CLAUDE_K8S_STATE_DIR": str(self.state)})
        dependencies = Dependencies(self.disk, lambda *_: self.cluster.gateway, settings)
        progress = CallProgress()
        return await stop_to_reply(start_or_resume(options, progress, dependencies), progress)

    def claim_config(self) -> Path:
        """A config file with a claim, without which the run would not try to resume its session."""
        path = self.folder / "config.json"
        path.write_text('{"claimName": "paperclip-data"}', encoding="utf-8")
        return path

    def count_created_jobs(self) -> int:
        return self.cluster.calls.count("create", "jobs")

    def record(self) -> dict[str, Any] | None:
        for path in self.state.glob("runs/*/record.json"):
            loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return loaded
        return None

    def assert_whole(self, reply: Reply) -> None:
        """Check that the run succeeded, and that record, transcript and output are complete."""
        assert (reply["status"], exit_code(reply)) == ("succeeded", 0), reply
        (saved,) = self.state.glob("runs/*/transcript.ndjson")
        assert saved.read_bytes().endswith(WHOLE)
        assert (self.out / "transcript.ndjson").read_bytes() == saved.read_bytes()
        assert json.loads((self.out / "result.json").read_bytes()) == reply
        record = self.record()
        assert record is not None
        assert record["outcome"] == reply


@asynccontextmanager
async def open_harness(
    folder: Path, pod_script: PodScript | Callable[[Any], PodScript] = SLOW_SCRIPT
) -> AsyncIterator[CommandHarness]:
    pods = folder / "pods"
    pods.mkdir(parents=True)
    write_kubeconfig(folder)
    async with FakeCluster.start(pods, pod_script) as fake:
        yield CommandHarness(folder, fake)


class RunKind(NamedTuple):
    pod_script: PodScript | Callable[[Any], PodScript]
    session: str | None
    """The session that the run resumes."""
    attempts: int
    """How many Jobs the run creates."""


ONE_ATTEMPT = RunKind(SLOW_SCRIPT, session=None, attempts=1)
TWO_ATTEMPTS = RunKind(script_of_lost_session, session=SESSION_ID, attempts=2)


async def operations_without_failure(folder: Path, kind: RunKind) -> list[str]:
    """All operations on the disk in a run without failures."""
    async with open_harness(folder, kind.pod_script) as harness:
        harness.session = kind.session
        harness.assert_whole(await harness.run())
        assert harness.count_created_jobs() == kind.attempts
        return harness.disk.operations


@pytest.mark.parametrize("reach", ["once", "folder", "everything"])
@pytest.mark.parametrize("kind", [ONE_ATTEMPT, TWO_ATTEMPTS], ids=["one attempt", "two attempts"])
async def test_run_with_a_failing_write_is_reported_and_can_be_resumed(
    tmp_path: Path, kind: RunKind, reach: Reach
) -> None:
    operations = await operations_without_failure(tmp_path / "good", kind)
    assert len(operations) > 40
    numbers = range(len(operations))
    errors = {await assert_reported_and_resumed(tmp_path, kind, number, reach) for number in numbers}
    assert errors >= {"state_unwritable", "output_unwritable"}


@pytest.mark.parametrize("fault", OTHER_FAULTS, ids=lambda fault: errno.errorcode[fault])
async def test_other_disk_errors_are_reported_like_a_full_disk(tmp_path: Path, fault: int) -> None:
    operations = await operations_without_failure(tmp_path / "good", ONE_ATTEMPT)
    for number in range(0, len(operations), 7):  # a sample: every seventh operation
        await assert_reported_and_resumed(tmp_path, ONE_ATTEMPT, number, "folder", fault=fault)


async def assert_reported_and_resumed(
    folder: Path,
    kind: RunKind,
    number: int,
    reach: Reach,
    *,
    fault: int = errno.ENOSPC,
) -> str | None:
    """Run with a disk that fails at operation `number`, then resume without failures.

    Returns the error in the reply of the failed call.
    """
    async with open_harness(folder / str(number), kind.pod_script) as harness:
        harness.session = kind.session
        disk = harness.disk
        disk.fails_at, disk.reach, disk.fault = number, reach, fault
        disk.folders = (harness.out, harness.state)
        reply = await harness.run()
        assert disk.failed
        assert_reported(harness, reply, os.strerror(fault))
        disk.make_room()
        resumed = await harness.run(reply.get("run_id"))
        harness.assert_whole(resumed)
        assert harness.count_created_jobs() == kind.attempts, "a failed write must not submit the run again"
        return reply.get("error")


def assert_reported(harness: CommandHarness, reply: Reply, reason: str) -> None:
    """Check that the reply reports the failed operation, unless the run succeeded in spite of it."""
    if reply["status"] == "succeeded":
        harness.assert_whole(reply)
        return
    assert exit_code(reply) == 1
    failed = {
        "output_unwritable" if str(harness.out) in operation else "state_unwritable"
        for operation in harness.disk.failed
    }
    assert reply["error"] in failed, (harness.disk.failed, reply)
    assert reason in reply["detail"], reply
    record = harness.record()
    if record is None:
        assert (reply.get("run_id"), reply["run_status"]) == (None, "not_submitted")
        assert harness.count_created_jobs() == 0
        return
    assert reply["run_id"] == record["run_id"]
    assert reply["resume"].startswith(f"claude-k8s run --run-id {record['run_id']}")
    assert reply["run_status"] in {"not_submitted", "unknown", "polling", "succeeded"}, reply
    if reply["run_status"] == "not_submitted":
        assert harness.count_created_jobs() == 0
    if record["outcome"] is not None:
        assert reply["run_status"] == "succeeded", "the reply contains what is known of the run"
    if reply["run_status"] == "succeeded":
        assert reply["result"]["summary"]
        assert "the run itself succeeded" in reply["detail"]
