"""Odd names, annotations and Leases from other users or a hostile API server harm no run and no file."""

import asyncio
import json
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.disruptions import change
from tests.support.hosts import lease_holders, started
from tests.support.in_memory_runs import LONG, assert_whole, two_hosts

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.job_rows import row_of
from paperclip_claude_k8s.cli.job_tables import jobs_table
from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.labels import (
    ADAPTER_LABEL,
    ADAPTER_TYPE,
    AGENT_LABEL,
    PREFIX,
    RUN_LOG_ANNOTATION,
)
from paperclip_claude_k8s.cluster.lease_objects import PROCESS_ANNOTATION, read_process
from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES
from paperclip_claude_k8s.plan.run_plan import START_MARKS
from paperclip_claude_k8s.testing import NAMESPACE
from paperclip_claude_k8s.volume.removal import remove_tree
from paperclip_claude_k8s.volume.run_log_file import run_log_of
from paperclip_claude_k8s.volume.start_marks import StartMarks

DEEP = "[" * 100_000
INVALID_NAMES = [
    "../victim",
    "a/../../victim",
    "/etc/victim",
    "..",
    ".",
    "",
    "a\0b",
    "a b",
    "a" * 255,
    "\u202ea",
]
"""What a hostile API server may send in place of a name or a uid."""


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_invalid_name_is_read_as_empty(name: str) -> None:
    meta = {"metadata": {"namespace": name, "name": name, "uid": name}}
    job, pod = reading.job_snapshot(meta), reading.pod_snapshot(meta)
    secret, lease = reading.secret_snapshot(meta), reading.lease_snapshot(meta)
    found = {job.ref.namespace, job.ref.name, job.ref.uid, pod.namespace, pod.name, pod.uid}
    assert found | {secret.name, secret.uid, lease.name} == {""}


def test_huge_label_is_cut_in_a_wide_table() -> None:
    job = reading.job_snapshot({"metadata": {"labels": {AGENT_LABEL: "x" * 4_000_000}}})
    row = row_of(job, (), datetime.now(UTC))
    assert len(jobs_table([row, row], Format.WIDE, namespaces=True)) < 2000


def test_snapshots_have_no_control_character() -> None:
    """A server, or a proxy in front of it, can send any text in any field."""
    odd = "\x1b]0;title\x07\u202e"
    state = {"waiting": {"reason": odd, "message": odd}}
    container = {"name": odd, "image": odd, "containerID": odd, "state": state}
    item = {
        "metadata": {"labels": {"a": odd}, "annotations": {f"{PREFIX}a": odd}},
        "spec": {"nodeName": odd, "holderIdentity": odd, "template": {"spec": {"containers": [container]}}},
        "status": {
            "phase": odd,
            "reason": odd,
            "message": odd,
            "containerStatuses": [container],
            "conditions": [{"type": odd, "status": odd, "reason": odd, "message": odd}],
        },
        "involvedObject": {"kind": odd, "name": odd},
        "type": odd,
        "reason": odd,
        "message": odd,
    }
    readers = (reading.job_snapshot, reading.pod_snapshot, reading.event_snapshot, reading.lease_snapshot)
    shown = json.dumps([asdict(read(item)) for read in readers], default=str, ensure_ascii=False)
    assert "title" in shown
    assert re.findall(r"\\u00..|\u202e", shown) == []


@pytest.mark.parametrize("uid", INVALID_NAMES)
async def test_uid_that_is_a_path_removes_no_file_of_the_host(uid: str, tmp_path: Path) -> None:
    volume, victim = tmp_path / "volume", tmp_path / "victim"
    (volume / START_MARKS).mkdir(parents=True)
    victim.touch()
    (volume / "victim").touch()
    nursery = Nursery()
    marks = StartMarks(nursery)
    await marks.remove(str(volume), f"../{uid}")
    await marks.remove(str(volume), uid)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await marks.wait_for_start(str(volume), f"../../{victim.name}")
    await nursery.close()
    assert victim.exists()
    assert (volume / "victim").exists()


def test_name_that_is_a_path_removes_no_folder_of_the_host(tmp_path: Path) -> None:
    other_job, victim = tmp_path / "run-files" / "agent-claude-other-job", tmp_path / "victim"
    other_job.mkdir(parents=True)
    victim.mkdir()
    at = os.open(other_job.parent, os.O_RDONLY)
    with pytest.raises(OSError, match="not a name"):
        remove_tree(at, "agent-claude-other-job/../../victim")
    os.close(at)
    assert victim.exists()


@pytest.mark.parametrize("path", ["run-logs/a\0b.ndjson", "run-logs", "run-logs/../../x", "/etc/passwd"])
def test_annotation_that_names_no_run_log_is_ignored(path: str, tmp_path: Path) -> None:
    assert run_log_of(str(tmp_path), path, pod_uid="0123456789") is None


def test_unreadable_process_annotation_is_read_as_defaults() -> None:
    long_pid = '{"pid": "' + "9" * 5000 + '"}'
    for text in (DEEP, long_pid, '{"a":' * 50_000, "\ud800", "[]", '{"uuid":1}'):
        process = read_process(text, "u")
        assert (process.uuid, process.pid) == ("u", 0)  # defaults


def forged_lease(annotation: str) -> dict[str, Any]:
    labels = {ADAPTER_LABEL: ADAPTER_TYPE, "paperclip.io/lease": "slot"}
    annotations = {PROCESS_ANNOTATION: annotation}
    meta = {"name": "ac-slot-forged", "namespace": NAMESPACE, "labels": labels, "annotations": annotations}
    return {"metadata": meta, "spec": {"holderIdentity": "somebody/run"}}


@pytest.mark.looptime
async def test_forged_lease_ends_neither_the_heartbeat_nor_a_run(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        fake.store.create(LEASES, forged_lease(DEEP))
        async with started(one, seconds=200.0) as run:
            assert lease_holders(fake, "process") == ["host-one"]
            own = [lease for lease in fake.store.list(LEASES) if "ac-process" in lease["metadata"]["name"]]
            assert own[0]["spec"]["renewTime"] > "2026-01-01T00:02"  # time begins at 00:00
            await asyncio.wait([run])
        result, host_log = run.result()
    assert_whole(result, host_log)


@pytest.mark.looptime
async def test_result_is_read_although_others_changed_the_run_log_annotation(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "run-logs").mkdir(parents=True)
    async with two_hosts(tmp_path, LONG) as (fake, one, two):

        def annotate(job: dict[str, Any]) -> None:
            job["metadata"]["annotations"][RUN_LOG_ANNOTATION] = "run-logs/a\0b/c.ndjson"

        async with started(one, seconds=1.0):
            change(fake, JOBS, annotate)
            await one.adapter.shutdown()
        result, host_log = await two.run(config={"sharedVolumeDir": str(volume)})
    assert_whole(result, host_log)


async def test_failing_child_of_a_nursery_ends_no_other_child(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RecursionError("a bug")

    async def wait() -> None:
        await ended.wait()

    nursery, ended = Nursery(), asyncio.Event()
    other = await nursery.start(wait(), name="other")
    failing = await nursery.start(fail(), name="failing")
    await asyncio.wait([failing])
    await asyncio.sleep(0)
    later = await nursery.start(wait(), name="later")
    assert not other.done()
    ended.set()
    await asyncio.wait([other, later])
    assert "failing" in caplog.text
    await nursery.close()
