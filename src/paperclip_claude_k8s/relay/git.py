"""The scripts that clone and push a workspace, the variables that they read, and their reports.

`git_clone.sh` runs in an init container, `git_push.sh` in a container beside the agent's. Both containers get
the credentials; the agent's container does not.
"""

from dataclasses import dataclass

import orjson

from paperclip_claude_k8s.base.json_readers import get_int, get_text
from paperclip_claude_k8s.relay import script

CLONE_CONTAINER, PUSH_CONTAINER = "git-clone", "git-push"
PREFIX = "PAPERCLIP_GIT_"
"""Prefix of the variables that the scripts read."""
PIPE = "alive"
"""Name of the pipe in the folder that the containers share, see `relay.ALIVE`."""


def command(name: str) -> list[str]:
    """The command of a container: `git_clone.sh` or `git_push.sh`."""
    return ["sh", "-c", script("git_common.sh") + script("await_agent.sh") + script(name)]


@dataclass(frozen=True, slots=True)
class CloneReport:
    """The report of `git_clone.sh`: what was checked out."""

    commit: str
    """Id of the commit that was checked out; "" for an empty repository."""
    branch: str
    """The branch that is checked out; "" for a detached HEAD."""
    cached: bool
    """Whether objects of an earlier clone were used."""
    kept: bool | None
    """Whether objects of this clone were kept for the next clone; None without a volume for them."""
    failed: str = ""
    """Why the agent starts without a clone; "" if the repository was cloned."""


@dataclass(frozen=True, slots=True)
class PushReport:
    """The report of `git_push.sh`: what the agent left in its clone, and whether it is on the server.

    A number is None if it could not be counted.
    """

    head: str
    branch: str
    pushed_branch: str
    """The branch on the server to which the agent's branch was pushed; "" if nothing was pushed."""
    why: str
    """Why nothing was pushed, with git's message if git failed; "" if the branch was pushed."""
    changed: bool
    """Whether the agent's HEAD is another commit than the one that was cloned."""
    commits: int | None = None
    """Number of commits of any branch that are not on the server."""
    bytes: int | None = None
    """Size of these commits."""
    files: int | None = None
    """Number of files that are changed or new, not committed and not ignored."""
    file_bytes: int | None = None
    """Size of these files."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that the agent left is on the server."""
        return self.commits == 0 and self.files == 0


def read_clone_report(message: str, nonce: str) -> CloneReport | None:
    """The report in a termination message; None for another message."""
    report = _read(message, nonce)
    if report is None:
        return None
    kept = report.get("kept")
    return CloneReport(
        commit=get_text(report, "commit"),
        branch=get_text(report, "branch"),
        cached=report.get("cached") is True,
        kept=kept if isinstance(kept, bool) else None,
        failed=get_text(report, "failed"),
    )


def read_push_report(message: str, nonce: str) -> PushReport | None:
    """The report in a termination message; None for another message."""
    report = _read(message, nonce)
    if report is None:
        return None
    return PushReport(
        head=get_text(report, "head"),
        branch=get_text(report, "branch"),
        pushed_branch=get_text(report, "pushed"),
        why=get_text(report, "why"),
        changed=report.get("changed") is True,
        commits=get_int(report, "commits"),
        bytes=get_int(report, "bytes"),
        files=get_int(report, "files"),
        file_bytes=get_int(report, "file_bytes"),
    )


def _read(message: str, nonce: str) -> dict[str, object] | None:
    try:
        report = orjson.loads(message or "")
    except orjson.JSONDecodeError:
        return None
    return report if isinstance(report, dict) and report.get("workspace") == nonce else None
