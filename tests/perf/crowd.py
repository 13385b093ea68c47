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
    all_right,
    median_of,
    p95,
    percentile,
    side_by_side,
)

BUSY, QUIET = 500, 1000
REPEATS = 5
STARTED_WITHIN = 2000
"""Milliseconds over which the runs with output are started, as the rig does it."""
QUIET_STARTED_WITHIN = 20_000
SETTLED = 10_000
"""Milliseconds after the start of the last quiet run in which launches still use CPU."""


def measure(bench: Bench) -> Iterator[Figure]:
    yield from _busy(bench)
    yield from _quiet(bench)


def _busy(bench: Bench) -> Iterator[Figure]:
    delays = [number * STARTED_WITHIN / BUSY for number in range(BUSY)]
    ours, probe = side_by_side(REPEATS, lambda client: bench.session(client, bench.scenarios.SCALE, delays))
    yield all_right("500 runs", ours)
    mine, theirs = (median_of(side, lambda one: p95(one.exit_to_return)) for side in (ours, probe))
    yield Figure("500 runs: container exit → returned, p95", mine, 200, "ms", f"probe {theirs:.0f}")
    mine, theirs = (median_of(side, lambda one: p95(one.running_to_first)) for side in (ours, probe))
    note = f"ours {mine:.0f} ms, probe {theirs:.0f} ms"
    yield Figure("500 runs: running → first chunk, p95, to the probe's", mine / theirs, 2, "x", note)
    mine, theirs = (median_of(side, _kb_per_run) for side in (ours, probe))
    yield Figure("500 runs: RSS per run, with the driver's records", mine, 100, "kB", f"probe {theirs:.0f}")
    mine, theirs = (median_of(side, lambda one: one.cpu / one.runs * 1000) for side in (ours, probe))
    note = f"ours {mine:.1f} ms, probe {theirs:.1f} ms"
    yield Figure("500 runs: CPU per run, to the probe's", mine / theirs, 2, "x", note)
    recordless = {
        client: bench.session(client, bench.scenarios.SCALE, delays, record="count")
        for client in (OURS, PROBE)
    }
    mine, theirs = (_kb_per_run(recordless[client]) for client in (OURS, PROBE))
    yield Figure(
        "500 runs: RSS per run, without the driver's records", mine, 100, "kB", f"probe {theirs:.0f}"
    )


def _kb_per_run(one: Session) -> float:
    """As the rig counts it: everything after the import, including the client's own code."""
    return (one.peak_kb - one.imported_kb) / one.runs


def _quiet(bench: Bench) -> Iterator[Figure]:
    delays = [number * QUIET_STARTED_WITHIN / QUIET for number in range(QUIET)]
    seen: dict[str, tuple[float, float]] = {}
    for client in (OURS, PROBE):
        file = Path(bench.scratch) / f"lags-{client}"
        os.environ["PERF_LAGS"] = str(file)
        adapter = f"tests.perf.observed:{client}"
        one = bench.session(client, bench.scenarios.QUIET, delays, adapter=adapter, record="count")
        seen[client] = _load(one, file)
        if client == OURS:
            yield all_right("1,000 quiet runs", [one])
    (cpu, lag), (their_cpu, their_lag) = seen[OURS], seen[PROBE]
    yield Figure("1,000 quiet runs: share of one core", cpu * 100, 10, "%", f"probe {their_cpu * 100:.1f}")
    yield Figure("1,000 quiet runs: loop lag, p99", lag, 50, "ms", f"probe {their_lag:.1f}")


def _load(one: Session, lags: Path) -> tuple[float, float]:
    """Share of a core and 99th percentile of the event loop's lag, while all runs are quiet."""
    since = max(record["t_start"] for record in one.records.values()) + SETTLED
    until = min(times["exit"] for times in one.times.values()) - 2000
    cpu = [(at, used) for at, _, used, _ in one.samples if since < at < until]
    share = (cpu[-1][1] - cpu[0][1]) / (cpu[-1][0] - cpu[0][0]) * 1000
    fields_of_lines = (line.split() for line in lags.read_text(encoding="utf-8").splitlines())
    late = [
        float(fields[1])
        for fields in fields_of_lines
        if len(fields) == 2 and since < float(fields[0]) < until
    ]
    return share, percentile(late, 99)
