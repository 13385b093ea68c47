"""The API server accepts a Job, but refuses its Pod: the error message quotes the Job controller's Event."""

from collections.abc import AsyncIterator

import pytest
from tests.support.programs import as_admin
from tests.support.runs import Site

pytestmark = pytest.mark.real


@pytest.fixture
async def pod_quota_used_up() -> AsyncIterator[None]:
    """A ResourceQuota of one Pod, which the home Pod of the Paperclip host uses."""
    await as_admin("create", "quota", "no-more", "--hard=pods=1")
    yield
    await as_admin("delete", "quota", "no-more")


@pytest.mark.usefixtures("pod_quota_used_up")
async def test_refused_pod_is_explained_by_its_event(real: Site) -> None:
    result, host_log = await real.run(config={"scheduleTimeoutSec": 8})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert "exceeded quota: no-more" in (result.error_message or "")
    assert "scheduleTimeoutSec is 8" in (result.error_message or "")
    assert "FailedCreate" in host_log.status
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert await real.leftovers() == []
