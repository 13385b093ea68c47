"""How the project's files come into the Pod: pure functions that choose a strategy, and give the reason.

- `shared`: the host's folder is on the shared volume, which the Pod mounts too;
- `git`: an init container clones the context's repository;
- `upload`: the host packs its folder, and the agent's changes come back;
- `none`: the files do not come into the Pod; the agent starts in the configured `cwd`, or in its HOME.

A line at the beginning of the run's log names the choice and its reason.
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
"""Maximum characters of a path that a line of the log quotes."""
Strategy: TypeAlias = Literal["shared", "git", "upload", "none"]
_CONFIGURED = "the setting `workspace` chooses it"
"""The reason that the log gives for a strategy that is configured."""


class FolderState(Enum):
    """The state of the host's folder on the shared volume, as far as this process knows it."""

    UNKNOWN = auto()
    """The volume is not mounted here, does not answer, may not be read, or was not examined."""
    MISSING = auto()
    """The volume has no such folder."""
    EMPTY = auto()
    FILLED = auto()


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """What is known of the host's folder and of the repository."""

    quoted_folder: str = ""
    """The first `MAX_QUOTED_PATH` characters of `folder`, for messages."""
    folder: str = ""
    """Path of the workspace's folder on the host; "" if the context names none."""
    path_in_pod: str | None = None
    """Path of the folder in the Pod; None if the folder is not on a shared volume that the Pod mounts."""
    folder_state: FolderState = FolderState.UNKNOWN
    source: GitSource | None = None
    """The repository; None if the context names none, or one that cannot be used."""
    refused: str = ""
    """Why the repository that the context names cannot be used; "" if it can be used, or none is named."""
    fallback: str = POD_HOME
    """The agent's working directory without a workspace."""
    git_is_configured: bool = False
    """Whether the config has `gitSecret` or `gitPush`."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The chosen strategy."""

    strategy: Strategy
    workdir: str
    """The agent's working directory in the Pod."""
    reason: str
    """Why the strategy was chosen, as a clause."""
    source: GitSource | None = None
    """The repository that is cloned, for `git`."""
    folder: str = ""
    """The host's folder that is uploaded, for `upload`."""
    upload: Upload = NOT_PACKED
    """The packed folder."""
    lacks_files: bool = False
    """Whether the context names a workspace, and the agent gets no file of it."""
    is_unseen: bool = False
    """Whether this process could not examine the folder, so that the relay has to tell if it is empty."""
    may_fail: bool = False
    """Whether the agent starts in an empty folder if the repository cannot be cloned."""
    refused: str = ""
    """Why the context's repository is not cloned, as a clause; "" if it is cloned, or none is named."""

    @property
    def line(self) -> str:
        """The strategy and its reason, for the log."""
        project = f" ({self.source.shown})" if self.source is not None else ""
        if self.folder:
            project = f" of the host's folder {self.folder[:MAX_QUOTED_PATH]}"
        if self.lacks_files:
            return f"Workspace: {self.strategy}, so the agent does not get the project's files: {self.reason}"
        line = f"Workspace: {self.strategy}{project} in {self.workdir}, because {self.reason}"
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
    folder_state: FolderState = FolderState.UNKNOWN,
    source: GitSource | None = None,
    refused: str = "",
) -> WorkspaceFacts:
    """The facts about a run's workspace. `has_volume`: whether the Pod mounts the shared volume."""
    folder = workspace_cwd(ctx)
    path_in_pod = to_pod_path(folder, config.shared_volume_dir or POD_HOME) if folder and has_volume else None
    return WorkspaceFacts(
        quoted_folder=folder[:MAX_QUOTED_PATH],
        folder=folder,
        path_in_pod=path_in_pod,
        folder_state=folder_state,
        source=source,
        refused=refused,
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
    is_filled = facts.folder_state is FolderState.FILLED
    may_exist = facts.folder_state is not FolderState.MISSING
    if facts.path_in_pod is not None and (is_filled or (facts.source is None and may_exist)):
        return _shared(facts)
    if facts.source is not None:
        why = f"{_why_not_shared(facts)}, and the context names a repository"
        return replace(_cloned(facts.source, why), may_fail=not facts.git_is_configured)
    if not facts.quoted_folder and not facts.refused:
        return Workspace("none", facts.fallback, "the context names neither a folder nor a repository")
    no_git = facts.refused or "the context names no repository"
    why = f"{_why_not_shared(facts)}, and {no_git}"
    return Workspace("none", facts.fallback, why, lacks_files=True, refused=facts.refused)


def _shared(facts: WorkspaceFacts) -> Workspace:
    if facts.path_in_pod is None or facts.folder_state is FolderState.MISSING:
        raise WorkspaceUnavailable(f"workspace is shared, but {_why_not_shared(facts)}")
    if facts.folder_state is FolderState.UNKNOWN:
        why = f"{facts.quoted_folder} is on the shared volume by its path, which is not mounted here"
        return Workspace("shared", facts.path_in_pod, why, is_unseen=True)
    if facts.folder_state is FolderState.EMPTY:
        why = f"{facts.quoted_folder} is on the shared volume, but this folder is empty"
        return Workspace("shared", facts.path_in_pod, why, lacks_files=True)
    return Workspace("shared", facts.path_in_pod, f"{facts.quoted_folder} is on the shared volume")


def _git(facts: WorkspaceFacts) -> Workspace:
    if facts.source is None:
        why = facts.refused or "the context's workspace names no repository (repoUrl)"
        raise WorkspaceUnavailable(f"workspace is git, but {why}")
    return _cloned(facts.source, _CONFIGURED)


def _upload(facts: WorkspaceFacts) -> Workspace:
    if not facts.folder.startswith("/") or "\0" in facts.folder:
        why = (
            "the context names no folder" if not facts.folder else "the context's folder is no absolute path"
        )
        raise WorkspaceUnavailable(f"workspace is upload, but {why}")
    name = folder_name(facts.folder, "project")
    return Workspace("upload", f"{WORKSPACE_DIR}/{name}", _CONFIGURED, folder=facts.folder)


def _none(facts: WorkspaceFacts) -> Workspace:
    return Workspace("none", facts.fallback, _CONFIGURED)


def _cloned(source: GitSource, reason: str) -> Workspace:
    return Workspace("git", f"{WORKSPACE_DIR}/{source.name}", reason, source)


def _why_not_shared(facts: WorkspaceFacts) -> str:
    if not facts.quoted_folder:
        return "the context names no folder"
    if facts.path_in_pod is None:
        return f"the host's folder {facts.quoted_folder} is not on a volume that the Pod mounts"
    if facts.folder_state is FolderState.MISSING:
        return f"the host's folder {facts.quoted_folder} does not exist on the shared volume"
    if facts.folder_state is FolderState.EMPTY:
        return f"the host's folder {facts.quoted_folder} is empty"
    return f"this host cannot see whether {facts.quoted_folder} is on the shared volume"


_CHOICES = {"auto": _auto, "shared": _shared, "git": _git, "upload": _upload, "none": _none}
