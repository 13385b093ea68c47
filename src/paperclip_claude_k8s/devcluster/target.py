"""Parses a path into the resource that it names."""

import re
from dataclasses import dataclass

from paperclip_claude_k8s.devcluster.kinds import BY_PLURAL, Kind
from paperclip_claude_k8s.devcluster.problems import Problem

_PATH = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[a-z0-9.-]+)/v1)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[a-z]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$"
)


@dataclass(frozen=True, slots=True)
class Target:
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """The resource as in an RBAC rule, e.g. "pods/log"."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def parse_target(path: str) -> Target | str:
    """The resource, or the path itself if it names no resource of `kinds` (discovery, access reviews)."""
    found = _PATH.match(path)
    kind = BY_PLURAL.get((found["group"] or "", found["plural"])) if found else None
    if found is None or kind is None:
        return path
    return Target(kind, found["namespace"] or "", found["name"] or "", found["sub"] or "")


def missing_path() -> Problem:
    return Problem(404, "NotFound", "the server could not find the requested resource")
