"""Time from a cancel until the Job is deleted, by the host's signal and by the adapter's polling."""

import asyncio
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from tests.perf.bench import NAMESPACE, OURS, Bench, Figure

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.ports import ProcessSettings

RUNS = 8
LONG_RUN = {"log": {"segments": [{"seg": "init"}, {"seg": "turn", "repeat": 60, "interval_ms": 500}]}}


def measure(bench: Bench) -> Iterator[Figure]:
    deletion_ms, acknowledged = asyncio.run(_by_signal(bench))
    yield Figure("cancel by signal: acknowledged", acknowledged, RUNS, "runs", at_least=True)
    yield Figure("cancel by signal → Job deleted, slowest", max(deletion_ms), 1000, "ms")
    polled = bench.measure.ph_cancel(bench.driver(OURS), Namespace(scratch=bench.scratch, tls=None))
    yield Figure(
        "cancel by polling: acknowledged", polled["cancelled"], polled["runs"], "runs", at_least=True
    )
    yield Figure(
        "cancel by polling → Job deleted, slowest", polled["cancel_to_delete_ms"]["max"], 16_000, "ms"
    )


async def _by_signal(bench: Bench) -> tuple[list[float], int]:
    """Return the milliseconds from signal to deletion of each Job, and the number of cancelled runs."""
    adapter = Adapter(ProcessSettings(env={"HOSTNAME": "paperclip-0"}))
    with bench.server() as fake:
        fake.call("scenario", LONG_RUN)
        runs = [_Run(f"stop-{number}", fake.kubeconfig) for number in range(RUNS)]
        async with asyncio.TaskGroup() as group:
            for number, run in enumerate(runs):
                group.create_task(run.execute(adapter, stop_after_s=1 + number * 0.13))
        times = await asyncio.to_thread(fake.call, "times")
    await adapter.shutdown()
    spans = [times[run.name]["deleted"] - run.stopped_at for run in runs]
    return spans, sum(run.code == "cancelled" for run in runs)


class _Run:
    def __init__(self, name: str, kubeconfig: str) -> None:
        self.name = name
        self.stopped_at = 0.0  # milliseconds of the monotonic clock, as in the rig's times
        self.code: str | None = None
        self._kubeconfig = kubeconfig
        self._printing = asyncio.Event()
        self._signal = asyncio.Event()

    async def execute(self, adapter: Any, stop_after_s: float) -> None:
        """Do the run, and cancel it so many seconds after its first event."""
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._stop(stop_after_s))
            result = await adapter.execute(self._context())
            stopping.cancel()
        self.code = result.error_code

    async def _stop(self, after_s: float) -> None:
        await self._printing.wait()
        await asyncio.sleep(after_s)
        self.stopped_at = time.monotonic_ns() / 1e6
        self._signal.set()

    async def _on_log(self, stream: str, text: str) -> None:
        if text.startswith("{"):
            self._printing.set()

    def _context(self) -> dict[str, Any]:
        return {
            "runId": self.name,
            "agent": {"id": f"agent-{self.name}", "companyId": "co-1", "name": "Stopped"},
            "config": {"kubeconfig": self._kubeconfig, "namespace": NAMESPACE},
            "context": {"taskId": f"task-{self.name}"},
            "signal": self._signal,
            "onLog": self._on_log,
        }
