"""Places in the agent's Pod, and what a path of the host is called there."""

import posixpath

POD_HOME = "/paperclip"
"""Where the shared volume is mounted in the agent's Pod; also its HOME."""

RUN_DIR = "/var/run/paperclip/run"
"""Where the run Secret's files are: prompt.txt and what else the plan put into it."""


SCRATCH_DIR = "/var/run/paperclip/scratch"
"""The relay's own folder: the agent's stdout and stderr lie here while they are copied."""


def to_pod_path(path: str, shared_dir: str) -> str | None:
    """The same file as the Pod sees it, or None where it does not lie on the shared volume.

    `shared_dir` is where that volume is mounted here. `..` is resolved first, so no path escapes by it.
    """
    if not path.startswith("/") or not shared_dir.startswith("/") or "\0" in path:
        return None
    here, shared = _normal(path), _normal(shared_dir)
    if here == shared:
        return POD_HOME
    prefix = shared.rstrip("/") + "/"
    return f"{POD_HOME}/{here.removeprefix(prefix)}" if here.startswith(prefix) else None


def _normal(path: str) -> str:
    """POSIX lets two leading slashes stand; for us they are one."""
    return "/" + posixpath.normpath(path).lstrip("/")
