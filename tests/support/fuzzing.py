"""`@FUZZ`: hypothesis settings of fuzz tests. The variable FUZZ_EXAMPLES is the number of inputs per test."""

import os

from hypothesis import HealthCheck, settings

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FUZZ_RUNS = settings(FUZZ, max_examples=max(FUZZ.max_examples // 5, 1))
"""For tests in which an input takes a second or two."""
