"""API requests of quiet runs, and the time until a stream that hangs is reopened."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from tests.perf.bench import OURS, PROBE, Bench, Figure, Session, right_results

RUN_COUNTS = (1, 50)  # runs at the same time
START_SPREAD_MS = 3000
"""Milliseconds over which the runs are started."""
HANGING_STREAM = {
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
            client, bench.scenarios.QUIET, [number * START_SPREAD_MS / runs for number in range(runs)]
        )

    # Requests are counted, not timed, so the sessions may run at the same time.
    with ThreadPoolExecutor() as pool:
        sessions = {
            (client, runs): pool.submit(quiet, client, runs)
            for runs in RUN_COUNTS
            for client in (OURS, PROBE)
        }
        hung = pool.submit(bench.session, OURS, HANGING_STREAM, [0.0])
    for runs in RUN_COUNTS:
        ours, probe = (sessions[client, runs].result() for client in (OURS, PROBE))
        yield right_results(f"{runs} quiet", [ours])
        yield _requests(runs, ours, probe)
        if runs > 1:
            our_value, probe_value = (session.stats["conn_total"] / runs for session in (ours, probe))
            note = f"probe {probe_value:.1f}"
            yield Figure(f"{runs} quiet: connections opened per run", our_value, 1.5, "", note)
    yield from _hang_figures(hung.result())


def _requests(runs: int, ours: Session, probe: Session) -> Figure:
    """Compare the number of requests with the limit of `tests/run/test_budget.py` for runs without bookmarks.

    That is 5 per minute of the process, one per minute of each run, and 11 per run.
    """
    minutes_per_run = ours.minutes / runs + START_SPREAD_MS / 60_000
    budget = 5 * minutes_per_run + ours.minutes + 11 * runs
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(ours.stats["requests"].items()))
    note = f"probe {probe.stats['total']}; {kinds}"
    return Figure(f"{runs} quiet for 2 min: API requests", ours.stats["total"], budget, "", note)


def _hang_figures(hung: Session) -> Iterator[Figure]:
    record = next(iter(hung.records.values()))
    times = [at for at, stream, chunk in record["chunks"] if stream == "stdout" and chunk[:1] == "{"]
    gap = max(after - before for before, after in pairwise(times)) / 1000
    yield right_results("a stream that hangs", [hung])
    yield Figure("a stream that hangs: time until lines arrive again", gap, 90, "s")
