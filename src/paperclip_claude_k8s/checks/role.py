"""The least a service account needs, as Kubernetes objects: `claude-k8s rbac` prints them."""

from collections.abc import Iterable

import yaml

from paperclip_claude_k8s.checks.rights import RIGHTS, Right
from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.model import JsonObject

NAME = "paperclip-claude-k8s"
RBAC_GROUP = "rbac.authorization.k8s.io"
HOST_PORT = 3100
"""Where the host listens unless told otherwise (HOST.md 7.6)."""

_LINK_LOCAL = {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10"]}
"""The clouds' metadata services live there, and hand a node's credentials to whoever asks."""


def access_objects(
    namespace: str, service_account: str, *, network_policy: bool = False
) -> tuple[JsonObject, ...]:
    """Role and RoleBinding in that namespace; on wish the NetworkPolicy of the agents' Pods."""
    policy = (agent_policy(namespace),) if network_policy else ()
    return (role(namespace), _binding(namespace, service_account), *policy)


def to_yaml(objects: Iterable[JsonObject]) -> str:
    """One document per object, as `kubectl apply -f -` takes them."""
    return yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True)


def role(namespace: str, rights: Iterable[Right] = RIGHTS) -> JsonObject:
    """Grants exactly these rights: one rule for each resource."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.access.group, right.resource), []).append(right.access.verb)
    rules: list[JsonObject] = [
        {"apiGroups": [group], "resources": [resource], "verbs": allowed}
        for (group, resource), allowed in verbs.items()
    ]
    return {"apiVersion": f"{RBAC_GROUP}/v1", "kind": "Role", "metadata": _meta(namespace), "rules": rules}


def _binding(namespace: str, service_account: str) -> JsonObject:
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": _meta(namespace),
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": NAME},
    }


def agent_policy(namespace: str) -> JsonObject:
    """Nobody may call an agent; it may ask for names, use HTTPS outside, and talk to the host beside it."""
    outside = [{"ipBlock": {"cidr": cidr, "except": closed}} for cidr, closed in _LINK_LOCAL.items()]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(namespace),
        "spec": {
            "podSelector": {"matchLabels": dict(ALL_OURS)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [
                {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {"to": outside, "ports": [{"protocol": "TCP", "port": 443}]},
                {"to": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": HOST_PORT}]},
            ],
        },
    }


def _meta(namespace: str) -> JsonObject:
    return {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "paperclip"}}
