"""What telemetry costs: CPU of runs without a subscriber, with one, and with OpenTelemetry.

The cost of a run's events is nearly the same for short and long runs, so it is a larger share of a short run.
Two lengths are measured: runs of 20 seconds, and runs of a minute, which is still short for an agent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.perf.bench import OURS, Bench, Figure

SPREAD_MS = 2000
"""Milliseconds over which the starts of the runs are spread."""


@dataclass(frozen=True, slots=True)
class Length:
    """Runs of one length, how often they are measured, and the most that telemetry may cost."""

    name: str
    runs: int
    turns: int
    repeats: int
    kinds: tuple[str, ...]
    """Names of the functions in `instrumented.py` that are compared with `off`."""
    target: float
    """The highest allowed ratio of the CPU to that with `off`."""

    def scenario(self) -> dict[str, Any]:
        turns = {"seg": "turn", "repeat": self.turns, "blocks": 2, "tools": 1, "interval_ms": 800}
        return {"log": {"segments": [{"seg": "init"}, turns, {"seg": "result", "interval_ms": 100}]}}


SHORT = Length(
    name="runs of 20 s",
    runs=300,
    turns=6,
    repeats=10,
    kinds=("with_subscriber", "with_everything"),
    target=1.06,
)
"""Such a run takes about 18 ms of CPU; OpenTelemetry's SDK alone needs 0.4 ms more for the run's events."""
MINUTE = Length(name="runs of 60 s", runs=150, turns=20, repeats=8, kinds=("with_everything",), target=1.02)


def measure(bench: Bench) -> Iterator[Figure]:
    for length in (SHORT, MINUTE):
        yield from _measure(bench, length)


def _measure(bench: Bench, length: Length) -> Iterator[Figure]:
    delays = [number * SPREAD_MS / length.runs for number in range(length.runs)]
    kinds = ("off", *length.kinds)
    cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
    for repeat in range(length.repeats):
        for kind in kinds if repeat % 2 == 0 else reversed(kinds):  # the load of the machine may rise or fall
            adapter = f"tests.perf.instrumented:{kind}"
            session = bench.session(OURS, length.scenario(), delays, adapter=adapter)
            cpu[kind].append(session.cpu / session.runs * 1000)
    off = median(cpu["off"])
    for kind in length.kinds:
        ratios = [on / base for on, base in zip(cpu[kind], cpu["off"], strict=True)]
        spread = f"pairs {min(ratios):.2f} to {max(ratios):.2f} x"
        note = f"{median(cpu[kind]):.2f} ms per run, off {off:.2f} ms; {spread}"
        name = f"{length.runs} {length.name}: CPU {kind.replace('_', ' ')}, relative to off"
        yield Figure(name, median(ratios), length.target, "x", note)
