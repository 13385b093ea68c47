"""Measures the adapter and, for comparison, the rig's probe client; prints each figure with its target.

    python -m tests.perf TOPIC...    from the project's folder; `all` for every topic

`RIG` names the rig's folder. Fails if a target is missed.
"""

import sys
import time

from tests.perf import capacity, latency, leak, recovery, startup, stopping, streams, telemetry, traffic
from tests.perf.bench import Bench

TOPICS = {
    "latency": latency.measure,
    "traffic": traffic.measure,
    "streams": streams.measure,
    "capacity": capacity.measure,
    "leak": leak.measure,
    "startup": startup.measure,
    "stopping": stopping.measure,
    "recovery": recovery.measure,
    "telemetry": telemetry.measure,
}


def main(arguments: list[str]) -> int:
    names = list(TOPICS) if arguments == ["all"] else arguments
    if not names or not set(names) <= set(TOPICS):
        print(f"{__doc__}\nTopics: {', '.join(TOPICS)}")
        return 2
    missed = 0
    with Bench.open() as bench:
        for name in names:
            began = time.monotonic()
            for figure in TOPICS[name](bench):
                print(figure, flush=True)
                missed += not figure.ok
            print(f"      {name}: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
