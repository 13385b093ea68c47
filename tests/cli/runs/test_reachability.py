"""`find_outage`: before a run is submitted, it finds out that the API server cannot be reached."""

import asyncio
import io
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from rich.console import Console

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cli.runs.reachability import REACH_TIMEOUT, find_outage
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError

REFUSED = ClusterError(None, "Unreachable", "no connection to 127.0.0.1:1: Connection refused")
FORBIDDEN = ClusterError(403, "Forbidden", "ada cannot list jobs")
JOBS = "a list of Jobs"
NO_RESPONSE = None
NO_OUTAGE = None


@dataclass
class AnsweringCluster:
    """A cluster that gives these answers in turn, and the last of them again and again."""

    answers: list[ClusterError | str | None] = field(default_factory=list)

    async def list_jobs(self, _namespace: str, _labels: Any) -> str:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is NO_RESPONSE:
            await asyncio.Event().wait()
        if isinstance(answer, ClusterError):
            raise answer
        return str(answer)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([REFUSED], "Connection refused"),
        ([NO_RESPONSE], f"no response within {REACH_TIMEOUT:g} s"),
        ([REFUSED, REFUSED, JOBS], NO_OUTAGE),
        ([FORBIDDEN], NO_OUTAGE),
        ([JOBS], NO_OUTAGE),
    ],
)
async def test_outage_is_found_within_its_time_limit(
    answers: list[ClusterError | str | None], cause: str | None
) -> None:
    shown, loop = io.StringIO(), asyncio.get_running_loop()
    live = LiveView(Console(file=shown), quiet=False)
    began = loop.time()
    outage = await find_outage(cast("Cluster", AnsweringCluster([*answers])), "agents", Timings(), live)
    assert (outage is None) is (cause is NO_OUTAGE)
    assert (cause or "") in (outage or "")
    assert loop.time() - began <= REACH_TIMEOUT
    assert ("trying again" in shown.getvalue()) == (answers[0] is REFUSED)
