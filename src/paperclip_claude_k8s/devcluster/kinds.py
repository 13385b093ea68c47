"""The resources that this API server serves."""

from dataclasses import dataclass
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object that this API server serves. `short`: kubectl's abbreviations of `plural`."""

    group: str
    version: str
    plural: str
    kind: str
    short: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


JOBS = Kind("batch", "v1", "jobs", "Job")
PODS = Kind("", "v1", "pods", "Pod", ("po",))
SECRETS = Kind("", "v1", "secrets", "Secret")
EVENTS = Kind("", "v1", "events", "Event", ("ev",))
CLAIMS = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", ("pvc",))
ACCOUNTS = Kind("", "v1", "serviceaccounts", "ServiceAccount", ("sa",))
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", ("ns",), namespaced=False)
NODES = Kind("", "v1", "nodes", "Node", ("no",), namespaced=False)
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")

ALL = (JOBS, PODS, SECRETS, EVENTS, CLAIMS, ACCOUNTS, NAMESPACES, NODES, LEASES)
BY_PLURAL = {(kind.group, kind.plural): kind for kind in ALL}
