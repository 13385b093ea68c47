"""Plans, Jobs and run Secrets for tests, built the way a run builds them."""

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
"""A home pod (the Pod of the Paperclip host) with a shared volume and no environment."""


async def _ignore(_stream: str, _text: str) -> None:
    """An `onLog` that drops everything."""


def a_context(**more: Any) -> ExecutionContext:
    """The context of a run; `more` replaces whole top-level keys."""
    given: dict[str, Any] = {
        "runId": "run-1",
        "agent": {"id": "ada", "companyId": "co", "name": "Ada"},
        "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Say hello."},
        "authToken": "canary-token",
        "onLog": _ignore,
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
    """A plan. `config` holds settings under their names in camelCase; pass dotted keys as `**{"a.b": …}`.

    `home`: the host's Pod. `volume_here`: where this process mounts the shared volume. `packed`: the prompt
    bundle. `fresh`: this is the second attempt, in a fresh session.
    """
    ctx = ctx or a_context()
    identity = identify(ctx)
    assert identity is not None
    image = config.get("image", "home/image:1")
    site = RunSite(
        namespace="ns",
        image=image,
        home=home,
        process_env={},
        nonce="0123abcd",
        volume_here=volume_here,
        packed=packed or Packed(),
    )
    return Planner(ctx, identity, AdapterConfig.read(config), site).plan(fresh=fresh)


def the_job(ctx: ExecutionContext | None = None, **options: Any) -> dict[str, Any]:
    """The Job of a plan that `a_plan` makes of the same arguments, as plain JSON."""
    job: dict[str, Any] = json.loads(json.dumps(job_manifest(a_plan(ctx, **options))))
    return job


def the_secret(ctx: ExecutionContext | None = None, **options: Any) -> dict[str, Any]:
    """The run Secret of a plan that `a_plan` makes of the same arguments; the Job's uid is `uid-1`."""
    secret: dict[str, Any] = json.loads(
        json.dumps(secret_manifest(a_plan(ctx, **options), JobRef("ns", "job", "uid-1")))
    )
    return secret
