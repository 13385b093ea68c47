"""Folders in the agent's Pod, and the translation of host paths on the shared volume to Pod paths."""

import posixpath
from collections.abc import Iterable
from functools import lru_cache

from paperclip_claude_k8s.base.path_lengths import path_is_too_long
from paperclip_claude_k8s.cluster.labels import SHARED_MOUNT

POD_HOME = SHARED_MOUNT
"""Where the shared volume is mounted in the agent's Pod; also the agent's HOME."""

RUN_DIR = "/var/run/paperclip/run"
"""Folder with the run's files: prompt.txt, mcp.json and others."""

SESSION_DIR = "/var/lib/paperclip/session"
"""Where the agent's folder of the session volume is mounted, unless sessions are on the shared volume."""

CONFIG_DIR = f"{SESSION_DIR}/claude"
"""CLAUDE_CONFIG_DIR on the session volume: transcripts, settings and credentials of the Claude CLI."""

CACHE_DIR = f"{SESSION_DIR}/cache"
"""XDG_CACHE_HOME on the session volume."""

WORKSPACE_DIR = "/workspace"
"""The mount of a cloned workspace. The clone is in a subfolder with the name of the repository, because git
refuses to work in folders of other users: the agent owns the subfolder, but not the mount."""

COMPANY_FOLDERS = "companies"
"""Folder on the shared volume with one folder for each company, if the policy separates companies."""

SCRATCH_DIR = "/var/run/paperclip/scratch"
"""The relay's folder, where it buffers the agent's stdout and stderr."""


MAX_LISTED_PATHS = 1000
"""Largest number of paths in one list of a context or a variable that are translated: agents have a few
workspaces, and all runs wait meanwhile."""


def to_pod_path(path: str, shared_dir: str) -> str | None:
    """The path of the same file in the Pod, or None if it is not on the shared volume, or too long.

    `shared_dir` is where this process has the volume mounted. `..` is resolved first, so that it cannot lead
    out of the volume.
    """
    if not path.startswith("/") or not shared_dir.startswith("/") or "\0" in path or path_is_too_long(path):
        return None
    here, shared = _normal(path), _normal_volume(shared_dir)
    if here == shared:
        return POD_HOME
    prefix = shared.rstrip("/") + "/"
    return f"{POD_HOME}/{here.removeprefix(prefix)}" if here.startswith(prefix) else None


def is_in_any(path: str, folders: Iterable[str]) -> bool:
    """Whether the path is one of these folders, or in one of them. Nothing is resolved or normalized."""
    return any(f"{path}/".startswith(f"{folder}/") for folder in folders)


@lru_cache(maxsize=8)
def _normal_volume(shared_dir: str) -> str:
    """As `_normal`; kept, because a context may name many paths on one volume."""
    return _normal(shared_dir)


def _normal(path: str) -> str:
    """The normalized path. Two leading slashes, which `posixpath.normpath` keeps, become one."""
    return "/" + posixpath.normpath(path).lstrip("/")
