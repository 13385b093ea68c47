"""The rights that `claude-k8s rbac` prints for each session volume and workspace suffice, and each is needed.

A run and the environment test get all these rights on a cluster in memory, and then all except one. The
environment test must name the missing right, and the run ends as `OUTCOMES` says: most rights are needed for
one feature, which only some runs use. `tests/journeys/test_rights_on_real.py` does this on a real cluster.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from tests.support.in_memory_runs import GOOD
from tests.support.packed_changes import write_tree
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.strategy_calls import (
    CHANGES,
    CLAIM,
    NEW_README,
    OLD_README,
    named_claim_created,
    pushes_its_clone,
)

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.checks.rights import Right, rights_of
from paperclip_claude_k8s.cli.manifests_command import rbac
from paperclip_claude_k8s.cli.setup_options import RbacOptions
from paperclip_claude_k8s.devcluster.kinds import ALL, CLAIMS, JOBS, PODS, SECRETS, VERBS
from paperclip_claude_k8s.host.checkup import Check
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.session_volume import CLAIM_PREFIX
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog, PodScript, build_context

pytestmark = pytest.mark.looptime
EVERYTHING = {(verb, name) for name in (*(kind.plural for kind in ALL), "pods/log") for verb in VERBS}


@dataclass(frozen=True, slots=True)
class Strategy:
    """How sessions and project files are kept. PROJECT in `workspace` stands for the host's folder."""

    config: dict[str, Any]
    workspace: dict[str, Any] = field(default_factory=dict)
    pod_script: Any = GOOD

    @property
    def auto_claims(self) -> bool:
        return bool(self.config["sessionVolume"] == "auto")


STRATEGIES = {
    "shared, shared": Strategy(
        {"sessionVolume": "shared", "workspace": "shared", "claimName": "paperclip-data"},
        {"cwd": "/paperclip/project"},
    ),
    "claim, git": Strategy(
        {"sessionVolume": CLAIM, "workspace": "git"},
        {"cwd": "/x/p", "repoUrl": "https://git.example/acme/p.git"},
        pushes_its_clone,
    ),
    "auto, none": Strategy({"sessionVolume": "auto", "workspace": "none"}),
    "none, upload": Strategy(
        {"sessionVolume": "none", "workspace": "upload"},
        {"cwd": "PROJECT"},
        PodScript(output=GOOD.output, ends_at=2.0, changes=CHANGES),
    ),
}
"""Session volume and workspace → strategy. Each value of both settings occurs once."""


@asynccontextmanager
async def cluster_with(
    strategy: Strategy, folder: Path, granted: set[tuple[str, str]]
) -> AsyncIterator[tuple[FakeCluster, Adapter]]:
    """Yield a cluster that allows only the pairs (verb, resource) in `granted`, and an adapter on it."""
    write_tree(folder / "project", {"README": OLD_README})
    async with FakeCluster.start(folder, strategy.pod_script) as fake:
        await named_claim_created(fake)
        fake.faults.denied |= EVERYTHING - granted
        settings = ProcessSettings(policy=TEMPORARY_FOLDERS)
        adapter = Adapter(settings, lambda _source, _settings: fake.gateway)
        try:
            yield fake, adapter
        finally:
            await adapter.shutdown()


async def run(adapter: Adapter, strategy: Strategy, folder: Path) -> tuple[ExecutionResult, HostLog]:
    workspace = json.loads(json.dumps(strategy.workspace).replace("PROJECT", str(folder / "project")))
    context = {"taskId": "task-1", "paperclipTaskMarkdown": "Do it.", "paperclipWorkspace": workspace}
    log = HostLog()
    return await adapter.execute(build_context(log, config=strategy.config, context=context)), log


def printed_rights(strategy: Strategy, capsys: pytest.CaptureFixture[str]) -> set[tuple[str, str]]:
    """Return the pairs (verb, resource) that `claude-k8s rbac` grants for the strategy."""
    options = RbacOptions(NAMESPACE, session_volume="auto" if strategy.auto_claims else "shared")
    assert rbac(options) == 0
    roles = [doc for doc in yaml.safe_load_all(capsys.readouterr().out) if doc["kind"] == "Role"]
    rules = [rule for role in roles for rule in role["rules"]]
    return {(verb, name) for rule in rules for name in rule["resources"] for verb in rule["verbs"]}


async def failed_checks(adapter: Adapter, strategy: Strategy) -> list[Check]:
    """Run the environment test; return its warnings and errors."""
    config = {"kubeconfig": "fake", "image": "x", **strategy.config}
    checkup = await adapter.test_environment({"config": config})
    return [check for check in checkup.checks if check.level != "info"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run without one right ends. `text`: part of its error message or of its log."""

    error_code: str | None = None
    text: str = ""
    job_stays: bool = False
    checks: tuple[str, ...] = ()
    """Codes of further checks that report the missing right."""


LOG_UNREADABLE = Outcome(text="the log could not be read: HTTP 403", job_stays=True)
OUTCOMES: dict[str, dict[str, Outcome]] = {
    "": {
        "create jobs": Outcome("k8s_job_create_failed", "cannot create resource"),
        "list jobs": Outcome("k8s_concurrency_guard_unreachable", "cannot list resource"),
        "list pods": Outcome("k8s_concurrency_guard_unreachable", "cannot list resource"),
        "delete jobs": Outcome(text="failed to clean up Job", job_stays=True),
        "get pods/log": LOG_UNREADABLE,
        "create secrets": Outcome(text="the prompt goes by an init container instead"),
        "create leases": Outcome(text="Leases cannot be used"),
    },
    "claim, git": {"get persistentvolumeclaims": Outcome(checks=("k8s_session_volume_unread",))},
    "auto, none": {
        "create persistentvolumeclaims": Outcome(text="this account may not create its claim"),
    },
    "none, upload": {
        "create secrets": Outcome("k8s_prompt_secret_create_failed", "cannot create resource"),
    },
}
"""Strategy ("": every one) → missing right → outcome. Runs succeed without a right that is not listed."""
NAMES_AND_RIGHTS = [
    pytest.param(name, right, id=f"{name}, {right.label}")
    for name, strategy in STRATEGIES.items()
    for right in rights_of(auto_claims=strategy.auto_claims)
]


def test_every_value_of_both_settings_has_a_strategy() -> None:
    volumes, workspaces = zip(*(name.split(", ") for name in STRATEGIES), strict=True)
    assert set(volumes) == {"shared", "claim", "auto", "none"}
    # the workspace `auto` chooses one of the others
    assert {*workspaces, "auto"} == set(get_args(AdapterConfig.model_fields["workspace"].annotation))


@pytest.mark.parametrize("name", STRATEGIES)
async def test_printed_rights_suffice(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    strategy = STRATEGIES[name]
    granted = printed_rights(strategy, capsys)
    assert ("create", "persistentvolumeclaims") not in granted or strategy.auto_claims
    async with cluster_with(strategy, tmp_path, granted) as (fake, adapter):
        result, log = await run(adapter, strategy, tmp_path)
        assert result.error_message is None
        assert "forbidden" not in log.status
        assert [list(fake.store.list(kind)) for kind in (JOBS, PODS, SECRETS)] == [[], [], []]
        claims = [claim["metadata"]["name"] for claim in fake.store.list(CLAIMS)]
        assert any(name.startswith(CLAIM_PREFIX) for name in claims) is strategy.auto_claims
        assert not any("rbac" in check.code for check in await failed_checks(adapter, strategy))
    changed = "upload" in name
    assert (tmp_path / "project" / "README").read_text() == (NEW_README if changed else OLD_README)


@pytest.mark.parametrize(("name", "right"), NAMES_AND_RIGHTS)
async def test_missing_right_is_reported_and_only_its_feature_fails(
    tmp_path: Path, name: str, right: Right, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = STRATEGIES[name]
    outcome = OUTCOMES.get(name, {}).get(right.label) or OUTCOMES[""].get(right.label) or Outcome()
    granted = printed_rights(strategy, capsys)
    async with cluster_with(strategy, tmp_path, granted) as (fake, adapter):
        known_codes = {check.code for check in await failed_checks(adapter, strategy)}
        fake.faults.denied.add((right.access.verb, right.resource))
        added = [check for check in await failed_checks(adapter, strategy) if check.code not in known_codes]
        assert {check.code for check in added} == {right.code, *outcome.checks}
        fails = outcome.error_code is not None
        assert not fails or [check.level for check in added] == ["error"]
        result, log = await run(adapter, strategy, tmp_path)
        assert result.error_code == outcome.error_code, result.error_message
        assert outcome.text in log.status + (result.error_message or "")
        assert outcome.text or "forbidden" not in log.status
        assert bool(list(fake.store.list(JOBS))) is outcome.job_stays


async def test_changes_that_one_run_cannot_read_are_applied_by_the_next_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = STRATEGIES["none, upload"]
    granted = printed_rights(strategy, capsys)
    async with cluster_with(strategy, tmp_path, granted - {("get", "pods/log")}) as (fake, adapter):
        await run(adapter, strategy, tmp_path)
        fake.faults.denied.clear()
        assert (tmp_path / "project" / "README").read_text() == OLD_README
        await run(adapter, strategy, tmp_path)
        assert (tmp_path / "project" / "README").read_text() == NEW_README
