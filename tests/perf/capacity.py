"""The capacity of one process: 500 runs with output, 1,000 quiet ones."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.perf.bench import (
    OURS,
    PROBE,
    Bench,
    Figure,
    Session,
    measure_in_turns,
    median_of,
    p95,
    percentile,
    right_results,
)

BUSY_RUNS, QUIET_RUNS = 500, 1000  # runs at the same time, with output and without
REPEATS = 5
START_SPREAD_MS = 2000
"""Milliseconds over which the starts of the runs with output are spread, as in the rig."""
QUIET_START_SPREAD_MS = 20_000
"""The same for the runs without output."""
SETTLING_MS = 10_000
"""Milliseconds after the start of the last quiet run that are not measured: launches still use CPU."""


def measure(bench: Bench) -> Iterator[Figure]:
    yield from _busy(bench)
    yield from _quiet(bench)


def _busy(bench: Bench) -> Iterator[Figure]:
    delays = [number * START_SPREAD_MS / BUSY_RUNS for number in range(BUSY_RUNS)]
    ours, probe = measure_in_turns(
        REPEATS, lambda client: bench.session(client, bench.scenarios.SCALE, delays)
    )
    yield right_results("500 runs", ours)
    mine, theirs = (median_of(side, lambda session: p95(session.exit_to_return)) for side in (ours, probe))
    yield Figure("500 runs: container exit → returned, p95", mine, 200, "ms", f"probe {theirs:.0f}")
    mine, theirs = (median_of(side, lambda session: p95(session.running_to_first)) for side in (ours, probe))
    note = f"ours {mine:.0f} ms, probe {theirs:.0f} ms"
    yield Figure("500 runs: running → first chunk, p95, relative to the probe's", mine / theirs, 2, "x", note)
    mine, theirs = (median_of(side, _kb_per_run) for side in (ours, probe))
    yield Figure("500 runs: RSS per run, with the driver's records", mine, 100, "kB", f"probe {theirs:.0f}")
    mine, theirs = (
        median_of(side, lambda session: session.cpu / session.runs * 1000) for side in (ours, probe)
    )
    note = f"ours {mine:.1f} ms, probe {theirs:.1f} ms"
    yield Figure("500 runs: CPU per run, relative to the probe's", mine / theirs, 2, "x", note)
    without_records = {
        client: bench.session(client, bench.scenarios.SCALE, delays, record="count")
        for client in (OURS, PROBE)
    }
    mine, theirs = (_kb_per_run(without_records[client]) for client in (OURS, PROBE))
    yield Figure(
        "500 runs: RSS per run, without the driver's records", mine, 100, "kB", f"probe {theirs:.0f}"
    )


def _kb_per_run(session: Session) -> float:
    """Return the growth since the import, as the rig counts it: including the client's own code."""
    return (session.peak_kb - session.imported_kb) / session.runs


def _quiet(bench: Bench) -> Iterator[Figure]:
    delays = [number * QUIET_START_SPREAD_MS / QUIET_RUNS for number in range(QUIET_RUNS)]
    seen: dict[str, tuple[float, float]] = {}
    for client in (OURS, PROBE):
        file = Path(bench.scratch) / f"lags-{client}"
        os.environ["PERF_LAGS"] = str(file)
        adapter = f"tests.perf.observed:{client}"
        session = bench.session(client, bench.scenarios.QUIET, delays, adapter=adapter, record="count")
        seen[client] = _cpu_share_and_lag(session, file)
        if client == OURS:
            yield right_results("1,000 quiet runs", [session])
    (cpu, lag), (their_cpu, their_lag) = seen[OURS], seen[PROBE]
    yield Figure("1,000 quiet runs: share of one core", cpu * 100, 10, "%", f"probe {their_cpu * 100:.1f}")
    yield Figure("1,000 quiet runs: loop lag, p99", lag, 50, "ms", f"probe {their_lag:.1f}")


def _cpu_share_and_lag(session: Session, lags: Path) -> tuple[float, float]:
    """Return the share of a core and the event loop's lag (99th percentile, ms) while all runs are quiet."""
    begin_ms = max(record["t_start"] for record in session.records.values()) + SETTLING_MS
    end_ms = min(times["exit"] for times in session.times.values()) - 2000  # 2 s before the first run ends
    cpu = [(at, used) for at, _, used, _ in session.samples if begin_ms < at < end_ms]
    cpu_share = (cpu[-1][1] - cpu[0][1]) / (cpu[-1][0] - cpu[0][0]) * 1000
    fields_of_lines = (line.split() for line in lags.read_text(encoding="utf-8").splitlines())
    lags_ms = [
        float(fields[1])
        for fields in fields_of_lines
        if len(fields) == 2 and begin_ms < float(fields[0]) < end_ms
    ]
    return cpu_share, percentile(lags_ms, 99)
