"""Scenarios of runs with each value of `sessionVolume` and of `workspace`; `run_calls.py` has the others."""

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.packed_changes import file_line, packed, printed, write_tree
from tests.support.run_calls import (
    ACQUIRE,
    FINAL_DELETE,
    LAUNCH,
    LIST,
    LIST_AND_WATCH,
    OTHER_WAKE,
    READ_CLAIM,
    READ_OTHER_SLOT,
    RELEASE,
    RENEW,
    SHORT,
    TWO_AFTER_DELETION,
    WATCH,
    Scenario,
    host_shut_down,
    host_shut_down_and_run_ended,
    repeated,
)

from paperclip_claude_k8s.cluster.labels import NONCE_ANNOTATION
from paperclip_claude_k8s.devcluster.kinds import CLAIMS
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript

OLD_README, NEW_README = "hello\n", "agent\n"
"""The text of the project's README before and after the agent's change."""
CHANGES = printed(packed([file_line("README", NEW_README, base=OLD_README)], NEW_README))
CHANGES_README = replace(SHORT, changes=CHANGES)
"""Changes the README of its uploaded workspace."""
PARTS = 3
"""Number of Secrets that hold the packed project, beside the run Secret."""
CLAIM = "team-sessions"
COMMIT = "0123456789" * 4
UPLOADS = (*LIST, "create_job", "list_jobs (2)", *repeated("create_secret", PARTS + 1))
"""Calls of a launch with an upload: the Secrets with the parts are created, and then the run Secret."""
READ_CHANGES = "log followed (2)"
"""The call that reads the changes; the first log that is followed is the agent's."""


def make_project(folder: Path) -> None:
    """Create the folder that is uploaded. It has random bytes, which packing does not make smaller."""
    write_tree(folder, {"README": OLD_README})
    (folder / "data").write_bytes(os.urandom((PARTS - 1) * 700_000 + 100_000))


def pushes_its_clone(pod: Any) -> PodScript:
    """The script of a Pod whose clone is pushed."""
    report = {
        "workspace": pod["metadata"]["annotations"][NONCE_ANNOTATION],
        "head": COMMIT,
        "branch": "main",
        "pushed": "agents/main",
        "changed": True,
        "commits": 0,
        "bytes": 0,
        "files": 0,
        "file_bytes": 0,
    }
    return replace(SHORT, pushed=json.dumps(report))


async def named_claim_created(fake: FakeCluster) -> None:
    """An administrator created the claim that `sessionVolume` names."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    fake.store.create(CLAIMS, {"metadata": {"name": CLAIM, "namespace": NAMESPACE}, "spec": spec})


def strategy_scenarios(project: Path) -> dict[str, Scenario]:
    """The scenarios. `project`: the host's folder, which `make_project` has created."""
    folder = {"paperclipWorkspace": {"cwd": str(project)}}
    wake = {"taskId": "task-1", "paperclipTaskMarkdown": "Do it."}
    repository = {"paperclipWorkspace": {"cwd": "/x/project", "repoUrl": "https://git.example/acme/p.git"}}
    upload: dict[str, Any] = {
        "config": {"sessionVolume": "none", "workspace": "upload"},
        "context": {**wake, **folder},
    }
    good_run = (*ACQUIRE, *LAUNCH, *WATCH, RENEW, FINAL_DELETE, *RELEASE)
    return {
        "a named session volume and a shared workspace": Scenario(
            (*good_run, "read_claim"),
            more={
                "config": {"sessionVolume": CLAIM, "claimName": "paperclip-data", "workspace": "shared"},
                "context": {**wake, "paperclipWorkspace": {"cwd": "/paperclip/project"}},
            },
            before=named_claim_created,
            max_agents=TWO_AFTER_DELETION,
        ),
        "a new session volume and a cloned repository": Scenario(
            (*good_run, *READ_CLAIM, "create_claim"),
            pushes_its_clone,
            more={
                "config": {"sessionVolume": "auto", "workspace": "git", "gitPush": "agents/{branch}"},
                "context": {**wake, **repository},
            },
            max_agents=TWO_AFTER_DELETION,
        ),
        "no session volume and an uploaded folder": Scenario(
            (*ACQUIRE, *UPLOADS, *WATCH, RENEW, READ_CHANGES, "patch_job", FINAL_DELETE, *RELEASE),
            CHANGES_README,
            changes_project=True,
            more=upload,
            max_agents=TWO_AFTER_DELETION,
        ),
        "adopting a run with an uploaded folder": Scenario(
            (
                *(*ACQUIRE, *LIST, READ_OTHER_SLOT, *LIST_AND_WATCH, READ_CHANGES),
                *(*repeated("patch_job", 2), FINAL_DELETE, *RELEASE),
            ),
            CHANGES_README,
            changes_project=True,
            more={**upload, "runId": "run-2"},
            before=partial(host_shut_down, **upload),
            max_agents=TWO_AFTER_DELETION,
        ),
        "changes that no host has read": Scenario(
            (
                *(*ACQUIRE, *UPLOADS, "list_pods (2)", "list_pods (3)", *WATCH, RENEW),
                *("log followed (2)", "log followed (3)", *repeated("patch_job", 3), FINAL_DELETE, *RELEASE),
            ),
            CHANGES_README,
            changes_project=True,
            more={**upload, "runId": "run-2", "context": {**OTHER_WAKE, **folder}},
            before=partial(host_shut_down_and_run_ended, **upload),
            keeps_taken_jobs=True,
            max_agents={"": 2, FINAL_DELETE: 3},
        ),
    }
