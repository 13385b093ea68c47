"""Delay of the slowest line after a cut connection and after outages of the API server."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from tests.perf.bench import OURS, PROBE, Bench, Figure

CUT_SCENARIOS = (
    "^drop_|^same_second_400_drop$|^big_line_drop_inside$|^no_trailing_newline_drop$|^rotated_then_drop$"
)
"""Regular expression that matches the names of the rig's scenarios with a cut connection."""
OUTAGE_SECONDS = {"api_down_8s": 8, "api_down_40s": 40}
"""Scenario of the rig → duration of its outage."""
REPEATS = 3


def measure(bench: Bench) -> Iterator[Figure]:
    ours, probe = (_measure_scenarios(bench, client, CUT_SCENARIOS) for client in (OURS, PROBE))
    slowest = max(ours, key=lambda name: float(ours[name]["lat_max"]))
    theirs = max(float(cell["lat_max"]) for cell in probe.values())
    exact = sum(_is_exact(cell) for cell in ours.values())
    yield Figure("after a cut: scenarios without lost or changed lines", exact, len(ours), "", at_least=True)
    note = f"{slowest}; probe {theirs:.0f}"
    yield Figure("after a cut: slowest line", ours[slowest]["lat_max"], 1000, "ms", note)
    for name, seconds in OUTAGE_SECONDS.items():
        ours, probe = (_measure_scenarios(bench, client, f"^{name}$") for client in (OURS, PROBE))
        note = f"probe {probe[name]['lat_max'] / 1000:.1f}"
        slowest_s = ours[name]["lat_max"] / 1000
        yield Figure(f"after an outage of {seconds} s: slowest line", slowest_s, seconds + 1, "s", note)


def _measure_scenarios(bench: Bench, client: str, only: str) -> dict[str, dict[str, Any]]:
    """Return the median measurements of each scenario whose name matches the regular expression `only`."""
    options = Namespace(only=only, reps=REPEATS, parallel=REPEATS, scratch=bench.scratch, tls=None)
    cells = bench.measure.ph_faults(bench.driver(client), options)
    return {name: cell for name, cell in cells.items() if not name.startswith("_")}


def _is_exact(cell: dict[str, Any]) -> bool:
    right, _, total = cell["right"].partition("/")
    return right == total and not any(cell[key] for key in ("lost", "dup", "reordered", "mangled"))
