"""Runs the examples of `building-hosts.md` in a fresh environment that has only the built wheel.

Usage: `python tests/wheel_examples.py`. Needs pip's registry. The page is that of the installed wheel.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"(?ms)^`(\w+\.py)`:\n\n```python\n(.*?)^```")
PAGE_PATH = (
    "import importlib.resources as r; print(r.files('paperclip_claude_k8s') / 'docs' / 'building-hosts.md')"
)


def examples(page: str) -> dict[str, str]:
    """File name → content of each example of the page."""
    return dict(EXAMPLE.findall(page))


def main() -> None:
    """Build the wheel, install it, and run each example; the first failure ends the program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", name, str(ROOT), at=folder)
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv" / "bin" / "python")
        run(python, "-m", "pip", "install", "-q", f"{wheel}[testing]", at=folder)
        page = Path(run(python, "-c", PAGE_PATH, at=folder).strip()).read_text(encoding="utf-8")
        for file, source in examples(page).items():
            (folder / file).write_text(source, encoding="utf-8")
            program = ["-m", "pytest", "-q", file] if file.startswith("test_") else [file]
            print(f"── {file}\n{run(python, *program, at=folder)}", flush=True)


def run(*command: str, at: Path) -> str:
    """The output of a program that is started in the folder `at`. Raises if it fails."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(at), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=at, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        print(output, file=sys.stderr)
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}")
    return output


if __name__ == "__main__":
    main()
