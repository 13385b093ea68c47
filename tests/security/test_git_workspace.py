"""Containers that count for `maxCpu` and `maxMemory` if the agent has a workspace cloned by git."""

from typing import Any

import pytest
from tests.support.plans import a_context

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.plan.git_source import GitSource
from paperclip_claude_k8s.plan.identity import identify
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.pod_admission import plan_refusals
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.workspace import Workspace

POLICY = Policy.read({"maxCpu": "4", "maxMemory": "8Gi"})
CLONED = Workspace(
    "git",
    workdir="/workspace/app",
    reason="of a test",
    source=GitSource("https://host/app.git", name="app", scheme="https", host="host"),
)


def a_plan_with_a_clone(**config: Any) -> RunPlan:
    ctx = a_context()
    identity = identify(ctx)
    assert identity is not None
    given = {"image": "i:1", "resources": {"limits": {"cpu": "4", "memory": "8Gi"}}, **config}
    site = RunSite("ns", "i:1", home=None, process_env={}, nonce="0123abcd", workspace=CLONED)
    return Planner(ctx, identity, AdapterConfig.read(given), site).plan()


def test_pushing_container_does_not_count_for_max_cpu_and_max_memory() -> None:
    assert plan_refusals(a_plan_with_a_clone(), POLICY) == ()


@pytest.mark.parametrize("name", ["git-push", "other"])
def test_container_of_a_pod_template_counts_for_max_cpu_and_max_memory(name: str) -> None:
    limits = {"limits": {"cpu": "2", "memory": "2Gi"}}
    container = {"name": name, "image": "i:1", "resources": limits}
    plan = a_plan_with_a_clone(podTemplate={"spec": {"containers": [container]}})
    assert {refusal.field for refusal in plan_refusals(plan, POLICY)} == {"maxCpu", "maxMemory"}
