"""From what the host handed in to a plan: everything is resolved before anything is created."""

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.bundle import Packed, PathRefused
from paperclip_claude_k8s.plan.identity import Identity, identify
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.mcp_servers import ask_for_servers, read_baseline
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.requirements import check_requirements
from paperclip_claude_k8s.volume.packing import Wanted, pack

HOME_CONTAINER = "paperclip"
"""The host's own container in the home pod; where there is none of that name, the first one."""


def read_config(ctx: ExecutionContext) -> AdapterConfig:
    """Raises RunFailure `k8s_config_invalid`, naming key, value and what is expected."""
    target = ctx.execution_target or {}
    if target.get("kind") == "remote":  # a machine of the host's own, not a Job
        raise RunFailure(failures.remote_target(str(target.get("transport") or "remote")))
    try:
        return AdapterConfig.read(ctx.config)
    except ConfigInvalid as error:
        raise RunFailure(failures.config_invalid(str(error))) from None


def identity_of(ctx: ExecutionContext) -> Identity:
    """Raises RunFailure `k8s_agent_id_invalid`."""
    who = identify(ctx)
    if who is None:
        raise RunFailure(failures.agent_id_invalid(ctx.agent.id))
    return who


async def prepare(
    ctx: ExecutionContext, who: Identity, config: AdapterConfig, ports: Ports, say: Narrator
) -> tuple[Planner, RunPlan]:
    """Find out where the run happens, make every choice, and say which are not what was wished.

    Raises:
        RunFailure: what `find_site` raises; `k8s_config_invalid` for ids that cannot name a folder and for
            a server that is too old.
    """
    await check_requirements(config, ports, say)
    ctx, site = await ask_for_servers(ctx, say), await find_site(config, ports, say)
    baseline = await read_baseline(ctx, config, ports.settings.env, site.volume_here)
    packed = await _packed(ctx, config, site, ports)
    planner = Planner(ctx, who, config, replace(site, packed=packed, mcp_baseline=baseline))
    plan = planner.plan()
    for note in plan.notes:
        await say.status(note)
    return planner, plan


async def find_site(config: AdapterConfig, ports: Ports, say: Narrator) -> RunSite:
    """Namespace, image and home pod: what Jobs inherit, read once before anything is decided.

    Raises:
        RunFailure: `k8s_home_pod_unavailable`, transient where the API server stayed out of reach for
            `Timings.retry_budget`; `k8s_config_invalid` for a kubeconfig that cannot be used.
    """
    env, own = ports.settings.env, await own_namespace(ports)
    home = await _home_pod(config, own, ports, say)
    image = config.image or (home.image if home is not None else "")
    volume = await _volume_here(config.shared_volume_dir, home)
    return RunSite(config.namespace or own, image, home, env, secrets.token_hex(4), volume)


async def _packed(ctx: ExecutionContext, config: AdapterConfig, site: RunSite, ports: Ports) -> Packed:
    """Instructions and skills where the Pod finds them: on the shared volume if both sides mount it."""
    settings, in_pod = ports.settings, site.home is not None and site.home.claim_name
    volume = site.volume_here if in_pod else None
    company, path = ctx.agent.company_id, config.instructions_file_path
    try:
        return await pack(Wanted(ctx.config, path, company, settings.env, volume, settings.limits))
    except PathRefused as error:
        raise RunFailure(failures.config_invalid(str(error))) from None


async def _volume_here(configured: str | None, home: HomePod | None) -> str | None:
    """The shared volume in our own file system: where the config says, else where the home pod mounts it."""
    inherited = POD_HOME if home is not None and home.claim_name else None
    volume = configured or inherited
    if volume is None:
        return None
    return volume if await asyncio.to_thread(Path(volume).is_dir) else None


async def own_namespace(ports: Ports) -> str:
    """Where the home pod lives; Jobs run there too unless the config says otherwise (SPEC 3).

    Raises RunFailure `k8s_config_invalid`: the kubeconfig cannot be used.
    """
    try:
        default = await ports.cluster.default_namespace() or "default"
    except ClusterError as error:
        raise RunFailure(failures.config_invalid(error.message)) from None
    return ports.settings.env.get("PAPERCLIP_NAMESPACE") or ports.settings.env.get("POD_NAMESPACE") or default


async def _home_pod(config: AdapterConfig, namespace: str, ports: Ports, say: Narrator) -> HomePod | None:
    """With a kubeconfig and an image of its own a run needs no home."""
    if config.kubeconfig and config.image:
        return None
    name = ports.settings.env.get("HOSTNAME", "")
    if not name:
        raise RunFailure(failures.home_pod_unavailable("(HOSTNAME is not set)", "it has no name"))
    call = Retrier(ports.settings.timings, say)
    try:
        home = await call("read home pod", lambda: ports.cluster.home_pod(namespace, name, HOME_CONTAINER))
    except ClusterError as error:
        raise RunFailure(failures.home_pod_unavailable(f"{namespace}/{name}", str(error), error)) from None
    if home is None:
        raise RunFailure(failures.home_pod_unavailable(f"{namespace}/{name}", "there is no such Pod"))
    return home
