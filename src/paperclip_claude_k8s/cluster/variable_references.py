"""`$(NAME)` in values, arguments and paths of a container, expanded by Kubernetes' rules.

`$(NAME)` stands for an earlier variable of the container, `$$` for one dollar. Unknown names stay unchanged.
"""

import re
from collections.abc import Container, Mapping

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def refers_to_any(value: str, names: Container[str]) -> bool:
    return any(match[1] in names for match in _REFERENCE.finditer(value) if match[1])


def unknown_references(value: str, known: Container[str]) -> list[str]:
    """Names that the value refers to and that are not known."""
    return [match[1] for match in _REFERENCE.finditer(value) if match[1] and match[1] not in known]


def expand(value: str, known: Mapping[str, str], *, expanded_again: bool = False) -> str:
    """The value with `$(NAME)` and `$$` replaced; unknown names stay as they are.

    `expanded_again`: Kubernetes will expand the result once more, so its dollars stay escaped.
    """

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$$" if expanded_again else "$"
        found = known.get(match[1], match[0])
        return found.replace("$", "$$") if expanded_again and match[1] in known else found

    return _REFERENCE.sub(replacement, value)
