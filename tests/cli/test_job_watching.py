"""`claude-k8s jobs --watch`: which changes of a Job are printed, and that its memory is bounded."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from tests.support.objects import a_job

from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.job_watching import watch_jobs
from paperclip_claude_k8s.cli.jobs import ChangePrinter
from paperclip_claude_k8s.cli.run_lookup_options import JobsOptions
from paperclip_claude_k8s.cluster.model import Bookmark, JobRef, JobSnapshot, Listing, PodSnapshot, WatchEvent
from paperclip_claude_k8s.cluster.port import ClusterError

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_job_is_printed_when_created_and_when_deleted_but_not_in_between(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    printer = ChangePrinter(JobsOptions(output_format=Format.TEXT), lambda _: True)
    job = replace(a_job(), created=NOON)
    for jobs_on_cluster in ([job], [job], [], [], [job]):
        printer.show(jobs_on_cluster, [])
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert [line.split()[1] for line in lines] == ["STATE", "Pending", "Gone", "Pending"]


@dataclass
class EndlessCluster:
    """Reports new Jobs without end."""

    bytes_per_job: int

    async def list_jobs(self, *_: object) -> Listing[JobSnapshot]:
        return Listing((), "1")

    async def list_pods(self, *_: object) -> Listing[PodSnapshot]:
        return Listing((), "1")

    async def watch_jobs(self, *_: object) -> AsyncGenerator[WatchEvent[JobSnapshot] | Bookmark, None]:
        job = a_job()
        for number in count():
            ref = JobRef("ns", f"j{number}", f"u{number}")
            yield WatchEvent(replace(job, ref=ref), size=self.bytes_per_job)

    async def watch_pods(self, *_: object) -> AsyncGenerator[WatchEvent[PodSnapshot] | Bookmark, None]:
        await asyncio.Event().wait()
        yield Bookmark("1")


@pytest.mark.parametrize("bytes_per_job", [0, 4 * 1024 * 1024], ids=["too many Jobs", "too many bytes"])
async def test_watch_fails_if_the_server_reports_new_jobs_without_end(bytes_per_job: int) -> None:
    cluster: Any = EndlessCluster(bytes_per_job)
    with pytest.raises(ClusterError, match="more Jobs or Pods than can be watched"):
        await watch_jobs(cluster, "ns", lambda *_: None)
