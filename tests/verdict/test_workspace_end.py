"""What is reported about a workspace whose repository was not cloned, or not pushed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.objects import a_pod

from paperclip_claude_k8s.cluster.model import ContainerSnapshot, PodSnapshot, Running, Terminated
from paperclip_claude_k8s.relay.git import CLONE_CONTAINER, PUSH_CONTAINER
from paperclip_claude_k8s.verdict.workspace_end import (
    WorkspaceEnd,
    clone_failure,
    describe_clone,
    push_end,
    why_not_cloned,
)

NONCE = "0123abcd"


def a_pod_after_clone(code: int = 0, message: str = "", **report: Any) -> PodSnapshot:
    text = message or json.dumps({"workspace": NONCE, **report})
    return a_pod(Running(), init_containers=(ContainerSnapshot(CLONE_CONTAINER, Terminated(code, "", text)),))


@pytest.mark.parametrize(
    ("why", "step"),
    [
        ("the image of this container has no git", "set `gitImage`"),
        ("git ls-remote failed: fatal: could not read Username for x", "name a Secret with credentials"),
        ("it did not end within 80 seconds", "raise `startTimeoutSec`"),
        ("git ls-remote failed: Could not resolve host: x", "can reach the repository's server"),
        ("git submodule update failed: Permission denied: the key url of gitSecret", "credentials"),
    ],
)
def test_agent_without_its_repository_is_reported_with_the_next_step(why: str, step: str) -> None:
    pod = a_pod_after_clone(failed=why)
    assert clone_failure(pod) is None
    line = describe_clone(pod, NONCE)
    assert line.startswith(
        f"Workspace: the agent starts without the project's files: the repository could not be "
        f"cloned: {why} — "
    )
    assert step in line
    end = WorkspaceEnd(None, why_not_cloned(pod, NONCE))
    assert str(next(end.warnings())).startswith("workspace_not_cloned: the agent starts without")
    assert end.to_wire()["cloned"] is False


def test_report_of_another_nonce_is_ignored() -> None:
    pod = a_pod_after_clone(failed="x")
    assert (describe_clone(pod, "ffffffff"), why_not_cloned(pod, "ffffffff")) == ("", "")


def test_successful_clone_gives_no_warning() -> None:
    pod = a_pod_after_clone(commit="a" * 40, branch="main")
    assert describe_clone(pod, NONCE) == "Workspace: cloned aaaaaaaaaaaa, branch main"
    assert why_not_cloned(pod, NONCE) == ""


def test_failed_clone_that_the_run_requires_is_a_failure() -> None:
    failure = clone_failure(a_pod_after_clone(code=75, message="the image of this container has no git"))
    assert failure is not None
    assert failure.code == "k8s_workspace_unavailable"


def test_empty_folder_that_stays_empty_is_no_lost_work() -> None:
    report = {"commits": 0, "files": 0, "why": "the repository was not cloned"}
    ended = Terminated(0, "", json.dumps({"workspace": NONCE, **report}))
    pod = replace(a_pod(), containers=(ContainerSnapshot(PUSH_CONTAINER, ended),))
    end = push_end(pod, NONCE)
    assert end is not None
    assert end.is_fine
    assert end.line == "Workspace: nothing was pushed: the repository was not cloned"
    assert list(end.warnings()) == []
