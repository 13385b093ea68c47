"""Kubernetes objects with the minimal rights of the host's service account, as `claude-k8s rbac` prints."""

from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from paperclip_claude_k8s.checks.rights import RIGHTS, Right, rights_of
from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.model import JsonObject

NAME = "paperclip-claude-k8s"
LABELS = {"app.kubernetes.io/managed-by": "paperclip"}
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label with the name of a namespace; servers set it since 1.21."""
RBAC_GROUP = "rbac.authorization.k8s.io"
DEFAULT_HOST_PORT = 3100
"""The port on which a Paperclip host listens by default."""
_OTLP_PORTS = (4317, 4318)
"""Ports of an OpenTelemetry collector: metrics and traces by gRPC and HTTP."""

_OUTSIDE_CLUSTER = {
    "0.0.0.0/0": ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
    "::/0": ["fc00::/7", "fe80::/10"],
}
"""All addresses → the ranges in them to exclude: private ones, where the cluster and its API server are, and
link-local ones, where clouds serve the node's credentials."""
_NODE_LOCAL_DNS = "169.254.20.10/32"
"""Address of the DNS cache that some clusters have on each node."""


@dataclass(frozen=True, slots=True)
class Account:
    """The host's service account."""

    namespace: str
    name: str

    @classmethod
    def read(cls, text: str, namespace: str) -> "Account":
        """Parse `name`, or `namespace:name` if the host does not run in `namespace`, the Jobs' namespace."""
        account_namespace, _, name = text.rpartition(":")
        return cls(account_namespace or namespace, name)


def access_objects(  # noqa: PLR0913  # each chooses some objects or rights
    namespace: str,
    account: Account,
    *,
    auto_claims: bool = False,
    job_events: bool = False,
    network_policy: bool = False,
    telemetry_namespace: str = "",
) -> tuple[JsonObject, ...]:
    """Role and RoleBinding in `namespace`, where the Jobs are, and on request the agents' NetworkPolicy.

    A host in another namespace also gets the right to read Pods there: Jobs inherit from its own Pod.
    `auto_claims`: whether the host may create claims. `job_events`: whether it may create Events.
    `telemetry_namespace`: see `agent_policy`.
    """
    rights = rights_of(auto_claims=auto_claims, job_events=job_events)
    objects = [role(namespace, rights), _binding(namespace, account)]
    if account.namespace != namespace:
        home_rights = [right for right in RIGHTS if right.label == "get pods"]
        objects += [role(account.namespace, home_rights), _binding(account.namespace, account)]
    if network_policy:
        objects.append(agent_policy(namespace, account.namespace, telemetry_namespace))
    return tuple(objects)


def to_yaml(objects: Iterable[JsonObject]) -> str:
    """One YAML document per object, for `kubectl apply -f -`."""
    return yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True)


def role(namespace: str, rights: Iterable[Right] = RIGHTS) -> JsonObject:
    """A Role that grants exactly `rights`, with one rule for each resource."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.access.group, right.resource), []).append(right.access.verb)
    rules: list[JsonObject] = [
        {"apiGroups": [group], "resources": [resource], "verbs": allowed}
        for (group, resource), allowed in verbs.items()
    ]
    return {"apiVersion": f"{RBAC_GROUP}/v1", "kind": "Role", "metadata": _meta(namespace), "rules": rules}


def _binding(namespace: str, account: Account) -> JsonObject:
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": _meta(namespace),
        "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": NAME},
    }


def agent_policy(namespace: str, host_namespace: str, telemetry_namespace: str = "") -> JsonObject:
    """NetworkPolicy for agents: no ingress; egress to DNS, HTTPS outside the cluster, and the host.

    With `telemetry_namespace` also egress to an OpenTelemetry collector in that namespace.
    """
    dns: list[JsonObject] = [
        {
            "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        },
        {"ipBlock": {"cidr": _NODE_LOCAL_DNS}},
    ]
    host, collector = (
        {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}}
        for name in (host_namespace, telemetry_namespace)
    )
    telemetry = {"to": [collector], "ports": [{"protocol": "TCP", "port": port} for port in _OTLP_PORTS]}
    outside = [{"ipBlock": {"cidr": cidr, "except": excluded}} for cidr, excluded in _OUTSIDE_CLUSTER.items()]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(namespace),
        "spec": {
            "podSelector": {"matchLabels": dict(ALL_OURS)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [
                {"to": dns, "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {"to": outside, "ports": [{"protocol": "TCP", "port": 443}]},
                {"to": [host], "ports": [{"protocol": "TCP", "port": DEFAULT_HOST_PORT}]},
                *([telemetry] if telemetry_namespace else []),
            ],
        },
    }


def _meta(namespace: str) -> JsonObject:
    return {"name": NAME, "namespace": namespace, "labels": dict(LABELS)}
