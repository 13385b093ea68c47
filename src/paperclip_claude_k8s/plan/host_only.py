"""Environment variables whose values are valid only on the machine of the host.

Temporary folders, sockets and loopback addresses of the host do not exist in a Pod. Paths on the shared
volume are translated, loopback addresses are rebased, and the rest is dropped. Variables by which a run
describes itself are not inherited (`inherited.py`): in the home pod's environment they describe another run.
"""

import re

from paperclip_claude_k8s.base.json_readers import get_object
from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.plan.addresses import rebase
from paperclip_claude_k8s.plan.paths import MAX_LISTED_PATHS, to_pod_path

_PATH_VARIABLE = re.compile(r"TMPDIR|TEMP|TMP|PAPERCLIP_TMPDIR|PAPERCLIP_(\w*_)?SCRATCH_DIR|GH_CONFIG_DIR")
_HOST_TOOL_PREFIXES = ("PAPERCLIP_GITHUB_", "PAPERCLIP_RUNNER_")
_PATH_LIST_VARIABLE = "PAPERCLIP_GIT_METADATA_ROOTS"
"""Paths, separated by colons."""
_TEMP_DIRS_OF_EVERY_POD = frozenset({"/tmp", "/var/tmp"})  # noqa: S108  # compared, not used

SERVER_SECRETS = frozenset(
    {"BETTER_AUTH_SECRET", "DATABASE_URL", "PAPERCLIP_AGENT_JWT_SECRET", "PAPERCLIP_SECRETS_MASTER_KEY"}
)
"""The host's own secrets, with which an agent could sign the token of any agent or read the database."""

RUN_VARIABLE = re.compile(
    r"AGENT_HOME$|PAPERCLIP_(AGENT_ID|COMPANY_ID|RUN_ID|TASK_ID|LINKED_ISSUE_IDS)$"
    r"|PAPERCLIP_(ISSUE_|WAKE_|APPROVAL_|WORKSPACES?_|RUNTIME_SERVICE|RUNTIME_TOOLS_|RUNTIME_PRIMARY_URL)"
)
"""Matches the beginning of a variable by which a run describes itself."""


def may_be_missing(entry: JsonObject) -> bool:
    """Whether an entry of `env` may get no value, so that a variable from an `envFrom` may replace it."""
    sources = get_object(entry, "valueFrom")
    return any(get_object(sources, kind).get("optional") for kind in sources)


def pod_value(name: str, value: str, *, shared_dir: str | None, api_url: str) -> str | None:
    """The variable's value inside a Pod, or None if it has no meaning there.

    `shared_dir` is where this process has the shared volume mounted; None if the Pod has no shared volume.
    """
    if _PATH_VARIABLE.fullmatch(name):
        return _pod_path(value, shared_dir)
    if name == _PATH_LIST_VARIABLE:
        given = value.split(":", MAX_LISTED_PATHS)
        roots = [_pod_path(root, shared_dir) for root in given] if len(given) <= MAX_LISTED_PATHS else [None]
        return ":".join(root for root in roots if root) if all(roots) else None
    if not name.startswith(_HOST_TOOL_PREFIXES):
        return value
    if value.startswith("/"):
        return _pod_path(value, shared_dir)
    if "://" in value:
        return rebase(value, api_url)
    return value if name.startswith("PAPERCLIP_GITHUB_") else None


def _pod_path(value: str, shared_dir: str | None) -> str | None:
    if value.rstrip("/") in _TEMP_DIRS_OF_EVERY_POD:
        return value
    return to_pod_path(value, shared_dir) if shared_dir else None
