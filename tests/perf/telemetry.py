"""What telemetry costs: CPU of 300 runs with nothing, with a subscriber, and with OpenTelemetry."""

from collections.abc import Iterator
from statistics import median

from tests.perf.bench import OURS, Bench, Figure

RUNS = 300
SPREAD_MS = 2000
"""Milliseconds over which the starts of the runs are spread."""
REPEATS = 10
KINDS = ("off", "with_subscriber", "with_everything")
TARGET = 1.02


def measure(bench: Bench) -> Iterator[Figure]:
    delays = [number * SPREAD_MS / RUNS for number in range(RUNS)]
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for repeat in range(REPEATS):
        for kind in KINDS if repeat % 2 == 0 else reversed(KINDS):  # the load of the machine may rise or fall
            adapter = f"tests.perf.instrumented:{kind}"
            session = bench.session(OURS, bench.scenarios.SCALE, delays, adapter=adapter)
            cpu[kind].append(session.cpu / session.runs * 1000)
    off = median(cpu["off"])
    for kind in KINDS[1:]:
        ratio = median(on / base for on, base in zip(cpu[kind], cpu["off"], strict=True))
        note = f"{median(cpu[kind]):.2f} ms per run, off {off:.2f} ms"
        yield Figure(f"{RUNS} runs: CPU {kind.replace('_', ' ')}, relative to off", ratio, TARGET, "x", note)
