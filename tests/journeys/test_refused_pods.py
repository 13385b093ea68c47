"""A Job that the server takes and whose Pod it refuses: told in the controller's own words."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from tests.support.runs import Site

pytestmark = pytest.mark.real
ADMIN = os.environ.get("ADMIN_KUBECONFIG_FOR_TESTS", "")


async def kubectl(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "--kubeconfig",
        ADMIN,
        "--namespace",
        "paperclip",
        *words,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0, words


@pytest.fixture
async def no_more_pods() -> AsyncIterator[None]:
    """The host's own Pod takes all that the quota allows."""
    await kubectl("create", "quota", "no-more", "--hard=pods=1")
    yield
    await kubectl("delete", "quota", "no-more")


@pytest.mark.usefixtures("no_more_pods")
async def test_a_pod_the_controller_may_not_create_is_explained_by_its_event(real: Site) -> None:
    result, heard = await real.run(config={"scheduleTimeoutSec": 8})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert "exceeded quota: no-more" in (result.error_message or "")
    assert "scheduleTimeoutSec is 8" in (result.error_message or "")
    assert "FailedCreate" in heard.status
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert await real.leftovers() == []
