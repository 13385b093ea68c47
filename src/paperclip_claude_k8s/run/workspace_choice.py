"""Examines the host's folder, and chooses how the project's files come into the Pod."""

import os
from functools import partial
from itertools import islice

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.folder_rules import is_in
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.plan.git_source import (
    GitSource,
    RepositoryNotAllowed,
    SourceRefused,
    read_git_source,
)
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.workspace import (
    FolderState,
    Workspace,
    WorkspaceUnavailable,
    choose_workspace,
    gather_facts,
    workspace_cwd,
    workspace_of,
)
from paperclip_claude_k8s.ports import ProcessSettings

_NEXT_STEP = "correct the agent's workspace, or set `workspace` to auto: then the run goes on without it"


async def find_workspace(
    ctx: ExecutionContext, config: AdapterConfig, site: RunSite, settings: ProcessSettings
) -> Workspace:
    """Examine folder and repository of the host's context, and choose the workspace.

    Raises:
        RunFailure: `k8s_workspace_unavailable`, if something that the configured strategy needs is missing;
            `k8s_policy_refused`, if the config requires a repository that the policy does not allow.
    """
    has_volume = site.home is not None and bool(site.home.claim_name)
    volume = site.volume_here if has_volume else None
    folder_state = await _examine_in_thread(workspace_cwd(ctx), volume, settings)
    source, refused = _read_source(ctx, config, settings)
    facts = gather_facts(
        ctx, config, has_volume=has_volume, folder_state=folder_state, source=source, refused=refused
    )
    try:
        return choose_workspace(config.workspace, facts)
    except WorkspaceUnavailable as error:
        why = f"The agent's workspace is not available: {error}"
        raise RunFailure(failures.workspace_unavailable(why, _NEXT_STEP)) from None


def _read_source(
    ctx: ExecutionContext, config: AdapterConfig, settings: ProcessSettings
) -> tuple[GitSource | None, str]:
    """The context's repository and "", or None and the reason for which the repository cannot be used."""
    try:
        source = read_git_source(workspace_of(ctx), settings.policy.repositories)
    except RepositoryNotAllowed as error:
        if config.workspace == "git":
            refusal = Refusal("context.paperclipWorkspace.repoUrl", str(error), "repositories")
            raise RunFailure(failures.policy_refused(refusal)) from None
        return None, str(error)
    except SourceRefused as error:
        return None, str(error)
    if source is None or source.scheme != "ssh" or config.git_secret or config.workspace == "git":
        return source, ""
    # Nothing can be cloned by SSH without `known_hosts`. With `git`, the failed clone fails the run; with
    # `auto`, the run goes on without the files.
    return None, f"cloning {source.url} by SSH needs a Secret with known_hosts in `gitSecret`"


async def _examine_in_thread(cwd: str, volume: str | None, settings: ProcessSettings) -> FolderState:
    """The state of the folder on the shared volume; unknown if the volume does not answer in time."""
    if volume is None or not cwd.startswith("/") or "\0" in cwd:
        return FolderState.UNKNOWN
    work = partial(_examine, cwd, volume)
    try:
        return await call_in_thread(work, settings.timings.host_links, place_of(cwd))
    except TimeoutError:
        return FolderState.UNKNOWN


def _examine(cwd: str, volume: str) -> FolderState:
    """The state of the folder. Blocks.

    A link that leads out of the volume counts as missing, because its target does not exist in the Pod.
    """
    try:
        real = os.path.realpath(cwd)
        if not is_in(real, [os.path.realpath(volume)]):
            return FolderState.MISSING
        with os.scandir(real) as entries:
            return FolderState.FILLED if any(islice(entries, 1)) else FolderState.EMPTY
    except PermissionError:
        return FolderState.UNKNOWN
    except OSError:
        return FolderState.MISSING
