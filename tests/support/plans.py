"""Whole plans for tests, made the way a run makes them."""

import json
from typing import Any

from paperclip_claude_k8s.cluster.model import HomePod, JobRef
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.bundle import Packed
from paperclip_claude_k8s.plan.identity import identify
from paperclip_claude_k8s.plan.manifest import job_manifest, secret_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite

HOME = HomePod(namespace="ns", name="paperclip-0", image="home/image:1", claim_name="data")


async def _deaf(_stream: str, _text: str) -> None:
    """A host that does not listen."""


def a_context(**more: Any) -> ExecutionContext:
    given: dict[str, Any] = {
        "runId": "run-1",
        "agent": {"id": "ada", "companyId": "co", "name": "Ada"},
        "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Say hello."},
        "authToken": "canary-token",
        "onLog": _deaf,
    }
    return ExecutionContext.read({**given, **more})


def a_plan(
    ctx: ExecutionContext | None = None,
    *,
    home: HomePod | None = HOME,
    volume_here: str | None = None,
    packed: Packed | None = None,
    fresh: bool = False,
    **config: Any,
) -> RunPlan:
    """`config` holds settings under their wire names; `a.b` keys come as a mapping `**{"a.b": …}`."""
    ctx = ctx or a_context()
    who = identify(ctx)
    assert who is not None
    image = config.get("image", "home/image:1")
    site = RunSite("ns", image, home, {}, "0123abcd", volume_here, packed or Packed())
    return Planner(ctx, who, AdapterConfig.read(config), site).plan(fresh=fresh)


def the_job(ctx: ExecutionContext | None = None, **wishes: Any) -> dict[str, Any]:
    """The Job of such a plan, as plain JSON."""
    job: dict[str, Any] = json.loads(json.dumps(job_manifest(a_plan(ctx, **wishes))))
    return job


def the_secret(ctx: ExecutionContext | None = None, **wishes: Any) -> dict[str, Any]:
    """Its run Secret; the Job's uid is `uid-1`."""
    secret: dict[str, Any] = json.loads(
        json.dumps(secret_manifest(a_plan(ctx, **wishes), JobRef("ns", "job", "uid-1")))
    )
    return secret
