"""The examples of `building-hosts.md` run unchanged. `tests/wheel_examples.py` runs them with a wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wheel_examples import examples

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "paperclip_claude_k8s" / "docs" / "building-hosts.md"
EXAMPLES = examples(PAGE.read_text(encoding="utf-8"))
EXPECTED_OUTPUT = {
    "my_host.py": "notes.txt holds two lines",
    "test_my_host.py": " passed",
    "my_replay.py": "claude_truncated",
}


def test_page_has_a_host_a_test_and_a_replay() -> None:
    assert set(EXAMPLES) == set(EXPECTED_OUTPUT)


@pytest.mark.parametrize("file", EXPECTED_OUTPUT)
def test_example_of_the_page_runs(file: str, tmp_path: Path) -> None:
    for name, source in EXAMPLES.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    plugin = ["-p", "paperclip_claude_k8s.pytest_plugin", "-p", "no:cacheprovider"]
    program = ["-m", "pytest", "-q", *plugin, file] if file.startswith("test_") else [file]
    done = subprocess.run(
        [sys.executable, *program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert EXPECTED_OUTPUT[file] in done.stdout
