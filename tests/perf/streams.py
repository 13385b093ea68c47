"""One long log: CPU, speed and memory."""

from collections.abc import Iterator

from tests.perf.bench import OURS, PROBE, Bench, Figure, Session, measure_in_turns, median_of

LONG_MB, VERY_LONG_MB = 200, 1000
"""Megabytes of output."""
REPEATS = 5


def measure(bench: Bench) -> Iterator[Figure]:
    idle_kb = bench.session(OURS, bench.scenarios.throughput(0.01), [0.0], record="count").peak_kb

    def stream(client: str, size: int = LONG_MB) -> Session:
        return bench.session(client, bench.scenarios.throughput(size), [0.0], record="count")

    ours, probe = measure_in_turns(REPEATS, stream)
    yield Figure("200 MB: right results, all lines", sum(map(_is_complete, ours)), REPEATS, "", at_least=True)
    our_value, probe_value = (median_of(side, _cpu_per_100_mb) for side in (ours, probe))
    note = f"ours {our_value:.3f} s, probe {probe_value:.3f} s"
    yield Figure("200 MB: CPU per 100 MB, relative to the probe's", our_value / probe_value, 1.3, "x", note)
    our_value, probe_value = (median_of(side, _mb_per_second) for side in (ours, probe))
    ratio, note = our_value / probe_value, f"ours {our_value:.0f}, probe {probe_value:.0f}"
    yield Figure("200 MB: MB/s, relative to the probe's", ratio, 0.8, "x", note, at_least=True)
    yield _growth(
        "200 MB", median_of(ours, lambda session: session.peak_kb), idle_kb, median_of(probe, _peak_mb)
    )
    longer = [stream(client, VERY_LONG_MB) for client in (OURS, PROBE)]
    yield Figure("1 GB: right results, all lines", _is_complete(longer[0]), 1, "", at_least=True)
    yield _growth("1 GB", longer[0].peak_kb, idle_kb, _peak_mb(longer[1]))


def _growth(name: str, peak_kb: float, idle_kb: float, probe_mb: float) -> Figure:
    note = f"from {idle_kb / 1024:.0f} to {peak_kb / 1024:.0f} MB; the probe's peak {probe_mb:.0f} MB"
    return Figure(f"{name}: RSS above the idle process's", (peak_kb - idle_kb) / 1024, 25, "MB", note)


def _peak_mb(session: Session) -> float:
    return session.peak_kb / 1024


def _size_mb(session: Session) -> float:
    record = next(iter(session.records.values()))
    return float(record["bytes"]) / 1e6


def _cpu_per_100_mb(session: Session) -> float:
    return session.cpu / _size_mb(session) * 100


def _mb_per_second(session: Session) -> float:
    record = next(iter(session.records.values()))
    seconds = (record["t_last_pod"] - record["t_first_pod"]) / 1000
    return _size_mb(session) / float(seconds)


def _is_complete(session: Session) -> int:
    """Return 1 if the result is right and every line of the log was delivered, else 0."""
    record = next(iter(session.records.values()))
    delivered = (record["newlines"], record["bytes"])
    return int(session.right == 1 and delivered == (session.emitted["lines"], session.emitted["log_bytes"]))
