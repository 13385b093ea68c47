"""`enableDocker`: a Docker daemon beside the agent, as a native sidecar (Kubernetes 1.29 or newer).

The agent reaches it through a socket in an emptyDir that both containers mount. Both also mount the volume of
HOME at the same path, so that a path below HOME in `docker run -v` means the same file for agent and daemon.
The daemon must be privileged.
"""

from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.paths import POD_HOME

_CONTAINER = "docker"
SOCKET_DIR = "/var/run/paperclip/docker"
SOCKET = f"unix://{SOCKET_DIR}/docker.sock"
_DATA_DIR = "/var/lib/docker"
_DATA_SIZE = "50Gi"
"""For images and layers of one run; builds of large images have taken 20 GiB."""
_MAX_FAILED_PROBES = 60
"""One probe per second: the daemon needs a few seconds to start, and more on a loaded node."""


def sidecars(config: AdapterConfig) -> list[JsonObject]:
    """The daemon's container, if enabled. Its startup probe has to succeed before the agent starts."""
    if not config.enable_docker:
        return []
    probe = {"exec": {"command": ["docker", "--host", SOCKET, "version"]}}
    security = {"privileged": True, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
    container: JsonObject = {
        "name": _CONTAINER,
        "image": config.docker_image,
        "imagePullPolicy": config.image_pull_policy,
        "restartPolicy": "Always",
        # --group: who may use the socket. It is the agent's group if `runAsUser` is set (`manifest.py`).
        "args": ["dockerd", f"--host={SOCKET}", f"--group={config.run_as_user or 1000}"],
        "env": [{"name": "DOCKER_TLS_CERTDIR", "value": ""}],
        "startupProbe": {
            **probe,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": _MAX_FAILED_PROBES,
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": config.cpu_limit, "memory": config.memory_limit},
        },
        "securityContext": {**security, "allowPrivilegeEscalation": True},
        "volumeMounts": [
            {"name": "docker", "mountPath": SOCKET_DIR},
            {"name": "docker-data", "mountPath": _DATA_DIR},
            {"name": "home", "mountPath": POD_HOME},
        ],
    }
    return [container]


def docker_volumes(config: AdapterConfig) -> list[JsonObject]:
    if not config.enable_docker:
        return []
    return [
        {"name": "docker", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "docker-data", "emptyDir": {"sizeLimit": _DATA_SIZE}},
    ]


def docker_mounts(config: AdapterConfig) -> list[JsonObject]:
    return [{"name": "docker", "mountPath": SOCKET_DIR}] if config.enable_docker else []


def docker_env(config: AdapterConfig) -> dict[str, str]:
    """DOCKER_HOST for the agent, unless the config sets it."""
    return {"DOCKER_HOST": SOCKET} if config.enable_docker and "DOCKER_HOST" not in config.env else {}
