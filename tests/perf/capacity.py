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
    sides = (ours, probe)
    our_ms, probe_ms = (median_of(side, lambda session: p95(session.exit_to_return)) for side in sides)
    yield Figure("500 runs: container exit → returned, p95", our_ms, 200, "ms", f"probe {probe_ms:.0f}")
    our_ms, probe_ms = (median_of(side, lambda session: p95(session.running_to_first)) for side in sides)
    ratio, note = our_ms / probe_ms, f"ours {our_ms:.0f} ms, probe {probe_ms:.0f} ms"
    yield Figure("500 runs: running → first chunk, p95, relative to the probe's", ratio, 2, "x", note)
    our_kb, probe_kb = (median_of(side, _kb_per_run) for side in sides)
    yield Figure(
        "500 runs: RSS per run, with the driver's records", our_kb, 100, "kB", f"probe {probe_kb:.0f}"
    )
    our_ms, probe_ms = (median_of(side, lambda session: session.cpu / session.runs * 1000) for side in sides)
    ratio, note = our_ms / probe_ms, f"ours {our_ms:.1f} ms, probe {probe_ms:.1f} ms"
    yield Figure("500 runs: CPU per run, relative to the probe's", ratio, 2, "x", note)
    without_records = {
        client: bench.session(client, bench.scenarios.SCALE, delays, record="count")
        for client in (OURS, PROBE)
    }
    our_kb, probe_kb = (_kb_per_run(without_records[client]) for client in (OURS, PROBE))
    yield Figure(
        "500 runs: RSS per run, without the driver's records", our_kb, 100, "kB", f"probe {probe_kb:.0f}"
    )


def _kb_per_run(session: Session) -> float:
    """Return the growth of the RSS since the import, per run. Modules that runs import count as well."""
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
    (our_share, our_lag), (probe_share, probe_lag) = seen[OURS], seen[PROBE]
    note = f"probe {probe_share * 100:.1f}"
    yield Figure("1,000 quiet runs: share of one core", our_share * 100, 10, "%", note)
    yield Figure("1,000 quiet runs: loop lag, p99", our_lag, 50, "ms", f"probe {probe_lag:.1f}")


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
