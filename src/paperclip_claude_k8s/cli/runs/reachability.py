"""Checks whether the API server answers at all, before a run is submitted."""

import asyncio
from dataclasses import dataclass, replace

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cli.live import LiveView
from paperclip_claude_k8s.cluster.error_texts import describe_error
from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier

REACH_TIMEOUT = 15.0
"""Seconds within which the API server must answer. A restart of one of its replicas takes less time."""


@dataclass(frozen=True, slots=True)
class LiveWarnings:
    """Shows the warnings of a `Retrier`."""

    live: LiveView

    async def warn(self, text: str) -> None:
        self.live.show_status(text, warning=True)


async def find_outage(cluster: Cluster, namespace: str, timings: Timings, live: LiveView) -> str | None:
    """The reason for which the API server cannot be reached; None if it answers, even with a refusal."""
    call = Retrier(replace(timings, retry_budget=REACH_TIMEOUT), LiveWarnings(live))
    try:
        async with asyncio.timeout(REACH_TIMEOUT):
            await call("list jobs", lambda: cluster.list_jobs(namespace, ALL_OURS))
    except ClusterError as error:
        return describe_error(error) if error.no_response or error.foreign else None
    except TimeoutError:
        return f"no response within {REACH_TIMEOUT:g} s"
    return None
