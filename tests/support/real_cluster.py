"""Shared by journeys on a real cluster: settings, disruptions, and stamps.

A stamp is a line with the name of the agent's Pod and the machine's uptime. Agents write stamps to a file,
from which a test sees when they ran. The environment variable `SHARED_VOLUME_FOR_TESTS` names the folder of
the shared volume on this machine.
"""

import asyncio
import json
import os
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.file_event import FileEvent
from tests.support.programs import as_admin
from tests.support.real_namespace import HOST_POD, NAMESPACE
from tests.support.runs import Site

from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

VOLUME = os.environ.get("SHARED_VOLUME_FOR_TESTS", "")
IN_HOME_POD = {"HOSTNAME": HOST_POD, "PAPERCLIP_NAMESPACE": NAMESPACE}
"""Environment of a Paperclip host in its home Pod, from which Jobs inherit image, volume and env."""
PRINT_RESULT = (
    r"""printf '{"type":"result","subtype":"success","is_error":false,"result":"%s","session_id":"s"}\n'"""
)
"""Shell command that prints a successful result; its argument is the answer."""
RESULT = f"{PRINT_RESULT} done"
"""Shell command that prints a successful result with the answer "done"."""
SIGTERM_DELAY = 10.0
"""Seconds that the agent continues after SIGTERM; less than the grace period of 20 s."""
STAMP_INTERVAL = 0.2
"""Seconds between two stamps."""
LAST_LINE = "last line\n"
"""What an agent prints before its result, if it is not disrupted."""
NOTICED_WITHIN = 45.0
"""Seconds within which a run must notice its disruption. After that the test lets the agent end."""


async def wait_for_output(host_log: HostLog, text: str, within: float = 120.0) -> None:
    """Wait until the host has received this text of the agent or the adapter, at most `within` seconds."""
    async with asyncio.timeout(within):
        while text not in host_log.stdout + host_log.status:  # noqa: ASYNC110  # a host's callback sets no event
            await asyncio.sleep(0.1)


def stamping_agent(stamps: str, end: FileEvent) -> str:
    """A script that writes stamps to the file `stamps` and prints lines until the event `end`, then a result.

    After SIGTERM it ignores the event and continues for `SIGTERM_DELAY`.
    """
    last_stamp = int(SIGTERM_DELAY / STAMP_INTERVAL)
    return f"""
stopping=0; n=0; trap 'stopping=1' TERM
while :; do
  n=$((n + 1)); echo "$(hostname) $(cut -d' ' -f1 /proc/uptime)" >>{stamps}
  echo "line $n"
  if [ $stopping -gt 0 ]; then stopping=$((stopping + 1)); [ $stopping -lt {last_stamp} ] || exit 143
  elif [ -e {end.in_pod} ]; then break
  fi
  sleep {STAMP_INTERVAL}
done
printf '{LAST_LINE.strip()}\\n'
{RESULT}"""


@dataclass(frozen=True, slots=True)
class Stamps:
    """A file on the shared volume with the stamps of all agents of one test."""

    name: str

    @classmethod
    def fresh(cls) -> "Stamps":
        folder = Path(VOLUME) / "stamps"
        folder.mkdir(mode=0o777, exist_ok=True)
        folder.chmod(0o777)
        return cls(uuid.uuid4().hex)

    @property
    def in_pod(self) -> str:
        """Path of the file in a Pod."""
        return f"/paperclip/stamps/{self.name}"

    def spans(self) -> dict[str, tuple[float, float]]:
        """Pod name → times of its agent's first and last stamp, in seconds of the machine's uptime."""
        path = Path(VOLUME) / "stamps" / self.name
        stamps: dict[str, list[float]] = defaultdict(list)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            pod, _, when = line.partition(" ")
            stamps[pod].append(float(when))
        return {pod: (min(times), max(times)) for pod, times in stamps.items()}

    def assert_one_at_a_time(self, at_most: int) -> None:
        """Check that not more than `at_most` agents ran, and no two of them at the same time."""
        spans = sorted((first, last, pod) for pod, (first, last) in self.spans().items())
        assert len(spans) <= at_most, spans
        for (_, ended, pod), (began, _, next_pod) in pairwise(spans):
            assert ended < began, f"{next_pod} began {ended - began:.1f} s before {pod} ended: {spans}"


Disruption = Callable[[str, str], Awaitable[None]]
"""Disrupts a run; the arguments are the names of its Pod and its Job."""
Moment = Callable[[HostLog], Awaitable[None]]
"""Waits until a run has reached a moment; the argument is what its host has received."""


def after_output(text: str, seconds: float = 0.0) -> Moment:
    """The moment `seconds` after the host received `text`."""

    async def wait(host_log: HostLog) -> None:
        await wait_for_output(host_log, text)
        await asyncio.sleep(seconds)

    return wait


MOMENTS: dict[str, Moment] = {
    "as its Pod appears": after_output("Created K8s Job"),
    "while its Pod starts": after_output("Created K8s Job", 0.4),
    "when it is reported as running": after_output("Pod running"),
    "at its first line": after_output("line 1\n"),
    "in the middle": after_output("line 1\n", 2.0),
    "after a while": after_output("line 30\n"),
}


async def disrupt(
    real: Site,
    disruption: Disruption,
    moment: Moment,
    stamps: Stamps,
    *,
    config: Mapping[str, Any] | None = None,
    first_config: Mapping[str, Any] | None = None,
    noticed_within: float = NOTICED_WITHIN,
) -> tuple[ExecutionResult, HostLog]:
    """Disrupt one run, then run the same agent again, which must succeed. Returns what came of the first run.

    `config` applies to both runs, `first_config` only to the first run. If the disruption does not end the
    first run within `noticed_within` seconds, its agent is told to end.
    """
    config = dict(config or {})
    host_log, identity = HostLog(), {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    end = FileEvent.on_volume()
    script = {"CLAUDE_SCRIPT": stamping_agent(stamps.in_pod, end)}
    async with asyncio.TaskGroup() as group:
        settings = {**config, **(first_config or {})}
        running = group.create_task(real.run(script, host_log=host_log, agent=identity, config=settings))
        await moment(host_log)
        job = host_log.status.partition("Created K8s Job: ")[2].split(" ", 1)[0]
        await disruption(await _pod_of(job), job)
        await asyncio.wait({running}, timeout=noticed_within)
        end.set()
    result, _ = running.result()
    second, second_log = await real.run(script, agent=identity, config=config)
    assert second.error_code is None, (second.error_message, second_log.status)
    assert await real.leftovers(agent=identity["id"]) == []
    return result, host_log


async def _pod_of(job: str) -> str:
    """Name of the first Pod of the Job, as soon as the Pod exists."""
    while True:
        pods = json.loads(await as_admin("get", "pods", "-l", f"{JOB_NAME_LABEL}={job}", "-o", "json"))
        if pods["items"]:
            return str(pods["items"][0]["metadata"]["name"])
        await asyncio.sleep(0.05)


async def wait_until(condition: Callable[[], Awaitable[bool]], within: float = 120.0) -> None:
    """Wait until the condition is true, at most `within` seconds."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110  # polls a cluster
            await asyncio.sleep(0.2)
