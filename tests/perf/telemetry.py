"""What telemetry costs: CPU of runs with nothing, with a subscriber, and with OpenTelemetry.

The cost of a run's events hardly depends on how long the run takes, so the ratio does. Two lengths are
measured: runs that are over after seconds, and runs of a minute, which is still short for an agent.
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
    target: float

    def scenario(self) -> dict[str, Any]:
        turns = {"seg": "turn", "repeat": self.turns, "blocks": 2, "tools": 1, "interval_ms": 800}
        return {"log": {"segments": [{"seg": "init"}, turns, {"seg": "result", "interval_ms": 100}]}}


SHORT = Length("runs of 20 s", 300, 6, 10, ("with_subscriber", "with_everything"), 1.06)
"""OpenTelemetry's SDK alone needs 0.4 ms for the events of one run, of about 18 ms."""
MINUTE = Length("runs of 60 s", 150, 20, 8, ("with_everything",), 1.02)


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
        ratio = median(on / base for on, base in zip(cpu[kind], cpu["off"], strict=True))
        note = f"{median(cpu[kind]):.2f} ms per run, off {off:.2f} ms"
        name = f"{length.runs} {length.name}: CPU {kind.replace('_', ' ')}, relative to off"
        yield Figure(name, ratio, length.target, "x", note)
