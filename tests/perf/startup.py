"""Time to import the package and to send the first request."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.perf.bench import Bench, Figure, measure_in_turns

REPEATS = 7
IMPORT = (
    "import sys, time, json; t = time.perf_counter(); import {module}; "
    "print(json.dumps([(time.perf_counter() - t) * 1000, 'kubernetes_asyncio' in sys.modules]))"
)
SHORT_RUN = {"log": {"segments": [{"seg": "init"}, {"seg": "result"}]}}


def measure(bench: Bench) -> Iterator[Figure]:
    attempts = [_import_ms("paperclip_claude_k8s") for _ in range(REPEATS)]
    yield Figure("import paperclip_claude_k8s", statistics.median(took for took, _ in attempts), 250, "ms")
    with_client = sum(has_client for _, has_client in attempts)
    yield Figure("import paperclip_claude_k8s: with kubernetes_asyncio", with_client, 0, "times")
    took = statistics.median(_import_ms("paperclip_claude_k8s.adapter")[0] for _ in range(REPEATS))
    yield Figure("import of everything that a run needs", took, 1000, "ms", "target of the first request")

    def start(client: str) -> float:
        with bench.server() as fake:
            fake.call("scenario", SHORT_RUN)
            runs = bench.measure.runs_for(["0"], "p")
            _, process = bench.measure.drive(bench.driver(client), fake, runs, bench.scratch, linger_ms=0)
            return float(fake.call("stats")["first_request"] - process["t_spawn"])

    our_ms, probe_ms = map(statistics.median, measure_in_turns(REPEATS, start))
    yield Figure("process start → first API request", our_ms, 1000, "ms", f"probe {probe_ms:.0f}")


def _import_ms(module: str) -> tuple[float, bool]:
    """Return the milliseconds of the import in a new process, and whether it loaded kubernetes_asyncio."""
    command = [sys.executable, "-c", IMPORT.format(module=module)]
    took, has_client = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return float(took), bool(has_client)
