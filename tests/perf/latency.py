"""Latency of the first chunk and of the result, with one run and with fifty."""

from collections.abc import Iterator, Sequence

from tests.perf.bench import Bench, Figure, Session, measure_in_turns, p95, right_results

SHORT_RUN = {
    "log": {"segments": [{"seg": "init"}, {"seg": "turn", "repeat": 3, "interval_ms": 80}, {"seg": "result"}]}
}
SPACING_MS = 2000
"""Milliseconds between consecutive runs; each ends before the next one starts."""
START_SPREAD_MS = 2000
"""Milliseconds over which concurrent runs are started."""


def measure(bench: Bench) -> Iterator[Figure]:
    one_by_one = [number * SPACING_MS for number in range(30)]
    yield from _figures(
        "1 run", *measure_in_turns(1, lambda client: bench.session(client, SHORT_RUN, one_by_one))
    )
    concurrent = [number * START_SPREAD_MS / 50 for number in range(50)]
    yield from _figures(
        "50 runs",
        *measure_in_turns(3, lambda client: bench.session(client, bench.scenarios.SCALE, concurrent)),
    )


def _figures(name: str, ours: Sequence[Session], probe: Sequence[Session]) -> Iterator[Figure]:
    def pooled(sessions: Sequence[Session], span: str) -> float:
        return p95([value for session in sessions for value in getattr(session, span)])

    yield right_results(name, ours)
    for span, label, limit in (
        ("status_to_return", "Pod status → returned, p95", 50),
        ("exit_to_return", "container exit → returned, p95", 150),
        ("running_to_first", "Pod running → first chunk, p95", 50),
    ):
        note = f"probe {pooled(probe, span):.0f}"
        yield Figure(f"{name}: {label}", pooled(ours, span), limit, "ms", note)
