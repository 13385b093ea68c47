"""The volumes of the agent's Pod and their mounts.

`run` holds the run's files (a Secret, or an emptyDir that the init container fills from its environment and
`run-secret`), `scratch` the relay's buffers, `home` the shared volume or an emptyDir. `docker` and
`docker-data` belong to the Docker daemon. The rest are Secret volumes of the home pod, under `home-…`.
"""

from paperclip_claude_k8s.cluster.model import JsonObject, SecretVolume
from paperclip_claude_k8s.plan.docker import docker_mounts, docker_volumes
from paperclip_claude_k8s.plan.identity import LABEL_CHARS
from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR, SCRATCH_DIR
from paperclip_claude_k8s.plan.run_plan import RunPlan

_HOME_SIZE = "20Gi"
"""HOME of an agent without a shared volume, with room for tools and caches."""

_RUN_SIZE = "16Mi"
"""More than enough: all files of a run fit into two Kubernetes objects."""

_GROUP_READABLE = 0o440
"""The Secret's files belong to root and the Pod's fsGroup; the agent reads them as a member of that group."""


def volumes(plan: RunPlan) -> list[JsonObject]:
    """All volumes. Every emptyDir has a size limit: a full node disk would kill other runs too."""
    # Stdout and stderr may each reach the limit.
    scratch = {"sizeLimit": str(2 * plan.config.log_limit_bytes)}
    inherited = plan.home.secret_volumes if plan.home else ()
    return [
        *_run_volumes(plan),
        {"name": "scratch", "emptyDir": scratch},
        {"name": "home", **_home_volume(plan)},
        *docker_volumes(plan.config),
        *(_secret_volume(volume) for volume in inherited),
    ]


def mounts(plan: RunPlan) -> list[JsonObject]:
    inherited = plan.home.secret_volumes if plan.home else ()
    return [
        {"name": "run", "mountPath": RUN_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR},
        {"name": "home", "mountPath": POD_HOME},
        *docker_mounts(plan.config),
        *(
            {"name": _volume_name(volume), "mountPath": volume.mount_path, "readOnly": True}
            for volume in inherited
        ),
    ]


def _run_volumes(plan: RunPlan) -> list[JsonObject]:
    """The run's files: the Secret itself, or a folder that the init container fills, and its Secret."""
    files = plan.delivery.secret
    # Files only: the same Secret holds values of variables, which must not become files.
    items = [{"key": name, "path": name} for name in sorted(files)]
    secret = {"secretName": plan.secret_name, "defaultMode": _GROUP_READABLE, "items": items}
    if not plan.by_init:
        return [{"name": "run", "secret": secret}]
    written: JsonObject = {"name": "run", "emptyDir": {"sizeLimit": _RUN_SIZE}}
    return [written, {"name": "run-secret", "secret": secret}] if files else [written]


def _home_volume(plan: RunPlan) -> JsonObject:
    claim_name = plan.home.claim_name if plan.home else ""
    if claim_name:
        return {"persistentVolumeClaim": {"claimName": claim_name}}
    return {"emptyDir": {"sizeLimit": _HOME_SIZE}}


def _volume_name(volume: SecretVolume) -> str:
    """The prefix keeps the home pod's volumes apart from ours."""
    return f"home-{volume.name}"[:LABEL_CHARS].rstrip("-")


def _secret_volume(volume: SecretVolume) -> JsonObject:
    secret: JsonObject = {"secretName": volume.secret, "optional": volume.optional}
    if volume.items:
        secret["items"] = list(volume.items)
    if volume.default_mode is not None:
        secret["defaultMode"] = volume.default_mode
    return {"name": _volume_name(volume), "secret": secret}
