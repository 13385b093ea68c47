"""The Kubernetes objects that a namespace for agents needs, and those of a Paperclip server in it.

`claude-k8s manifests` prints them, as one YAML stream or as a kustomize base with overlays. The Secret with
the API key is not among them: each time they are applied, a placeholder would overwrite the key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from paperclip_claude_k8s.checks.role import (
    DEFAULT_HOST_PORT,
    LABELS,
    NAMESPACE_LABEL,
    Account,
    access_objects,
)
from paperclip_claude_k8s.cluster.labels import SHARED_MOUNT
from paperclip_claude_k8s.cluster.model import JsonObject

PodSecurity = Literal["restricted", "baseline", "none"]
"""The Pod Security Standard that a namespace enforces; `none`: no label is set."""
API_KEY_SECRET, API_KEY = "claude-api-key", "ANTHROPIC_API_KEY"
"""Name of the Secret with the API key, and key of its entry, which is also the Claude CLI's variable."""
SERVER = "paperclip"
"""Name and label of the Paperclip server's objects."""
_SERVER_STATE = "/var/lib/paperclip"
"""Where the server keeps its database and keys. It is not on the volume that agents can read."""
_POD_SECURITY_LABEL = "pod-security.kubernetes.io/"
_USER = 1000
"""User and group id of the server. Agents have the same by default, so that both can write to one volume."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim; by default the one that is mounted at /paperclip."""

    name: str = "agents-home"
    size: str = "10Gi"
    storage_class: str = ""
    """If empty, the claim gets the cluster's default class."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the namespace of the agents is to contain."""

    namespace: str
    account: Account
    pod_security: PodSecurity = "restricted"
    claim: Claim | None = None
    auto_claims: bool = False
    """Whether the host may create claims, for `sessionVolume` auto."""
    network_policy: bool = True
    telemetry_namespace: str = ""
    """Namespace of an OpenTelemetry collector to which agents may send metrics and traces; "": none."""


@dataclass(frozen=True, slots=True)
class Server:
    """A Paperclip server in the namespace of the agents."""

    image: str
    metrics_port: int = 0
    """Port of the server's metrics; 0 if it serves none."""
    metrics_namespace: str = ""
    """The only namespace whose Pods may connect to that port."""


def agents_objects(setup: Setup) -> tuple[JsonObject, ...]:
    """Namespace, service account, its rights, NetworkPolicy and claim, in the order to create them."""
    claims = [_claim(setup.claim, setup.namespace, "ReadWriteMany")] if setup.claim else []
    return (
        namespace_object(setup.namespace, setup.pod_security),
        _object("v1", "ServiceAccount", setup.account.name, setup.account.namespace),
        *access_objects(
            setup.namespace,
            setup.account,
            auto_claims=setup.auto_claims,
            network_policy=setup.network_policy,
            telemetry_namespace=setup.telemetry_namespace,
        ),
        *claims,
    )


def namespace_object(name: str, pod_security: PodSecurity) -> JsonObject:
    """The namespace, with the label by which policies select it: Kubernetes before 1.21 does not set it."""
    modes = ("enforce", "warn", "audit") if pod_security != "none" else ()
    security = {f"{_POD_SECURITY_LABEL}{mode}": pod_security for mode in modes}
    labels = {**LABELS, NAMESPACE_LABEL: name, **security}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def server_objects(setup: Setup, server: Server) -> tuple[JsonObject, ...]:
    """Deployment, Service, NetworkPolicy and the claim with the server's own state."""
    namespace = setup.namespace
    state = Claim(f"{SERVER}-state", storage_class=setup.claim.storage_class if setup.claim else "")
    labels = {"app": SERVER}
    deployment: JsonObject = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": _server_pod(setup, server, state)},
    }
    service: JsonObject = {"selector": labels, "ports": [{"name": "http", "port": DEFAULT_HOST_PORT}]}
    policy: JsonObject = {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress"],
        "ingress": list(_server_ingress(server)),
    }
    return (
        _claim(state, namespace, "ReadWriteOnce"),
        _object("apps/v1", "Deployment", SERVER, namespace, deployment),
        _object("v1", "Service", SERVER, namespace, service),
        _object("networking.k8s.io/v1", "NetworkPolicy", SERVER, namespace, policy),
    )


def _server_ingress(server: Server) -> Iterator[JsonObject]:
    yield {"ports": [{"protocol": "TCP", "port": DEFAULT_HOST_PORT}]}
    if server.metrics_port:
        monitoring = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: server.metrics_namespace}}}
        yield {"from": [monitoring], "ports": [{"protocol": "TCP", "port": server.metrics_port}]}


def _server_pod(setup: Setup, server: Server, state: Claim) -> JsonObject:
    api_key = {"secretKeyRef": {"name": API_KEY_SECRET, "key": API_KEY, "optional": True}}
    env: list[JsonObject] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PAPERCLIP_HOME", "value": _SERVER_STATE},
        {"name": "PAPERCLIP_API_URL", "value": f"http://{SERVER}.{setup.namespace}.svc:{DEFAULT_HOST_PORT}"},
        {"name": "HOST", "value": "0.0.0.0"},  # noqa: S104  # all addresses of the Pod
        {"name": API_KEY, "valueFrom": api_key},
    ]
    claims = [(state.name, _SERVER_STATE)]
    if setup.claim:
        claims.append((setup.claim.name, SHARED_MOUNT))
    container: JsonObject = {
        "name": SERVER,
        "image": server.image,
        "ports": [{"name": "http", "containerPort": DEFAULT_HOST_PORT}],
        "env": env,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in claims],
    }
    return {
        "serviceAccountName": setup.account.name,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name, _ in claims],
    }


def _claim(claim: Claim, namespace: str, access_mode: str) -> JsonObject:
    spec: JsonObject = {
        "accessModes": [access_mode],
        "resources": {"requests": {"storage": claim.size}},
        **({"storageClassName": claim.storage_class} if claim.storage_class else {}),
    }
    return _object("v1", "PersistentVolumeClaim", claim.name, namespace, spec)


def _object(version: str, kind: str, name: str, namespace: str, spec: JsonObject | None = None) -> JsonObject:
    metadata = {"name": name, "namespace": namespace, "labels": dict(LABELS)}
    content = {"spec": spec} if spec is not None else {}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
