"""The volumes of the agent's Pod and their mounts.

`run` holds the run's files: it is a Secret, or an emptyDir that the init container fills from its environment
and `run-secret`. `scratch` holds the relay's buffers. `home` is the shared volume or an emptyDir. `session`
is the session volume. `workspace`, `git-sync` and `git-secret` belong to a cloned workspace,
`workspace`, `upload` and `upload-sync` to an uploaded one, `skills` and `skill-parts` to skills that do not
fit into `run`. `docker` and `docker-data` belong to the Docker daemon. All others, named `home-…`, are
volumes of the home pod.
"""

import posixpath
from collections.abc import Sequence

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import HomeMount, JsonObject
from paperclip_claude_k8s.plan.bundle import SECRET_BUNDLE, secret_keys
from paperclip_claude_k8s.plan.docker import docker_mounts, docker_volumes
from paperclip_claude_k8s.plan.git_containers import agent_mounts, git_volumes
from paperclip_claude_k8s.plan.identity import LABEL_CHARS
from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR, SCRATCH_DIR, SESSION_DIR, is_in_any
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.session_volume import HOME_VOLUME, SESSION_VOLUME
from paperclip_claude_k8s.plan.skill_containers import skill_mounts, skill_volumes
from paperclip_claude_k8s.plan.upload_containers import upload_mounts, upload_volumes

_HOME_SIZE = "20Gi"
"""Size limit of an emptyDir for HOME or for the sessions; HOME needs room for tools and caches."""

_RUN_SIZE = "16Mi"
"""Size limit of the run's files; more than enough, because they fit into two Kubernetes objects."""

_GROUP_READABLE = 0o440
"""Mode of the Secret's files. They belong to root and to the Pod's fsGroup, which is a group of the agent."""
_READABLE = 0o444
"""Mode if the cluster chooses the agent's groups, because there may be no fsGroup then. Nobody else gains
access: only the agent mounts the files."""


def volumes(plan: RunPlan) -> list[JsonObject]:
    """All volumes. Every emptyDir has a size limit, because a full node disk would end other runs too."""
    # Above the output limit, because the agent can exceed that until the relay has stopped it. The copies of
    # shared files are in the same volume.
    copies = sum(file.size for file in plan.delivery.shared)
    scratch = {"sizeLimit": str(2 * plan.config.log_limit_bytes + 2 * relay.ABOVE_LIMIT + copies)}
    return [
        *_run_volumes(plan),
        {"name": "scratch", "emptyDir": scratch},
        {"name": HOME_VOLUME, **_home_volume(plan)},
        *_session_volumes(plan),
        *docker_volumes(plan.config),
        *git_volumes(plan),
        *upload_volumes(plan),
        *skill_volumes(plan),
        *_inherited_volumes(plan).values(),
    ]


def mounts(plan: RunPlan) -> list[JsonObject]:
    """All mounts of the agent's container."""
    hidden = set(hidden_mounts(plan))
    inherited = _inherited_volumes(plan)
    from_home_pod = [mount for mount in _mounts_of_home_pod(plan) if mount.path not in hidden]
    shared = [_mount("home", mount) for mount in from_home_pod if _is_shared(mount)]
    if not any(mount["mountPath"] == POD_HOME for mount in shared):
        shared.insert(0, {"name": "home", "mountPath": POD_HOME})
    if plan.company_folder:  # then the agent gets nothing else of the shared volume
        home = next(mount for mount in shared if mount["mountPath"] == POD_HOME)
        shared = [{**home, "subPath": posixpath.join(str(home.get("subPath", "")), plan.company_folder)}]
    others = [mount for mount in from_home_pod if not _is_shared(mount)]
    return [
        *_own_mounts(plan),
        *shared,
        *(_mount(str(inherited[_name_of(mount)]["name"]), mount) for mount in others),
    ]


def mounts_at_home(plan: RunPlan) -> list[JsonObject]:
    """The mount of the shared volume at HOME; empty without such a volume."""
    if plan.home is None or not plan.home.claim_name:
        return []
    return [mount for mount in mounts(plan) if mount["mountPath"] == POD_HOME]


def hidden_mounts(plan: RunPlan) -> tuple[str, ...]:
    """Paths of the home pod's mounts that the agent does not get: the adapter uses the same folders."""
    own = [str(mount["mountPath"]) for mount in _own_mounts(plan)]
    paths = [mount.path for mount in _mounts_of_home_pod(plan)]
    return tuple(path for path in paths if is_in_any(path, own))


def _own_mounts(plan: RunPlan) -> list[JsonObject]:
    return [
        {"name": "run", "mountPath": RUN_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR},
        *_session_mounts(plan),
        *docker_mounts(plan.config),
        *agent_mounts(plan),
        *upload_mounts(plan),
        *skill_mounts(plan),
    ]


def _mounts_of_home_pod(plan: RunPlan) -> Sequence[HomeMount]:
    return plan.home.mounts if plan.home else ()


def _is_shared(mount: HomeMount) -> bool:
    """Whether the mount is of the shared volume's claim; the home pod's other claims are not inherited."""
    return "persistentVolumeClaim" in mount.volume


def _mount(name: str, mount: HomeMount) -> JsonObject:
    entry: JsonObject = {"name": name, "mountPath": mount.path}
    if mount.sub_path:
        entry["subPath"] = mount.sub_path
    return {**entry, "readOnly": True} if mount.read_only else entry


def _name_of(mount: HomeMount) -> str:
    return str(mount.volume.get("name"))


def _inherited_volumes(plan: RunPlan) -> dict[str, JsonObject]:
    """The volumes of the home pod that the agent gets besides the shared one, by their name in the home pod.

    The prefix `home-` keeps the names in the agent's Pod apart from those of the adapter's own volumes.
    """
    hidden = set(hidden_mounts(plan))
    by_name = {
        _name_of(mount): mount.volume
        for mount in _mounts_of_home_pod(plan)
        if mount.path not in hidden and not _is_shared(mount)
    }
    renamed: dict[str, JsonObject] = {}
    for number, (name, volume) in enumerate(by_name.items()):
        short = f"home-{name}"
        unique = short if len(short) <= LABEL_CHARS else f"home-{number}-{name}"[:LABEL_CHARS].rstrip("-")
        renamed[name] = {**volume, "name": unique}
    return renamed


def _run_volumes(plan: RunPlan) -> list[JsonObject]:
    """The volume of the run's files: the Secret, or an emptyDir and the Secret that is copied into it."""
    files = plan.delivery.secret
    # Only the files: the Secret also holds values of variables, which must not become files.
    items: list[JsonObject] = [{"key": name, "path": name} for name in sorted(files)]
    mode = _READABLE if plan.config.run_as_user is None else _GROUP_READABLE
    for key, path in secret_keys(plan.packed.skill_files).items():
        # whoever may read the file may also execute it
        execute = (mode >> 2) & 0o111 if plan.packed.skill_files[path].executable else 0
        relative = posixpath.relpath(f"{SECRET_BUNDLE}/{path}", RUN_DIR)
        items.append({"key": key, "path": relative, "mode": mode | execute})
    secret = {"secretName": plan.secret_name, "defaultMode": mode, "items": items}
    if not plan.by_init:
        return [{"name": "run", "secret": secret}]
    written: JsonObject = {"name": "run", "emptyDir": {"sizeLimit": _RUN_SIZE}}
    return [written, {"name": "run-secret", "secret": secret}] if files else [written]


def _session_volumes(plan: RunPlan) -> list[JsonObject]:
    """The volume of the sessions, unless they are in HOME: the claim, or an emptyDir if they are not kept."""
    volume = plan.session_volume
    if not volume.separate:
        return []
    if not volume.claim_name:
        return [{"name": SESSION_VOLUME, "emptyDir": {"sizeLimit": _HOME_SIZE}}]
    return [{"name": SESSION_VOLUME, "persistentVolumeClaim": {"claimName": volume.claim_name}}]


def _session_mounts(plan: RunPlan) -> list[JsonObject]:
    """The agent's own folder of the session volume. The kubelet creates it if it does not exist."""
    volume = plan.session_volume
    if not volume.separate:
        return []
    part = {"subPath": volume.session_folder} if volume.claim_name else {}
    return [{"name": SESSION_VOLUME, "mountPath": SESSION_DIR, **part}]


def _home_volume(plan: RunPlan) -> JsonObject:
    claim_name = plan.home.claim_name if plan.home else ""
    if claim_name:
        return {"persistentVolumeClaim": {"claimName": claim_name}}
    return {"emptyDir": {"sizeLimit": _HOME_SIZE}}
