"""The containers that unpack an uploaded folder and return its changes; their volumes; the agent's mounts.

The agent's container mounts the uploaded folder, and read-only the folder with the pipe by which the
returning container notices that the agent has ended. The returning container mounts the uploaded folder
read-only, and prints the changes to its log.
"""

from collections.abc import Mapping, Sequence

from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.plan.delivery import escaped, script_env
from paperclip_claude_k8s.plan.paths import SCRATCH_DIR, WORKSPACE_DIR
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.upload_parts import PART_KEY, part_name
from paperclip_claude_k8s.relay import upload_scripts

SYNC_DIR = "/var/run/paperclip/upload-sync"
PARTS_DIR = "/var/run/paperclip/upload"
"""Where a container that unpacks parts (`upload_parts.py`) mounts them."""
_WORKSPACE_SIZE = "20Gi"
_SYNC_SIZE = "64Mi"
_KEEP_SECONDS_OF_RETAINED_JOB = 600
"""For how many seconds changes wait for a host to read them if the Job is kept for its log (`retainJobs`)."""
_KEEP_SECONDS = 24 * 3600
"""The same if the Job is not kept for its log."""
_RETURN_RESOURCES: JsonObject = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


def upload_pipe(plan: RunPlan) -> str:
    """The pipe that the relay holds open; "" if nothing is uploaded."""
    return f"{SYNC_DIR}/{upload_scripts.PIPE}" if plan.workspace.folder else ""


def upload_volumes(plan: RunPlan) -> list[JsonObject]:
    if not plan.workspace.folder:
        return []
    names = [part_name(plan.job_name, number) for number in range(plan.workspace.upload.parts)]
    return [
        {"name": "workspace", "emptyDir": {"sizeLimit": _WORKSPACE_SIZE}},
        {"name": "upload-sync", "emptyDir": {"sizeLimit": _SYNC_SIZE}},
        parts_volume(plan, "upload", names),
    ]


def parts_volume(plan: RunPlan, name: str, secrets: Sequence[str]) -> JsonObject:
    """A volume with one file for each of these Secrets, in their order."""
    sources: list[JsonObject] = [
        {"secret": {"name": secret, "items": [{"key": PART_KEY, "path": f"{number:03d}"}]}}
        for number, secret in enumerate(secrets)
    ]
    # without a fixed user there is no fsGroup by which the container could read its files
    mode = 0o444 if plan.config.run_as_user is None else 0o440
    return {"name": name, "projected": {"sources": sources, "defaultMode": mode}}


def upload_mounts(plan: RunPlan) -> list[JsonObject]:
    """What the agent's container mounts."""
    if not plan.workspace.folder:
        return []
    return [
        {"name": "workspace", "mountPath": WORKSPACE_DIR},
        {"name": "upload-sync", "mountPath": SYNC_DIR, "readOnly": True},
    ]


def unpack_container(plan: RunPlan, common: Mapping[str, object]) -> list[JsonObject]:
    """The init container that unpacks the folder, in a list; if nothing is uploaded, the list is empty.

    `common`: fields of all containers of the Pod.
    """
    if not plan.workspace.folder:
        return []
    variables = {"PARTS": PARTS_DIR, "SHA256": plan.workspace.upload.sha256}
    mounts: list[JsonObject] = [
        {"name": "workspace", "mountPath": WORKSPACE_DIR},
        {"name": "upload-sync", "mountPath": SYNC_DIR},
        {"name": "upload", "mountPath": PARTS_DIR, "readOnly": True},
    ]
    return [_container(plan, upload_scripts.UNPACK_CONTAINER, common, variables, mounts)]


def return_container(plan: RunPlan, common: Mapping[str, object]) -> list[JsonObject]:
    """The container that prints the changes to its log, in a list; if nothing is uploaded, it is empty."""
    if not plan.workspace.folder:
        return []
    config = plan.config
    variables = {
        "LIMIT": str(config.upload_limit_bytes),
        "ENTRIES": str(UPLOAD_LIMITS.entries),
        "PACKED": str(UPLOAD_LIMITS.packed_bytes),
        "IGNORE": "" if config.upload_ignored else "1",
        "EXCLUDES": "\n".join(config.upload_excludes),
        "ENDED": f"{SCRATCH_DIR}/ended",
        "KEEP_SEC": str(_KEEP_SECONDS_OF_RETAINED_JOB if config.retain_jobs else _KEEP_SECONDS),
    }
    mounts: list[JsonObject] = [
        {"name": "workspace", "mountPath": WORKSPACE_DIR, "readOnly": True},
        {"name": "upload-sync", "mountPath": SYNC_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR, "readOnly": True},
    ]
    fields = {**common, "resources": _RETURN_RESOURCES}
    return [_container(plan, upload_scripts.RETURN_CONTAINER, fields, variables, mounts)]


def _container(
    plan: RunPlan,
    name: str,
    common: Mapping[str, object],
    variables: Mapping[str, str],
    mounts: list[JsonObject],
) -> JsonObject:
    shared_variables = {"DIR": plan.workspace.workdir, "SYNC": SYNC_DIR}
    return upload_script_container(name, common, {**shared_variables, **variables}, mounts)


def upload_script_container(
    name: str, common: Mapping[str, object], variables: Mapping[str, str], mounts: list[JsonObject]
) -> JsonObject:
    """A container that runs the script with the container's name."""
    env = {"MESSAGE": common["terminationMessagePath"], **variables}
    return {
        **common,
        "name": name,
        "command": [escaped(part) for part in upload_scripts.command(name)],
        "env": script_env(upload_scripts.PREFIX, env),
        "volumeMounts": mounts,
    }
