"""The volumes of the agent's Pod and their mounts.

`run` holds the run's files: it is a Secret, or an emptyDir that the init container fills from its environment
and `run-secret`. `scratch` holds the relay's buffers. `home` is the shared volume or an emptyDir. `docker`
and `docker-data` belong to the Docker daemon. All others, named `home-…`, are Secret volumes of the home pod.
"""

from paperclip_claude_k8s.cluster.model import JsonObject, SecretVolume
from paperclip_claude_k8s.plan.docker import docker_mounts, docker_volumes
from paperclip_claude_k8s.plan.identity import LABEL_CHARS
from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR, SCRATCH_DIR
from paperclip_claude_k8s.plan.run_plan import RunPlan

_HOME_SIZE = "20Gi"
"""Size limit of HOME without a shared volume, with room for tools and caches."""

_RUN_SIZE = "16Mi"
"""Size limit of the run's files; more than enough, because they fit into two Kubernetes objects."""

_GROUP_READABLE = 0o440
"""Mode of the Secret's files, which belong to root and the Pod's fsGroup; the agent is in that group."""


def volumes(plan: RunPlan) -> list[JsonObject]:
    """All volumes. Every emptyDir has a size limit, because a full node disk would end other runs too."""
    # Twice the output limit, because the agent is stopped a while after it; and the copies of shared files.
    copies = sum(file.size for file in plan.delivery.shared)
    scratch = {"sizeLimit": str(2 * plan.config.log_limit_bytes + copies)}
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
    """The volume of the run's files: the Secret, or an emptyDir and the Secret that is copied into it."""
    files = plan.delivery.secret
    # Only the files: the Secret also holds values of variables, which must not become files.
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
    """The prefix keeps the home pod's volumes apart from the adapter's."""
    return f"home-{volume.name}"[:LABEL_CHARS].rstrip("-")


def _secret_volume(volume: SecretVolume) -> JsonObject:
    secret: JsonObject = {"secretName": volume.secret, "optional": volume.optional}
    if volume.items:
        secret["items"] = list(volume.items)
    if volume.default_mode is not None:
        secret["defaultMode"] = volume.default_mode
    return {"name": _volume_name(volume), "secret": secret}
