"""Run the property tests `test_fuzz_*.py` of this folder for a long time, each round with new inputs.

    python -m tests.security.fuzz --minutes 60 test_fuzz_streams.py

Each round is one pytest process with another seed and takes about a minute. The program stops at the first
failure. Hypothesis prints the input that failed: add it to the test with `@example`.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
EXAMPLES_PER_ROUND = 2000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tests", nargs="*", help="test files of this folder; default: all test_fuzz_*.py")
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    files = [str(FOLDER / name) for name in options.tests] or sorted(map(str, FOLDER.glob("test_fuzz_*.py")))
    deadline = time.monotonic() + 60 * options.minutes
    rounds = 0
    while time.monotonic() < deadline:
        seed = int.from_bytes(os.urandom(4))
        command = [sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={seed}"]
        finished = subprocess.run(
            [*command, *files], env=os.environ | {"FUZZ_EXAMPLES": str(EXAMPLES_PER_ROUND)}, check=False
        )
        if finished.returncode:
            return finished.returncode
        rounds += 1
        print(f"{rounds} rounds of {EXAMPLES_PER_ROUND} inputs per test passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
