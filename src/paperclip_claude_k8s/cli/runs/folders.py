"""Where this user's runs are kept."""

from collections.abc import Mapping
from pathlib import Path


def state_folder(env: Mapping[str, str]) -> Path:
    """`$CLAUDE_K8S_STATE_DIR`, else `~/.local/state/claude-k8s`."""
    named = env.get("CLAUDE_K8S_STATE_DIR", "").strip()
    folder = Path(named) if named else Path(env.get("HOME") or "/", ".local", "state", "claude-k8s")
    return folder.expanduser().absolute()


def devcluster_folder(env: Mapping[str, str]) -> Path:
    """Where the development cluster lives that `devcluster up` starts."""
    return state_folder(env) / "devcluster"
