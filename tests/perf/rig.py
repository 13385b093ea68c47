"""Runs the phases of the rig with this adapter.

    python tests/perf/rig.py faults [REGEX]    every fault scenario once; fails if a run's output is not exact
    python tests/perf/rig.py PHASE [ARGS...]   one phase, compared with the rig's probe client, as a table

`RIG` names the folder of the rig. Phases: cold, overhead, throughput, faults, scale, quiet, cancel.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RIG = Path(os.environ.get("RIG", "rig"))
MUST_BE_ZERO = ("lost", "dup", "reordered", "mangled", "late_chunks", "stopped_early", "jobs_left")
"""Fields of a scenario's result that must be 0."""
SCENARIO_COUNT = 46
"""Number of fault scenarios of the rig; fewer results mean that it did not run all of them."""


def measure(out: Path, *arguments: str) -> int:
    return subprocess.run(
        [sys.executable, str(RIG / "measure.py"), "--out", str(out), *arguments], check=False
    ).returncode


def violations(scenario: str, cell: dict[str, Any]) -> list[str]:
    """Return what is wrong with the result of one scenario."""
    wrong = [f"{key} {cell[key]:g}" for key in MUST_BE_ZERO if cell.get(key)]
    right, _, total = str(cell.get("right", "0/1")).partition("/")
    if right != total:
        wrong.append(f"right {cell.get('right')}: {json.dumps(cell.get('example'), default=str)[:600]}")
    return [f"{scenario}: {reason}" for reason in wrong]


def faults(only: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        selection = ["--only", only[0]] if only else []
        code = measure(
            out, "--driver", f"py=py:{sys.executable}", "--phases", "faults", "--reps", "1", *selection
        )
        drivers = json.loads(out.read_text(encoding="utf-8"))["drivers"] if code == 0 else {}
    results = drivers["py"]["faults"] if drivers else {}
    cells = {name: cell for name, cell in results.items() if not name.startswith("_")}
    wrong = [violation for name, cell in cells.items() for violation in violations(name, cell)]
    if not only and len(cells) != SCENARIO_COUNT:
        wrong.append(f"{len(cells)} of {SCENARIO_COUNT} scenarios have a result")
    print(*wrong, sep="\n")
    print(f"rig: {len(cells)} scenarios, {len({violation.partition(':')[0] for violation in wrong})} wrong")
    return 1 if wrong or code else 0


def compare_with_probe(phase: str, phase_arguments: list[str]) -> int:
    drivers = [f"py=py:{sys.executable}", f"probe=py:{sys.executable}:probe_adapter:create"]
    with tempfile.TemporaryDirectory() as folder:
        options = [word for driver in drivers for word in ("--driver", driver)]
        return measure(Path(folder) / "results.json", *options, "--phases", phase, *phase_arguments)


if __name__ == "__main__":
    if not (RIG / "measure.py").exists():
        sys.exit(f"there is no rig at {RIG}; set RIG to its folder")
    arguments = sys.argv[1:] or sys.exit(str(__doc__))
    sys.exit(
        faults(arguments[1:]) if arguments[0] == "faults" else compare_with_probe(arguments[0], arguments[1:])
    )
