"""How the project's files come into the Pod: the strategy that is chosen for a setting and a context."""

from dataclasses import replace

import pytest
from tests.support.plans import a_plan

from paperclip_claude_k8s.plan.git_source import GitSource
from paperclip_claude_k8s.plan.requirements import excludes_too_long
from paperclip_claude_k8s.plan.workspace import (
    FolderState,
    Workspace,
    WorkspaceFacts,
    WorkspaceUnavailable,
    choose_workspace,
)

SOURCE = GitSource(
    url="https://host/app.git", name="app", scheme="https", host="host", refs=("refs/heads/main",)
)
ON_VOLUME = WorkspaceFacts(
    quoted_folder="/data/ws", path_in_pod="/paperclip/ws", folder_state=FolderState.FILLED
)
ELSEWHERE = WorkspaceFacts(quoted_folder="/home/me/ws")
NOTHING = WorkspaceFacts()


@pytest.mark.parametrize(
    ("facts", "strategy", "workdir", "lacks_files"),
    [
        (ON_VOLUME, "shared", "/paperclip/ws", False),
        (replace(ON_VOLUME, source=SOURCE), "shared", "/paperclip/ws", False),
        (replace(ON_VOLUME, folder_state=FolderState.EMPTY), "shared", "/paperclip/ws", True),
        (replace(ON_VOLUME, folder_state=FolderState.EMPTY, source=SOURCE), "git", "/workspace/app", False),
        (replace(ON_VOLUME, folder_state=FolderState.MISSING), "none", "/paperclip", True),
        (replace(ON_VOLUME, folder_state=FolderState.MISSING, source=SOURCE), "git", "/workspace/app", False),
        (replace(ON_VOLUME, folder_state=FolderState.UNKNOWN), "shared", "/paperclip/ws", False),
        (replace(ON_VOLUME, folder_state=FolderState.UNKNOWN, source=SOURCE), "git", "/workspace/app", False),
        (ELSEWHERE, "none", "/paperclip", True),
        (replace(ELSEWHERE, source=SOURCE), "git", "/workspace/app", False),
        (replace(ELSEWHERE, refused="repoUrl is not a URL"), "none", "/paperclip", True),
        (replace(NOTHING, source=SOURCE), "git", "/workspace/app", False),
        (replace(NOTHING, refused="repoUrl is not a URL"), "none", "/paperclip", True),
        (replace(NOTHING, fallback="/srv"), "none", "/srv", False),
    ],
)
def test_auto_chooses_by_folder_and_repository(
    facts: WorkspaceFacts,
    strategy: str,
    workdir: str,
    lacks_files: bool,  # noqa: FBT001  # a column of the table
) -> None:
    chosen = choose_workspace("auto", facts)
    assert (chosen.strategy, chosen.workdir, chosen.lacks_files) == (strategy, workdir, lacks_files)
    assert chosen.reason


def test_line_names_strategy_repository_and_reason() -> None:
    assert choose_workspace("auto", replace(ELSEWHERE, source=SOURCE)).line == (
        "Workspace: git (https://host/app.git at main) in /workspace/app, because the host's folder "
        "/home/me/ws is not on a volume that the Pod mounts, and the context names a repository; if it "
        "cannot be cloned, the agent starts without the files"
    )
    assert choose_workspace("auto", ELSEWHERE).line == (
        "Workspace: none, so the agent does not get the project's files: the host's folder /home/me/ws is "
        "not on a volume that the Pod mounts, and the context names no repository"
    )


def test_only_a_clone_that_auto_chose_without_git_settings_may_fail() -> None:
    assert choose_workspace("auto", replace(ELSEWHERE, source=SOURCE)).may_fail
    assert not choose_workspace("git", replace(ELSEWHERE, source=SOURCE)).may_fail
    configured = replace(ELSEWHERE, source=SOURCE, git_is_configured=True)
    assert not choose_workspace("auto", configured).may_fail


def test_folder_in_unknown_state_is_marked_as_unseen() -> None:
    assert choose_workspace("auto", replace(ON_VOLUME, folder_state=FolderState.UNKNOWN)).is_unseen
    assert not choose_workspace("auto", ON_VOLUME).is_unseen


@pytest.mark.parametrize(
    ("setting", "facts", "why"),
    [
        ("shared", ELSEWHERE, "is not on a volume"),
        ("shared", replace(ON_VOLUME, folder_state=FolderState.MISSING), "does not exist"),
        ("shared", replace(NOTHING, source=SOURCE), "names no folder"),
        ("git", ON_VOLUME, "names no repository"),
        ("git", replace(ON_VOLUME, refused="repoUrl is not a URL"), "repoUrl is not a URL"),
    ],
)
def test_configured_strategy_without_what_it_needs_is_unavailable(
    setting: str, facts: WorkspaceFacts, why: str
) -> None:
    with pytest.raises(WorkspaceUnavailable, match=why):
        choose_workspace(setting, facts)


@pytest.mark.parametrize("setting", ["shared", "git", "none"])
def test_configured_strategy_is_used_even_if_others_are_possible(setting: str) -> None:
    chosen = choose_workspace(setting, replace(ON_VOLUME, source=SOURCE))
    assert chosen.strategy == setting
    assert (chosen.source is not None) == (setting == "git")


def test_upload_excludes_are_too_long_only_if_a_folder_is_uploaded() -> None:
    plan = a_plan(uploadExcludes=["ü" * 999] * 70)  # more than one environment variable can hold
    assert excludes_too_long(plan) == ()
    uploaded = replace(plan, workspace=Workspace("upload", "/workspace/app", "why", folder="/app"))
    assert excludes_too_long(uploaded) == ("uploadExcludes",)
