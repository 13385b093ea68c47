"""The containers that clone and push a workspace, their volumes, and the agent's mounts and variables.

The agent's container mounts the clone, and the folder with the pipe by which the pushing container notices
that the agent has ended. It does not mount the Secret with the credentials. The pushing container mounts the
clone read-only.
"""

import hashlib
import posixpath
from collections.abc import Mapping

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.host.workspace_settings import BRANCH_WORDS
from paperclip_claude_k8s.plan.delivery import escaped, script_env
from paperclip_claude_k8s.plan.git_source import GitSource
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.paths import POD_HOME, SCRATCH_DIR, WORKSPACE_DIR
from paperclip_claude_k8s.plan.run_plan import SECRET_ENV_PREFIX, RunPlan
from paperclip_claude_k8s.plan.session_volume import SESSION_VOLUME, agent_folder
from paperclip_claude_k8s.plan.upload_containers import upload_pipe
from paperclip_claude_k8s.relay import git

SYNC_DIR = "/var/run/paperclip/git"
_SECRET_DIR = "/var/run/paperclip/git-secret"  # noqa: S105  # a path, not a password
_WORKSPACE_SIZE = "20Gi"
_SYNC_SIZE = "1Mi"
_DAY_SECONDS = 86_400
_CACHE_DIR = "/var/cache/paperclip/git"
"""Where the cloning container mounts the agent's folder `git` of the session volume. No agent mounts it."""
_SHARED_CACHE = f"{POD_HOME}/git-objects"
"""Folder on the shared volume with one folder per agent. Agents can write there."""
_PROXY_VARIABLES = tuple(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (proxy, proxy.lower())
)
"""Variables of the agent's environment that the cloning and the pushing container get too."""
_PUSH_RESOURCES: JsonObject = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


def git_volumes(plan: RunPlan) -> list[JsonObject]:
    if plan.workspace.source is None:
        return []
    volumes: list[JsonObject] = [
        {"name": "workspace", "emptyDir": {"sizeLimit": _WORKSPACE_SIZE}},
        {"name": "git-sync", "emptyDir": {"sizeLimit": _SYNC_SIZE}},
    ]
    if plan.config.git_secret:
        # without a fixed user there is no fsGroup by which the container could read its files
        mode = 0o444 if plan.config.run_as_user is None else 0o440
        secret = {"secretName": plan.config.git_secret, "defaultMode": mode}
        volumes.append({"name": "git-secret", "secret": secret})
    return volumes


def agent_mounts(plan: RunPlan) -> list[JsonObject]:
    if plan.workspace.source is None:
        return []
    return [
        {"name": "workspace", "mountPath": WORKSPACE_DIR},
        {"name": "git-sync", "mountPath": SYNC_DIR, "readOnly": True},
    ]


def agent_variables(plan: RunPlan) -> dict[str, str]:
    """Variables that tell the relay which pipe to hold open, and whether to report an empty workspace."""
    pipe = f"{SYNC_DIR}/{git.PIPE}" if plan.workspace.source is not None else upload_pipe(plan)
    return {relay.ALIVE: pipe, relay.EXPECT: "1" if plan.workspace.is_unseen else ""}


def clone_container(plan: RunPlan, common: Mapping[str, object], home: list[JsonObject]) -> list[JsonObject]:
    """The init container that clones the repository, in a list; without a repository the list is empty.

    `common`: fields of all containers of the Pod. `home`: the mount of the shared volume; empty if there is
    none. Git objects are kept for the next clone on the session volume, else on the shared volume.
    """
    source = plan.workspace.source
    if source is None:
        return []
    cache, cache_mounts = _cache(plan, home)
    variables = {
        "REFS": " ".join(source.refs),
        "COMMIT": source.commit,
        "BRANCH": source.branch,
        "DEPTH": str(plan.config.git_depth),
        "SUBMODULES": "1" if plan.config.git_submodules else "",
        "LFS": "1" if plan.config.git_lfs else "",
        "AUTHOR": plan.agent_name or plan.identity.agent,
        "EMAIL": f"{plan.identity.agent.lower()}@agents.invalid",
        "OPTIONAL": "1" if plan.workspace.may_fail else "",
        "SEC": str(clone_seconds(plan.config.start_timeout_sec)),
        "CACHE": cache,
        "CACHE_KEY": hashlib.sha256(source.url.encode()).hexdigest()[:32],
    }
    mounts: list[JsonObject] = [
        {"name": "workspace", "mountPath": WORKSPACE_DIR},
        {"name": "git-sync", "mountPath": SYNC_DIR},
        *cache_mounts,
    ]
    return [_container(plan, source, git.CLONE_CONTAINER, common, variables, mounts)]


def clone_seconds(start_timeout: float) -> int:
    """How many seconds of `startTimeoutSec` the clone may take; the rest is for the agent's container.

    Reading the objects of earlier clones may take a third of these seconds, and storing the new ones whatever
    remains. The clone is stopped after these seconds only if the agent can start without it.
    """
    return max(1, int(min(start_timeout, _DAY_SECONDS) * 2 / 3))


def push_container(plan: RunPlan, common: Mapping[str, object]) -> list[JsonObject]:
    """The container that pushes the agent's branch and reports what it does not push, or an empty list."""
    source = plan.workspace.source
    if source is None:
        return []
    variables = {
        "PUSH": push_target(plan.config.git_push or "", plan.identity),
        "LFS": "1" if plan.config.git_lfs else "",
        "ENDED": f"{SCRATCH_DIR}/ended",
    }
    mounts: list[JsonObject] = [
        {"name": "workspace", "mountPath": WORKSPACE_DIR, "readOnly": True},
        {"name": "git-sync", "mountPath": SYNC_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR, "readOnly": True},
    ]
    fields = {**common, "resources": _PUSH_RESOURCES}
    return [_container(plan, source, git.PUSH_CONTAINER, fields, variables, mounts)]


def push_target(template: str, identity: Identity) -> str:
    """The branch to push to. `{branch}` is not replaced here: the agent's branch is known only in the Pod."""
    values = {"agent": identity.agent, "run": identity.run, "task": identity.task}
    target = template
    for word in BRANCH_WORDS:
        if word in values:
            target = target.replace(f"{{{word}}}", values[word] or "none")
    return target


def _container(  # noqa: PLR0913, PLR0917  # what differs between the two containers
    plan: RunPlan,
    source: GitSource,
    name: str,
    common: Mapping[str, object],
    variables: Mapping[str, str],
    mounts: list[JsonObject],
) -> JsonObject:
    secret = plan.config.git_secret
    shared_variables = {
        "URL": source.url,
        "DIR": plan.workspace.workdir,
        "SYNC": SYNC_DIR,
        "SECRET": _SECRET_DIR if secret else "",
        "SCHEME": source.scheme,
        "HOST": source.host,
        "PROTOCOLS": ":".join(dict.fromkeys((source.scheme, "https", "ssh"))),
        "NONCE": plan.nonce,
        "MESSAGE": common["terminationMessagePath"],
    }
    env = [*_proxy_env(plan), *script_env(git.PREFIX, {**shared_variables, **variables})]
    if secret:
        mounts = [*mounts, {"name": "git-secret", "mountPath": _SECRET_DIR, "readOnly": True}]
    file = "git_clone.sh" if name == git.CLONE_CONTAINER else "git_push.sh"
    return {
        **common,
        "name": name,
        "image": plan.config.git_image or plan.image,
        "command": [escaped(part) for part in git.command(file)],
        "env": env,
        "volumeMounts": mounts,
    }


def _proxy_env(plan: RunPlan) -> list[JsonObject]:
    """The agent's proxy variables, by value or by reference to the run Secret."""
    environment = plan.environment
    plain: list[JsonObject] = [
        {"name": name, "value": escaped(environment.literals[name])}
        for name in _PROXY_VARIABLES
        if name in environment.literals
    ]
    secret: list[JsonObject] = [
        {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": plan.secret_name, "key": SECRET_ENV_PREFIX + name}},
        }
        for name in _PROXY_VARIABLES
        if name in plan.environment.secrets
    ]
    return [*plain, *secret]


def _cache(plan: RunPlan, home: list[JsonObject]) -> tuple[str, list[JsonObject]]:
    """The folder in which git objects are kept, and the mount for it; "" and no mount without a volume."""
    volume = plan.session_volume
    if volume.claim_name:
        part = posixpath.join(volume.agent_folder, "git")
        return _CACHE_DIR, [{"name": SESSION_VOLUME, "mountPath": _CACHE_DIR, "subPath": part}]
    return (posixpath.join(_SHARED_CACHE, agent_folder(plan.identity)), home) if home else ("", [])
