"""A Job is accepted, but its Pod is refused: the message quotes the controller."""

from collections.abc import AsyncIterator

import pytest
from tests.support.programs import as_admin
from tests.support.runs import Site

pytestmark = pytest.mark.real


@pytest.fixture
async def no_more_pods() -> AsyncIterator[None]:
    """The host's own Pod uses up the quota."""
    await as_admin("create", "quota", "no-more", "--hard=pods=1")
    yield
    await as_admin("delete", "quota", "no-more")


@pytest.mark.usefixtures("no_more_pods")
async def test_refused_pod_is_explained_by_its_event(real: Site) -> None:
    result, host_log = await real.run(config={"scheduleTimeoutSec": 8})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert "exceeded quota: no-more" in (result.error_message or "")
    assert "scheduleTimeoutSec is 8" in (result.error_message or "")
    assert "FailedCreate" in host_log.status
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert await real.leftovers() == []
