"""Minimal RBAC on a real cluster: each right of the printed Role is needed, for one feature only.

A service account gets the Role that `claude-k8s rbac` prints, without one right. The environment test must
name the missing right in one check, and a run must end as `OUTCOMES` predicts.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio
from tests.support.file_event import FileEvent
from tests.support.programs import as_admin
from tests.support.real_account import RealAccount, open_account
from tests.support.real_cluster import IN_HOME_POD, wait_for_output
from tests.support.real_namespace import NAMESPACE
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.checks.rights import RIGHTS, Right
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.host.checkup import Check
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.requirements import REPLACEMENT_POLICY_SINCE
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real
KUBECONFIG = os.environ.get("KUBECONFIG_FOR_TESTS", "")
ACCOUNT = "rights-test"

IMPATIENT = replace(Timings(), retry_budget=4.0)
"""Calls are retried for 4 s only, because a missing right stays missing."""
RESULT = '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'
SCRIPT = f"echo hello; sleep 1; printf '%s\\n' '{RESULT}'"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The expected outcome of a run."""

    code: str | None = None
    """Error code; None if the run succeeds."""
    message: str = ""
    """Part of the error message or of a status line."""
    leaves: tuple[str, ...] = ()
    """Resources of which the run leaves objects behind."""
    unreported: tuple[str, ...] = field(default=("forbidden",))
    """Texts that a successful run must not report."""
    summary: str | None = "done"
    """Summary of a successful run."""


OUTCOMES = {
    "create jobs": Outcome("k8s_job_create_failed", "cannot create resource"),
    "list jobs": Outcome("k8s_concurrency_guard_unreachable", "cannot list resource"),
    "list pods": Outcome("k8s_concurrency_guard_unreachable", "cannot list resource"),
    "delete jobs": Outcome(message="failed to clean up Job", leaves=("jobs",), unreported=()),
    "get pods": Outcome("k8s_home_pod_unavailable", "cannot get resource"),
    "get pods/log": Outcome(
        message="the log could not be read", leaves=("jobs",), unreported=(), summary=None
    ),
    "create secrets": Outcome(message="the prompt goes by an init container instead", unreported=()),
    "create leases": Outcome(message="Leases cannot be used", unreported=()),
    "delete leases": Outcome(leaves=("leases",)),
}
"""By the label of the missing right. If another right is missing, a run succeeds and does not mention it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealAccount]:
    async with open_account(ACCOUNT, tmp_path_factory.mktemp("rights")) as account:
        yield account


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def baseline(account: RealAccount) -> list[Check]:
    """The failed checks of an account that lacks no right."""
    await account.grant(list(RIGHTS))
    async with site_of(account.kubeconfig) as site:
        return await failed_checks(site)


def all_but(missing: Right) -> list[Right]:
    return [right for right in RIGHTS if right != missing]


@asynccontextmanager
async def site_of(kubeconfig: str) -> AsyncIterator[Site]:
    """The real cluster, with an adapter that uses this kubeconfig; its gateway has all rights."""
    adapter = Adapter(ProcessSettings(env=IN_HOME_POD, timings=IMPATIENT))
    gateway = Gateway(KUBECONFIG)
    config = {"kubeconfig": kubeconfig, "imagePullPolicy": "Never"}
    try:
        yield Site("real", adapter, gateway, NAMESPACE, config, capture_ref=str)
    finally:
        await adapter.shutdown()
        await gateway.close()


async def failed_checks(site: Site) -> list[Check]:
    """The checks of the environment test that are warnings or errors."""
    checkup = await site.adapter.test_environment({"config": dict(site.config)})
    return [check for check in checkup.checks if check.level != "info"]


def assert_reported(right: Right, found: list[Check], baseline: list[Check]) -> None:
    """Check that the missing right adds exactly the expected checks to `baseline`, those with all rights."""
    known = {check.code for check in baseline}
    added = [check for check in found if check.code not in known]
    expected = [right.code, *(["k8s_home_pod_unavailable"] if right.label == "get pods" else [])]
    assert sorted(check.code for check in added) == sorted(expected)
    (check,) = [check for check in added if check.code == right.code]
    assert check.level == right.level
    assert right.lost in check.message
    assert (right.instead or "there is no fallback") in check.message
    assert f"claude-k8s rbac --namespace {NAMESPACE}" in (check.hint or "")


def assert_outcome(outcome: Outcome, result: ExecutionResult, host_log: HostLog) -> None:
    message = host_log.status + (result.error_message or "")
    assert result.error_code == outcome.code, message
    assert outcome.message in message
    for text in outcome.unreported if outcome.code is None else ():
        assert text not in message
    if outcome.code is None:
        assert result.summary == outcome.summary


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.code)
async def test_missing_right_disables_only_its_feature(
    account: RealAccount, baseline: list[Check], right: Right
) -> None:
    outcome = OUTCOMES.get(right.label, Outcome())
    async with site_of(KUBECONFIG) as site:
        if right.label == "create secrets" and await site.gateway.server_version() < REPLACEMENT_POLICY_SINCE:
            outcome = Outcome("k8s_config_invalid", "promptDelivery init needs Kubernetes 1.29")
    await account.grant(all_but(right))
    async with site_of(account.kubeconfig) as site:
        assert_reported(right, await failed_checks(site), baseline)
        result, host_log = await site.run({"CLAUDE_SCRIPT": SCRIPT})
    async with site_of(KUBECONFIG) as site:
        leftovers = await site.leftovers(within=0 if outcome.leaves else 120)
    try:
        assert_outcome(outcome, result, host_log)
        assert set(outcome.leaves) == {f"{name.split(' ')[0]}s" for name in leftovers} & {"jobs", "leases"}
    finally:
        if leftovers:
            await as_admin("delete", "jobs,leases", "-l", "paperclip.io/adapter-type=claude_k8s")


@pytest.mark.parametrize(
    ("label", "code", "expected"),
    [
        ("patch jobs", "k8s_pod_reattach_failed", 'cannot patch resource "jobs"'),
        ("list pods", "k8s_concurrency_guard_unreachable", 'cannot list resource "pods"'),
    ],
)
async def test_orphan_stays_until_a_host_with_all_rights_adopts_it(
    account: RealAccount, label: str, code: str, expected: str
) -> None:
    (missing,) = [right for right in RIGHTS if right.label == label]
    await account.grant(all_but(missing))
    agent = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    end_event = FileEvent.on_volume()
    script = {"CLAUDE_SCRIPT": f"echo hello; {end_event.wait_command}; printf '%s\\n' '{RESULT}'"}
    async with site_of(KUBECONFIG) as first, asyncio.TaskGroup() as group:
        host_log = HostLog()
        running = group.create_task(first.run(script, host_log=host_log, agent=agent))
        await wait_for_output(host_log, "hello")
        await first.adapter.shutdown()
        assert running.cancelled()
    async with site_of(account.kubeconfig) as second:
        result, host_log = await second.run({}, agent=agent)
        assert result.error_code == code
        assert expected in host_log.status + (result.error_message or "")
    async with site_of(KUBECONFIG) as third:
        host_log = HostLog()
        async with asyncio.TaskGroup() as group:
            adopting = group.create_task(third.run({}, agent=agent, host_log=host_log))
            await wait_for_output(host_log, "Reattaching")
            end_event.set()
        result, _ = adopting.result()
        assert result.summary == "done"
        assert await third.leftovers() == []
