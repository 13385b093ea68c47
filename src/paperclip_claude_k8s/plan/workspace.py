"""How the project's files come into the Pod: a pure decision from what is there to a strategy and its reason.

- `shared`: the host's folder is on the shared volume, which the Pod mounts too;
- `git`: an init container clones the context's repository;
- `upload`: the host packs its folder, and the agent's changes come back;
- `none`: neither; the agent starts in `cwd`, or in its HOME.

The first status line of a run says what was chosen and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Literal, TypeAlias

from paperclip_claude_k8s.base.json_readers import as_object, as_trimmed
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.git_source import GitSource, folder_name
from paperclip_claude_k8s.plan.paths import POD_HOME, WORKSPACE_DIR, to_pod_path
from paperclip_claude_k8s.plan.upload_parts import NOT_PACKED, Upload

MAX_QUOTED_PATH = 200
"""Characters of a path that a line of the log quotes."""
Strategy: TypeAlias = Literal["shared", "git", "upload", "none"]


class Look(Enum):
    """What this process saw of the host's folder on the shared volume."""

    UNSEEN = auto()
    """The volume is not mounted here, or nobody has looked."""
    MISSING = auto()
    """There is no such folder on the volume."""
    EMPTY = auto()
    FILLED = auto()


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """What is known of the host's folder and of the repository."""

    cwd: str = ""
    """The workspace's folder on the host, at most `MAX_QUOTED_PATH` characters; "" if there is none."""
    folder: str = ""
    """The same folder, in full."""
    in_pod: str | None = None
    """Its path in the Pod, if by its path it is on the shared volume and the Pod mounts that volume."""
    look: Look = Look.UNSEEN
    source: GitSource | None = None
    """The repository; None if the context names none, or one that cannot be used."""
    refused: str = ""
    """Why the repository that the context names cannot be used; "" if it can, or if there is none."""
    fallback: str = POD_HOME
    """Where the agent starts without a workspace."""
    git_is_configured: bool = False
    """The config has credentials for the repository, or says what to push."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The chosen strategy."""

    strategy: Strategy
    workdir: str
    """The agent's working directory in the Pod."""
    reason: str
    """Why, as a clause."""
    source: GitSource | None = None
    """What is cloned, for `git`."""
    folder: str = ""
    """The host's folder that is uploaded, for `upload`."""
    upload: Upload = NOT_PACKED
    """The packed folder."""
    is_empty: bool = False
    """The context has a workspace, and the agent gets nothing of it."""
    unproven: bool = False
    """Nobody has seen the folder: the relay reports if it is empty."""
    may_fail: bool = False
    """If the repository cannot be cloned, the agent starts in an empty folder."""
    refused: str = ""
    """Why the repository that the context names is not cloned, as a clause; "" if it is, or names none."""

    @property
    def line(self) -> str:
        """The first status line of a run."""
        what = f" ({self.source.shown})" if self.source is not None else ""
        if self.folder:
            what = f" of the host's folder {self.folder[:MAX_QUOTED_PATH]}"
        if self.is_empty:
            return f"Workspace: {self.strategy}, so the agent does not get the project's files: {self.reason}"
        line = f"Workspace: {self.strategy}{what} in {self.workdir}, because {self.reason}"
        return (
            f"{line}; if it cannot be cloned, the agent starts without the files" if self.may_fail else line
        )


NO_WORKSPACE = Workspace("none", POD_HOME, "none was chosen")


class WorkspaceUnavailable(ValueError):
    """The configured strategy cannot be used; the message is a clause."""


def workspace_of(ctx: ExecutionContext) -> Mapping[str, object]:
    """The context's workspace, as the host describes it: `cwd`, `repoUrl`, `repoRef`, `branchName`, ..."""
    return as_object(ctx.context.get("paperclipWorkspace"))


def workspace_cwd(ctx: ExecutionContext) -> str:
    """The workspace's folder on the host; "" if the context names none."""
    return as_trimmed(workspace_of(ctx).get("cwd")) or ""


def gather_facts(  # noqa: PLR0913  # each is one fact
    ctx: ExecutionContext,
    config: AdapterConfig,
    *,
    has_volume: bool,
    look: Look = Look.UNSEEN,
    source: GitSource | None = None,
    refused: str = "",
) -> WorkspaceFacts:
    """`has_volume`: whether the Pod mounts the shared volume."""
    cwd = workspace_cwd(ctx)
    in_pod = to_pod_path(cwd, config.shared_volume_dir or POD_HOME) if cwd and has_volume else None
    return WorkspaceFacts(
        cwd[:MAX_QUOTED_PATH],
        cwd,
        in_pod,
        look,
        source,
        refused,
        fallback=config.cwd or POD_HOME,
        git_is_configured=bool(config.git_secret or config.git_push),
    )


def choose_workspace(setting: str, facts: WorkspaceFacts) -> Workspace:
    """The strategy for the setting `workspace`.

    Raises:
        WorkspaceUnavailable: the setting names a strategy for which something is missing.
    """
    choose = _CHOICES[setting]
    return choose(facts)


def _auto(facts: WorkspaceFacts) -> Workspace:
    proven = facts.in_pod is not None and facts.look is Look.FILLED
    if proven or (facts.source is None and facts.in_pod is not None and facts.look is not Look.MISSING):
        return _shared(facts)
    if facts.source is not None:
        why = f"{_why_not_shared(facts)}, and the context names a repository"
        return replace(_cloned(facts.source, why), may_fail=not facts.git_is_configured)
    if not facts.cwd and not facts.refused:
        return Workspace("none", facts.fallback, "the context names neither a folder nor a repository")
    no_git = facts.refused or "the context names no repository"
    why = f"{_why_not_shared(facts)}, and {no_git}"
    return Workspace("none", facts.fallback, why, is_empty=True, refused=facts.refused)


def _shared(facts: WorkspaceFacts) -> Workspace:
    if facts.in_pod is None or facts.look is Look.MISSING:
        raise WorkspaceUnavailable(f"workspace is shared, but {_why_not_shared(facts)}")
    if facts.look is Look.UNSEEN:
        why = f"{facts.cwd} is on the shared volume by its path, which is not mounted here"
        return Workspace("shared", facts.in_pod, why, unproven=True)
    if facts.look is Look.EMPTY:
        why = f"{facts.cwd} is on the shared volume, but this folder is empty"
        return Workspace("shared", facts.in_pod, why, is_empty=True)
    return Workspace("shared", facts.in_pod, f"{facts.cwd} is on the shared volume")


def _git(facts: WorkspaceFacts) -> Workspace:
    if facts.source is None:
        why = facts.refused or "the context's workspace names no repository (repoUrl)"
        raise WorkspaceUnavailable(f"workspace is git, but {why}")
    return _cloned(facts.source, "the config says so")


def _upload(facts: WorkspaceFacts) -> Workspace:
    if not facts.folder.startswith("/") or "\0" in facts.folder:
        why = (
            "the context names no folder" if not facts.folder else "the context's folder is no absolute path"
        )
        raise WorkspaceUnavailable(f"workspace is upload, but {why}")
    name = folder_name(facts.folder, "project")
    return Workspace("upload", f"{WORKSPACE_DIR}/{name}", "the config says so", folder=facts.folder)


def _none(facts: WorkspaceFacts) -> Workspace:
    return Workspace("none", facts.fallback, "the config says so")


def _cloned(source: GitSource, reason: str) -> Workspace:
    return Workspace("git", f"{WORKSPACE_DIR}/{source.name}", reason, source)


def _why_not_shared(facts: WorkspaceFacts) -> str:
    if not facts.cwd:
        return "the context names no folder"
    if facts.in_pod is None:
        return f"the host's folder {facts.cwd} is not on a volume that the Pod mounts"
    if facts.look is Look.MISSING:
        return f"the host's folder {facts.cwd} does not exist on the shared volume"
    if facts.look is Look.EMPTY:
        return f"the host's folder {facts.cwd} is empty"
    return f"this host cannot see whether {facts.cwd} is on the shared volume"


_CHOICES = {"auto": _auto, "shared": _shared, "git": _git, "upload": _upload, "none": _none}
