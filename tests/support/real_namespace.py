"""The namespace of the real cluster in which this pytest process works.

A single process uses the namespace `paperclip`, which whoever sets up the cluster has created. Each worker of
pytest-xdist creates a namespace of its own with the same objects: the Paperclip host's Pod, its service
account with the Role that `claude-k8s rbac` prints, and a shared volume, which is a folder of this machine.
So workers do not meet each other's Jobs, quotas and labels. They still share the node.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from paperclip_claude_k8s.checks.role import Account, access_objects

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
NAMESPACE = f"paperclip-{_WORKER}" if _WORKER else "paperclip"
HOST_POD = "paperclip-0"
ACCOUNT = "paperclip"
THIS_MACHINE = "10.244.0.1"
"""Address of this machine in the network of the cluster's Pods."""
_TOKEN = "paperclip-token"  # the name of a Secret


def use_own_namespace() -> None:
    """Create the worker's namespace, and set the environment variables of its kubeconfig and its volume."""
    if not _WORKER or "KUBECONFIG_FOR_TESTS" not in os.environ:
        return
    shared = Path(os.environ["SHARED_VOLUME_FOR_TESTS"])
    volume = shared.with_name(NAMESPACE)
    volume.mkdir(exist_ok=True)
    volume.chmod(0o777)
    objects = {"apiVersion": "v1", "kind": "List", "items": _objects(volume)}
    _kubectl("apply", "-f", "-", stdin=json.dumps(objects))
    leftovers = ("jobs,leases,resourcequotas,limitranges", "--all", "--cascade=foreground", "--timeout=2m")
    _kubectl("--namespace", NAMESPACE, "delete", *leftovers)
    kubeconfig = shared.with_name(f"{NAMESPACE}.kubeconfig")
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(_token())))
    os.environ["KUBECONFIG_FOR_TESTS"] = str(kubeconfig)
    os.environ["SHARED_VOLUME_FOR_TESTS"] = str(volume)


def _objects(volume: Path) -> list[dict[str, Any]]:
    claim = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": NAMESPACE},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "",
                "hostPath": {"path": str(volume)},
                "claimRef": {"namespace": NAMESPACE, "name": "paperclip-data"},
            },
        },
        _object(
            "PersistentVolumeClaim",
            "paperclip-data",
            spec={**claim, "resources": {"requests": {"storage": "1Gi"}}},
        ),
        _object("Secret", "paperclip-secrets", stringData={"ANTHROPIC_API_KEY": "not-a-real-key"}),
        _object("ServiceAccount", ACCOUNT),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": _TOKEN,
                "namespace": NAMESPACE,
                "annotations": {"kubernetes.io/service-account.name": ACCOUNT},
            },
        },
        *access_objects(NAMESPACE, Account(NAMESPACE, ACCOUNT)),
        _object("Pod", HOST_POD, spec=_host_pod_spec()),
    ]


def _object(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **more}


def _host_pod_spec() -> dict[str, Any]:
    key = {"secretKeyRef": {"name": "paperclip-secrets", "key": "ANTHROPIC_API_KEY"}}
    container = {
        "name": "paperclip",
        "image": "local/agent:1",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "while true; do sleep 3600; done"],
        "env": [
            {"name": "PAPERCLIP_API_URL", "value": f"http://{THIS_MACHINE}:3100"},
            {"name": "ANTHROPIC_API_KEY", "valueFrom": key},
            {"name": "DEPLOY_ENV", "value": "test"},
        ],
        "volumeMounts": [
            {"name": "data", "mountPath": "/paperclip"},
            {"name": "provider", "mountPath": "/etc/provider", "readOnly": True},
        ],
    }
    return {
        "serviceAccountName": ACCOUNT,
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}},
            {"name": "provider", "secret": {"secretName": "paperclip-secrets"}},
        ],
    }


def _token() -> str:
    """The service account's token, which a controller writes into the Secret."""
    for _ in range(240):
        found = json.loads(_kubectl("--namespace", NAMESPACE, "get", "secret", _TOKEN, "-o", "json"))
        if token := found.get("data", {}).get("token"):
            return base64.b64decode(token).decode()
        time.sleep(0.5)  # noqa: TID251  # no event loop runs yet
    raise TimeoutError(f"Secret {NAMESPACE}/{_TOKEN} got no token")


def _kubeconfig(token: str) -> dict[str, Any]:
    admin = yaml.safe_load(Path(os.environ["ADMIN_KUBECONFIG_FOR_TESTS"]).read_text())
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        "current-context": "x",
    }


def _kubectl(*arguments: str, stdin: str = "") -> str:
    command = ["kubectl", "--kubeconfig", os.environ["ADMIN_KUBECONFIG_FOR_TESTS"], *arguments]
    return subprocess.run(command, input=stdin, text=True, check=True, capture_output=True).stdout
