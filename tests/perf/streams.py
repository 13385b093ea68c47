"""One long log: CPU, speed and memory."""

from collections.abc import Iterator

from tests.perf.bench import OURS, PROBE, Bench, Figure, Session, median_of, side_by_side

LONG, VERY_LONG = 200, 1000
"""Megabytes."""
REPEATS = 5


def measure(bench: Bench) -> Iterator[Figure]:
    idle = bench.session(OURS, bench.scenarios.throughput(0.01), [0.0], record="count").peak_kb

    def stream(client: str, size: int = LONG) -> Session:
        return bench.session(client, bench.scenarios.throughput(size), [0.0], record="count")

    ours, probe = side_by_side(REPEATS, stream)
    yield Figure("200 MB: right results, all lines", sum(map(_whole, ours)), REPEATS, "", at_least=True)
    mine, theirs = (median_of(side, _cpu) for side in (ours, probe))
    note = f"ours {mine:.3f} s, probe {theirs:.3f} s"
    yield Figure("200 MB: CPU per 100 MB, to the probe's", mine / theirs, 1.3, "x", note)
    mine, theirs = (median_of(side, _speed) for side in (ours, probe))
    note = f"ours {mine:.0f}, probe {theirs:.0f}"
    yield Figure("200 MB: MB/s, to the probe's", mine / theirs, 0.8, "x", note, at_least=True)
    yield _growth("200 MB", median_of(ours, lambda one: one.peak_kb), idle, median_of(probe, _peak_mb))
    longer = [stream(client, VERY_LONG) for client in (OURS, PROBE)]
    yield Figure("1 GB: right results, all lines", _whole(longer[0]), 1, "", at_least=True)
    yield _growth("1 GB", longer[0].peak_kb, idle, _peak_mb(longer[1]))


def _growth(name: str, peak_kb: float, idle_kb: float, probe_mb: float) -> Figure:
    note = f"from {idle_kb / 1024:.0f} to {peak_kb / 1024:.0f} MB; the probe's peak {probe_mb:.0f} MB"
    return Figure(f"{name}: RSS above the idle process's", (peak_kb - idle_kb) / 1024, 25, "MB", note)


def _peak_mb(one: Session) -> float:
    return one.peak_kb / 1024


def _size(one: Session) -> float:
    record = next(iter(one.records.values()))
    return float(record["bytes"]) / 1e6


def _cpu(one: Session) -> float:
    return one.cpu / _size(one) * 100


def _speed(one: Session) -> float:
    record = next(iter(one.records.values()))
    seconds = (record["t_last_pod"] - record["t_first_pod"]) / 1000
    return _size(one) / float(seconds)


def _whole(one: Session) -> int:
    """Whether the result is right and every line of the log was delivered."""
    record = next(iter(one.records.values()))
    delivered = (record["newlines"], record["bytes"])
    return int(one.right == 1 and delivered == (one.emitted["lines"], one.emitted["log_bytes"]))
