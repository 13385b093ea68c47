"""The part of the home pod's environment that Jobs inherit, resolved as Kubernetes resolved it there.

Plain values are expanded here, by Kubernetes' rules: `$(NAME)` is an earlier variable, `$$` is one dollar. An
entry with `valueFrom`, for example a reference to a Secret, is passed on to the Job, because only the cluster
can resolve it. So is a plain value with a `$(NAME)` of such an entry, unless it looks secret: the Job would
show it. It becomes an ordinary secret value, in which that `$(NAME)` stays as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.cluster.model import HomePod, JsonObject
from paperclip_claude_k8s.host.redact import is_secret_name, looks_like_credential
from paperclip_claude_k8s.plan.host_only import RUN_VARIABLE, SERVER_SECRETS

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Inherited:
    """The home container's variables: values, and entries that only Kubernetes can resolve."""

    literals: Mapping[str, str] = field(default_factory=dict, repr=False)
    value_from: tuple[JsonObject, ...] = ()
    env_from: tuple[JsonObject, ...] = ()
    dropped: tuple[str, ...] = ()
    """Names of the variables that are not inherited."""


def inherited_environment(home: HomePod | None) -> Inherited:
    """All variables except the host's own secrets and those that describe a run."""
    if home is None:
        return Inherited()
    literals: dict[str, str] = {}
    referring: dict[str, JsonObject] = {}
    dropped: set[str] = set()
    for entry in home.env:
        name = str(entry.get("name") or "")
        if name in SERVER_SECRETS or RUN_VARIABLE.match(name):
            dropped.add(name)
        elif "valueFrom" in entry:
            literals.pop(name, None)
            referring[name] = dict(entry)
        else:
            value = str(entry.get("value") or "")
            literals.pop(name, None)
            referring.pop(name, None)
            if _refers_to_any(value, referring) and not (
                is_secret_name(name) or looks_like_credential(value)
            ):
                referring[name] = {"name": name, "value": _expand(value, literals, expanded_again=True)}
            else:
                literals[name] = _expand(value, literals)
    return Inherited(literals, tuple(referring.values()), tuple(home.env_from), tuple(sorted(dropped)))


def _refers_to_any(value: str, names: Mapping[str, JsonObject]) -> bool:
    return any(match[1] in names for match in _REFERENCE.finditer(value) if match[1])


def _expand(value: str, known: Mapping[str, str], *, expanded_again: bool = False) -> str:
    """The value with `$(NAME)` and `$$` replaced; unknown names stay as they are.

    `expanded_again`: Kubernetes will expand the result once more, so its dollars stay escaped.
    """

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$$" if expanded_again else "$"
        found = known.get(match[1], match[0])
        return found.replace("$", "$$") if expanded_again and match[1] in known else found

    return _REFERENCE.sub(replacement, value)
