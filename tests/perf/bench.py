"""Loads the rig, runs sessions on its fake API server and formats figures.

The rig is a folder outside this repository. Its probe client, a minimal client of the API server, is measured
as well, in turns with the adapter: the ratio of both values is comparable between machines, absolute times
are not.
"""

import importlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.perf.rig import RIG

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
OURS, PROBE = "ours", "probe"
"""The two clients that are measured: this adapter, and the probe client of the rig."""
ADAPTERS = {OURS: "paperclip_claude_k8s:create_server_adapter", PROBE: "probe_adapter:create"}
NAMESPACE = "paperclip"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and its target."""

    name: str
    value: float
    target: float
    unit: str = ""
    note: str = ""
    at_least: bool = False
    """Whether the target is a lower bound; otherwise it is an upper bound."""

    @property
    def ok(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        bound = "≥" if self.at_least else "≤"
        columns = f"{self.name:58} {self.value:10.4g} {self.unit:5} {bound} {self.target:<7.4g}"
        return f"{'ok  ' if self.ok else 'MISS'}  {columns} {self.note}".rstrip()


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("inf")


def p95(values: Sequence[float]) -> float:
    return percentile(values, 95)


@dataclass(frozen=True, slots=True)
class Session:
    """The measurements of one process and its runs. Times in milliseconds, sizes in kB."""

    runs: int
    right: int
    """Number of runs with the right result, as the rig judges it."""
    exit_to_return: list[float]
    """For each run: from the exit of the agent's container until `execute` returned."""
    status_to_return: list[float]
    """For each run: from the final status of the Pod until `execute` returned."""
    running_to_first: list[float]
    """For each run: from the Pod's phase Running until the first chunk of output."""
    minutes: float
    """Sum of the durations of all runs."""
    cpu: float
    """Seconds of CPU from the adapter's import to the end."""
    imported_kb: int
    """RSS after the import of the adapter."""
    peak_kb: int
    """Highest RSS."""
    samples: list[tuple[float, int, float, int]]
    """(milliseconds, RSS in kB, CPU seconds, threads), four times a second."""
    stats: dict[str, Any]
    """The server's counters."""
    records: dict[str, Any] = field(repr=False)
    """The driver's record of each run."""
    times: dict[str, dict[str, float]] = field(repr=False)
    """For each run, the server's times of running, exit, status, condition and deleted, in milliseconds."""
    emitted: dict[str, Any] = field(repr=False)
    """For a single run: `log_bytes`, `lines` and the connections that read its log."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The loaded modules of the rig, and a temporary folder."""

    measure: Any
    scenarios: Any
    scratch: str

    @classmethod
    @contextmanager
    def open(cls) -> Iterator["Bench"]:
        if not (RIG / "measure.py").exists():
            sys.exit(f"there is no rig at {RIG}; set RIG to its folder")
        sys.path.insert(0, str(RIG))
        paths = [str(ROOT / "src"), str(ROOT), str(RIG / "drivers"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        with tempfile.TemporaryDirectory(prefix="perf-") as scratch:
            (Path(scratch) / "home").mkdir()
            yield cls(importlib.import_module("measure"), importlib.import_module("scenarios"), scratch)

    @contextmanager
    def server(self) -> Iterator[Any]:
        """Start an API server of the rig and yield it; close it at the end of the block."""
        fake = self.measure.Fake(self.scratch)
        try:
            yield fake
        finally:
            fake.close()

    def driver(self, client: str, adapter: str | None = None) -> Any:
        """Return the rig's driver, which does runs with this client in a process of its own."""
        return self.measure.Driver(f"{client}=py:{sys.executable}:{adapter or ADAPTERS[client]}")

    def session(
        self,
        client: str,
        scenario: dict[str, Any],
        delays: Sequence[float],
        *,
        adapter: str | None = None,
        **spec: Any,
    ) -> Session:
        """Do runs of one scenario in one process; `delays`: when each run is started, in milliseconds."""
        with self.server() as fake:
            fake.call("scenario", scenario)
            runs = self.measure.runs_for([f"{number:04d}" for number in range(len(delays))], "p")
            for run, delay in zip(runs, delays, strict=True):
                run["delay_ms"] = delay
            records, process = self.measure.drive(
                self.driver(client, adapter), fake, runs, self.scratch, **spec
            )
            times, stats = fake.call("times"), fake.call("stats")
            right = sum(self._is_right(fake, run, records) for run in times)
            emitted = fake.call(f"run/{next(iter(times))}") if len(times) == 1 else {}
        ended = [record for record in records.values() if record["t_end"]]
        return Session(
            runs=len(delays),
            right=right,
            exit_to_return=_spans_ms(times, records, "exit", "t_end"),
            status_to_return=_spans_ms(times, records, "status", "t_end"),
            running_to_first=_spans_ms(times, records, "running", "t_first_pod"),
            minutes=sum(record["t_end"] - record["t_start"] for record in ended) / 60_000,
            cpu=process.get("cpu_s", float("inf")),
            imported_kb=process.get("rss0_kb", 0),
            peak_kb=process.get("rss_peak_kb", 0),
            samples=process["samples"],
            stats=stats,
            records=records,
            times=times,
            emitted=emitted,
        )

    def _is_right(self, fake: Any, run: str, records: dict[str, Any]) -> bool:
        emitted = fake.call(f"log/{run}?last=50", raw=True)
        right: bool = self.measure.judge_result(records.get(run), {}, emitted)[0]
        return right


def _spans_ms(
    times: dict[str, dict[str, float]], records: dict[str, Any], start: str, end: str
) -> list[float]:
    """For each run: from the time `start` of the server until the time `end` of the driver's record."""
    pairs = ((times[run], record) for run, record in records.items() if run in times)
    return [record[end] - at[start] for at, record in pairs if record[end] and start in at]


def measure_in_turns(times: int, work: Callable[[str], T]) -> tuple[list[T], list[T]]:
    """Call `work` this many times for the adapter and for the probe, in turns; return the values of each.

    Thus a busy minute of the machine affects both.
    """
    done: dict[str, list[T]] = {OURS: [], PROBE: []}
    for number in range(times):
        for client in (OURS, PROBE) if number % 2 == 0 else (PROBE, OURS):
            done[client].append(work(client))
    return done[OURS], done[PROBE]


def median_of(sessions: Sequence[Session], value_of: Callable[[Session], float]) -> float:
    return statistics.median(value_of(session) for session in sessions)


def right_results(name: str, sessions: Sequence[Session]) -> Figure:
    right, runs = sum(session.right for session in sessions), sum(session.runs for session in sessions)
    return Figure(f"{name}: right results", right, runs, "runs", at_least=True)
