"""What the environment test says about workspaces."""

import pytest
from tests.checks.harness import Harness


@pytest.mark.parametrize(
    ("config", "level", "text"),
    [
        ({}, "info", "taken from the volume at /paperclip"),
        ({"workspace": "none"}, "info", "agents get no project files"),
        ({"workspace": "git"}, "info", "changes are lost with the Pod, because `gitPush` is not set"),
        ({"workspace": "git", "gitPush": "x/{agent}"}, "info", "is pushed to branch x/{agent}"),
    ],
)
async def test_check_says_how_project_files_come_into_the_pod(
    harness: Harness, config: dict[str, str], level: str, text: str
) -> None:
    checkup = await harness.test(config)
    (check,) = [check for check in checkup.checks if check.code == "k8s_workspace"]
    assert check.level == level
    assert text in check.message


async def test_shared_workspace_without_a_volume_is_an_error(harness: Harness) -> None:
    harness.home["containers"][0]["volumeMounts"] = []
    checkup = await harness.test({"workspace": "shared"})
    (check,) = [check for check in checkup.checks if check.code == "k8s_workspace"]
    assert check.level == "error"


async def test_missing_git_secret_is_found_before_the_first_run(harness: Harness) -> None:
    checkup = await harness.test({"gitSecret": "deploy-key"})
    assert "k8s_secret_missing" in [check.code for check in checkup.checks]


async def test_probe_with_git_workspace_and_no_repository_has_no_error(harness: Harness) -> None:
    checkup = await harness.test({"workspace": "git"}, probe=True)
    assert [check.code for check in checkup.checks if check.level == "error"] == []
