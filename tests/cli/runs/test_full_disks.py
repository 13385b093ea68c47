"""Disks that fill up or fail at any single write of a run: told as such, with the run's own outcome."""

import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.support.fake_cluster import NAMESPACE, FakeCluster, Life
from tests.support.run_calls import forgets
from tests.support.runs import capture

from paperclip_claude_k8s.cli.run_command import Ledger, Means, Wish, answer_to, told
from paperclip_claude_k8s.cli.runs.disk import Disk
from paperclip_claude_k8s.cli.runs.replies import Answer, exit_code

pytestmark = pytest.mark.looptime
LINES = capture("02").splitlines(keepends=True)
WHOLE = b"".join(LINES)
SPREAD = Life(output=tuple((n * 0.7, line) for n, line in enumerate(LINES)), ends_at=len(LINES) * 0.7 + 1)
"""Lines come apart, so that the position is noted between them."""
SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
OTHER_FAULTS = (errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT)


Reach = Literal["once", "folder", "everything"]


@dataclass(slots=True)
class FailingDisk(Disk):
    """Counts its acts from 0, and fails at one of them, or from it on until there is room again.

    `reach`: at that act alone; at all that follow in the folder it was about; at all that follow.
    """

    fails_at: int | None = None
    reach: Reach = "once"
    folders: tuple[Path, ...] = ()
    fault: int = errno.ENOSPC
    acts: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def before(self, act: str, file: Path | int) -> None:
        path = str(Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else file)
        self.acts.append(f"{act} {path}")
        if self._fails(len(self.acts) - 1):
            self.failed.append(f"{act} {path}")
            raise OSError(self.fault, os.strerror(self.fault))

    def _fails(self, number: int) -> bool:
        if self.fails_at is None or number < self.fails_at:
            return False
        if number == self.fails_at or self.reach == "everything":
            return True
        first, this = (self._folder(self.acts[n]) for n in (self.fails_at, number))
        return self.reach == "folder" and first == this

    def _folder(self, act: str) -> Path | None:
        return next((folder for folder in self.folders if str(folder) in act), None)

    def make_room(self) -> None:
        self.fails_at = None


@dataclass(slots=True)
class Shop:
    """An operator with a cluster in memory, a state folder and an output folder."""

    folder: Path
    fake: FakeCluster
    disk: FailingDisk = field(default_factory=FailingDisk)
    session: str | None = None

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def run(self, run_id: str | None = None, **more: Any) -> Answer:
        wish = Wish(
            prompt=None if run_id else "Go.",
            run_id=run_id,
            output=self.out,
            kubeconfig=self.folder / "kubeconfig",
            namespace=NAMESPACE,
            image="x",
            session=None if run_id else self.session,
            quiet=True,
            **more,
        )
        means = Means(self.disk, lambda *_: self.fake.gateway)
        return await told(answer_to(wish, book := Ledger(), means), book)

    def jobs_made(self) -> int:
        return self.fake.calls.count("create", "jobs")

    def record(self) -> dict[str, Any] | None:
        for path in self.state.glob("runs/*/record.json"):
            loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return loaded
        return None

    def assert_whole(self, answer: Answer) -> None:
        """The run succeeded, and everything that was promised is where it belongs."""
        assert (answer["status"], exit_code(answer)) == ("succeeded", 0), answer
        (saved,) = self.state.glob("runs/*/transcript.ndjson")
        assert saved.read_bytes().endswith(WHOLE)
        assert (self.out / "transcript.ndjson").read_bytes() == saved.read_bytes()
        assert json.loads((self.out / "result.json").read_bytes()) == answer
        record = self.record()
        assert record is not None
        assert record["outcome"] == answer


@asynccontextmanager
async def a_shop(
    folder: Path, monkeypatch: pytest.MonkeyPatch, life: Life | Callable[[Any], Life] = SPREAD
) -> AsyncIterator[Shop]:
    pods = folder / "pods"
    pods.mkdir(parents=True)  # a test may wait for its own folder
    user = {"name": "u", "user": {}}
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    kubeconfig = {"current-context": "c", "clusters": [cluster], "users": [user], "contexts": [context]}
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig), encoding="utf-8")
    monkeypatch.setenv("CLAUDE_K8S_STATE_DIR", str(folder / "state"))
    async with FakeCluster.start(pods, life) as fake:
        yield Shop(folder, fake)


Kind = tuple[str, Life | Callable[[Any], Life], str | None, int]
PLAIN: Kind = ("plain", SPREAD, None, 1)
TWICE: Kind = ("second attempt", forgets, SESSION, 2)
"""Name, the Pod's life, a session to resume, and how many Jobs such a run makes."""


async def acts_of(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> list[str]:
    """Every act on the disk of a run at which nothing fails."""
    async with a_shop(folder, monkeypatch, kind[1]) as shop:
        shop.session = kind[2]
        shop.assert_whole(await shop.run())
        assert shop.jobs_made() == kind[3]
        return shop.disk.acts


@pytest.mark.parametrize("reach", ["once", "folder", "everything"])
@pytest.mark.parametrize("kind", [PLAIN, TWICE], ids=lambda kind: kind[0])
async def test_every_single_write_of_a_run_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, reach: Reach
) -> None:
    acts = await acts_of(tmp_path / "good", monkeypatch, kind)
    assert len(acts) > 40
    errors = {await assert_told_and_resumed(tmp_path, monkeypatch, kind, n, reach) for n in range(len(acts))}
    assert errors >= {"state_unwritable", "output_unwritable"}


@pytest.mark.parametrize("fault", OTHER_FAULTS, ids=lambda fault: errno.errorcode[fault])
async def test_other_faults_of_a_disk_are_told_as_a_full_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    acts = await acts_of(tmp_path / "good", monkeypatch, PLAIN)
    for number in range(0, len(acts), 7):
        await assert_told_and_resumed(tmp_path, monkeypatch, PLAIN, number, "folder", fault=fault)


async def assert_told_and_resumed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    number: int,
    reach: Reach,
    *,
    fault: int = errno.ENOSPC,
) -> str | None:
    """The error of a run whose disk fails at that act; there is room again, and it is resumed, in the end."""
    async with a_shop(folder / str(number), monkeypatch, kind[1]) as shop:
        shop.session = kind[2]
        disk = shop.disk
        disk.fails_at, disk.reach, disk.fault, disk.folders = number, reach, fault, (shop.out, shop.state)
        answer = await shop.run()
        assert disk.failed
        assert_told(shop, answer, os.strerror(fault))
        disk.make_room()
        again = await shop.run(answer.get("run_id"))
        shop.assert_whole(again)
        assert shop.jobs_made() == kind[3], "no write that failed made a second submission"
        return answer.get("error")


def assert_told(shop: Shop, answer: Answer, why: str) -> None:
    if answer["status"] == "succeeded":
        shop.assert_whole(answer)
        return
    assert exit_code(answer) == 1
    failed = {"output_unwritable" if str(shop.out) in act else "state_unwritable" for act in shop.disk.failed}
    assert answer["error"] in failed, (shop.disk.failed, answer)
    assert why in answer["detail"], answer
    record = shop.record()
    if record is None:
        assert (answer.get("run_id"), answer["run_status"]) == (None, "not_submitted")
        assert shop.jobs_made() == 0
        return
    assert answer["run_id"] == record["run_id"]
    assert answer["resume"].startswith(f"claude-k8s run --run-id {record['run_id']}")
    assert answer["run_status"] in {"not_submitted", "unknown", "polling", "succeeded"}, answer
    if answer["run_status"] == "not_submitted":
        assert shop.jobs_made() == 0
    if record["outcome"] is not None:
        assert answer["run_status"] == "succeeded", "what is known of the run is told"
    if answer["run_status"] == "succeeded":
        assert answer["result"]["summary"]
        assert "the run itself succeeded" in answer["detail"]
