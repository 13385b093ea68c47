"""API requests of quiet runs, and the time until a stream that hangs is reopened."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from tests.perf.bench import OURS, PROBE, Bench, Figure, Session, all_right

SIZES = (1, 50)
SPREAD = 3000
"""Milliseconds over which the runs are started."""
HANG = {
    "log": {
        "segments": [
            {"seg": "init"},
            {"seg": "turn", "repeat": 75, "blocks": 1, "tools": 1, "interval_ms": 500},
            {"seg": "result"},
        ]
    },
    "faults": [{"type": "hang", "at_line": 12, "cut": "before"}],
}
"""The agent prints for nearly two minutes; the stream delivers only the first few lines."""


def measure(bench: Bench) -> Iterator[Figure]:
    def quiet(client: str, runs: int) -> Session:
        return bench.session(
            client, bench.scenarios.QUIET, [number * SPREAD / runs for number in range(runs)]
        )

    # Requests are counted, not timed, so the sessions may run at the same time.
    with ThreadPoolExecutor() as pool:
        sessions = {
            (client, runs): pool.submit(quiet, client, runs) for runs in SIZES for client in (OURS, PROBE)
        }
        hung = pool.submit(bench.session, OURS, HANG, [0.0])
    for runs in SIZES:
        ours, probe = (sessions[client, runs].result() for client in (OURS, PROBE))
        yield all_right(f"{runs} quiet", [ours])
        yield _requests(runs, ours, probe)
        if runs > 1:
            opened, theirs = (one.stats["conn_total"] / runs for one in (ours, probe))
            yield Figure(f"{runs} quiet: connections opened per run", opened, 1.5, "", f"probe {theirs:.1f}")
    yield from _hang(hung.result())


def _requests(runs: int, ours: Session, probe: Session) -> Figure:
    """Compares the requests with the target of `tests/run/test_budget.py`."""
    life = ours.minutes / runs + SPREAD / 60_000
    budget = 5 * life + ours.minutes + 11 * runs
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(ours.stats["requests"].items()))
    note = f"probe {probe.stats['total']}; {kinds}"
    return Figure(f"{runs} quiet for 2 min: API requests", ours.stats["total"], budget, "", note)


def _hang(hung: Session) -> Iterator[Figure]:
    record = next(iter(hung.records.values()))
    times = [at for at, stream, chunk in record["chunks"] if stream == "stdout" and chunk[:1] == "{"]
    gap = max(after - before for before, after in pairwise(times)) / 1000
    yield all_right("a stream that hangs", [hung])
    yield Figure("a stream that hangs: time until lines arrive again", gap, 90, "s")
