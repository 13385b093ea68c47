"""Print pip constraints for the lowest versions that pyproject.toml allows.

    $ python tests/lowest_versions.py > lowest.txt && pip install -c lowest.txt -e '.[dev]'

Tools that only check or build (`UNTESTED`) are left out: the tests do not use them.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
UNTESTED = {"ruff", "mypy", "types-PyYAML", "import-linter", "paperclip-adapter-claude-k8s"}
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<lowest>[0-9.]+(?:b[0-9]+)?)")


def main() -> int:
    for constraint in constraints():
        print(constraint)
    return 0


def constraints(pyproject: Path = PYPROJECT) -> Iterator[str]:
    """One `name==version` for each requirement of the package and its extras.

    Raises:
        ValueError: a requirement is not just a lower bound.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(item for extra in extras for item in extra)]:
        if re.split(r"[^A-Za-z0-9._-]", requirement)[0] in UNTESTED:
            continue
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} is not NAME>=VERSION")
        yield f"{found['name']}=={found['lowest']}"


if __name__ == "__main__":
    sys.exit(main())
