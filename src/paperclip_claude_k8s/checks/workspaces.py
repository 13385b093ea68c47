"""Checks how agents would get the project's files, before there is a run with a workspace."""

from collections.abc import Iterator

from paperclip_claude_k8s.checks.observations import PlannedRun
from paperclip_claude_k8s.host.checkup import Check
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.git_source import GitSource
from paperclip_claude_k8s.plan.paths import WORKSPACE_DIR
from paperclip_claude_k8s.plan.workspace import Workspace

_CODE = "k8s_workspace"
_SAMPLE = "the environment test plans a sample"


def sample_workspace(config: AdapterConfig) -> Workspace | None:
    """A workspace for the planned Job, so that its containers are checked; None if no run can have any."""
    if config.workspace == "upload":
        return Workspace("upload", f"{WORKSPACE_DIR}/project", _SAMPLE, folder="/project")
    if config.workspace != "git" and not (config.workspace == "auto" and config.git_secret):
        return None
    source = GitSource("https://repository.invalid/project.git", "project", "https", "repository.invalid")
    return Workspace("git", f"{WORKSPACE_DIR}/project", _SAMPLE, source)


def workspace_checks(run: PlannedRun) -> Iterator[Check]:
    """How the project's files will come into the Pod, as far as the settings and the volume tell."""
    config = run.plan.config
    has_volume = run.site.home is not None and bool(run.site.home.claim_name)
    match config.workspace:
        case "none":
            yield _info("workspace is none: agents get no project files")
        case "git":
            yield _info(f"Workspaces are cloned from the repository that the host names; {_push(config)}")
        case "upload":
            where = "if it is below one of the policy's uploadRoots"
            yield _info(
                f"The host's folder is uploaded, of at most {config.upload_limit}, {where}; changes come back"
            )
        case "shared" if not has_volume:
            yield Check(
                code=_CODE,
                level="error",
                message="workspace is shared, but no volume is mounted at /paperclip: every run will fail",
                hint="set `claimName`, or set `workspace` to auto or git",
            )
        case "auto" if not has_volume:
            text = "Without a volume at /paperclip, agents get the project's files only by git, if the host "
            public = (
                "" if config.git_secret else "; without `gitSecret` only public repositories can be cloned"
            )
            yield _info(f"{text}names a repository{public}; {_push(config)}")
        case _:
            seen = (
                "" if run.site.volume_here else "; this host does not mount it, so only the Pod can see them"
            )
            yield _info(f"Workspaces are taken from the volume at /paperclip{seen}")


def _push(config: AdapterConfig) -> str:
    if config.git_push:
        return f"what agents commit is pushed to branch {config.git_push}"
    return "changes are lost with the Pod, because `gitPush` is not set"


def _info(text: str) -> Check:
    return Check(code=_CODE, level="info", message=text)
