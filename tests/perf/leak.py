"""Compares memory after ten thousand short runs with memory after one thousand.

The rig's driver keeps a record of every run, so these runs use a driver that keeps nothing.
"""

import argparse
import asyncio
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.perf.bench import ADAPTERS, NAMESPACE, OURS, PROBE, ROOT, Bench, Figure

RUNS, BATCH, CONCURRENT = 10_000, 1000, 40
"""Number of all runs, of runs before each measurement, and of concurrent runs."""
SHORT_RUN = {
    "log": {"segments": [{"seg": "init"}, {"seg": "turn"}, {"seg": "result"}]},
    "pod_create_ms": 5,
    "schedule_ms": 5,
    "init_ms": 5,
    "start_ms": 5,
    "pod_status_lag_ms": 5,
    "job_condition_lag_ms": 5,
}


def measure(bench: Bench, runs: int = RUNS) -> Iterator[Figure]:
    measured = {client: _run_driver(bench, client, runs) for client in (OURS, PROBE)}
    right = measured[OURS]["right"]
    yield Figure(f"{runs} short runs: right results", right, runs, "runs", at_least=True)
    growth_mb = {client: (run["rss"][-1] - run["rss"][0]) / 1024 for client, run in measured.items()}
    by_batch = " ".join(f"{kb / 1024:.0f}" for kb in measured[OURS]["rss"])
    note = f"probe {growth_mb[PROBE]:.1f}; after each {BATCH}: {by_batch}"
    yield Figure(f"{runs} short runs: RSS above that after {BATCH}", growth_mb[OURS], 20, "MB", note)


def _run_driver(bench: Bench, client: str, runs: int) -> dict[str, Any]:
    """Return the number of runs with the right result, and the RSS in kB after each batch."""
    with bench.server() as fake:
        fake.call("scenario", SHORT_RUN)
        arguments = ["--adapter", ADAPTERS[client], "--kubeconfig", fake.kubeconfig, "--runs", str(runs)]
        env = {**os.environ, "HOSTNAME": "paperclip-0", "PAPERCLIP_HOME": bench.scratch}
        driver = subprocess.run(
            [sys.executable, "-m", "tests.perf.leak", *arguments],
            cwd=ROOT,
            env=env,
            check=True,
            capture_output=True,
        )
    measured: dict[str, Any] = json.loads(driver.stdout)
    return measured


def _rss_kb() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def _ignore(stream: str, text: str) -> None: ...


def _context(number: int, kubeconfig: str) -> dict[str, Any]:
    return {
        "runId": f"leak-{number}",
        "agent": {"id": f"agent-{number}", "companyId": "co-1", "name": "Brief"},
        "runtime": {},
        "config": {"kubeconfig": kubeconfig, "namespace": NAMESPACE},
        "context": {"taskId": f"task-{number}"},
        "onLog": _ignore,
        "on_log": _ignore,
    }


async def _run_all(options: argparse.Namespace) -> None:
    """Do the runs in batches of `BATCH`; measure memory after each batch, while no run is active."""
    module, factory = options.adapter.split(":")
    adapter = getattr(importlib.import_module(module), factory)()
    right, rss = 0, []

    async def run_sequentially(numbers: Iterator[int]) -> None:
        nonlocal right
        for number in numbers:
            result = await adapter.execute(_context(number, options.kubeconfig))
            wire = result if isinstance(result, dict) else result.model_dump(by_alias=True)
            right += wire["exitCode"] == 0 and wire["sessionId"] == f"sess-leak-{number}"

    for start in range(0, options.runs, BATCH):
        numbers = iter(range(start, min(start + BATCH, options.runs)))
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT):
                group.create_task(run_sequentially(numbers))
        rss.append(_rss_kb())
    print(json.dumps({"right": right, "rss": rss}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--runs", type=int, required=True)
    asyncio.run(_run_all(parser.parse_args()))
