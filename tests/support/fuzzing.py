"""`@FUZZ`: the hypothesis settings of the fuzz tests. The variable FUZZ_EXAMPLES sets the inputs per test."""

import os

from hypothesis import HealthCheck, settings

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FUZZ_RUNS = settings(FUZZ, max_examples=max(FUZZ.max_examples // 5, 1))
"""For tests in which an input takes a second or two."""
