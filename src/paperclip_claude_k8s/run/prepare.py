"""Makes a plan from what the host passed. Everything is resolved before anything is created."""

import os
import secrets
from dataclasses import replace
from functools import partial

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigRefused
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext, StoppableContext
from paperclip_claude_k8s.host.policy import Policy, Refusal
from paperclip_claude_k8s.plan.bundle import Packed, PathRefused, path_part
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.paths import COMPANY_FOLDERS, POD_HOME
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.requirements import requirements, unmet
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.workspace import Workspace
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.run.admit import admit_plan, volume_refusal
from paperclip_claude_k8s.run.begin import skill_summary
from paperclip_claude_k8s.run.home_pod import find_home_pod, with_claim
from paperclip_claude_k8s.run.mcp_baseline import read_baseline
from paperclip_claude_k8s.run.mcp_servers import resolve_servers
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.session_claim import look_up_session_claim
from paperclip_claude_k8s.run.workspace_choice import find_workspace
from paperclip_claude_k8s.volume.company_folders import make_company_folder
from paperclip_claude_k8s.volume.packing import PackInputs, pack


async def prepare(
    ctx: StoppableContext, identity: Identity, config: AdapterConfig, ports: Ports, narrator: Narrator
) -> tuple[Planner, RunPlan]:
    """Collect everything that a plan needs, make the first plan, and report its notes.

    Raises:
        RunFailure: what `find_site`, `look_up_session_claim`, `find_workspace`, `pack`, `Planner.plan` and
            `admit_plan` raise; `k8s_config_invalid` for ids that cannot name a folder and for an API server
            that is too old for the settings in use.
    """
    await _check_server_version(config, ports, narrator)
    resolved = await resolve_servers(ctx, narrator)
    site = await find_site(config, ports, narrator)
    if ports.settings.policy.company_volumes:
        seconds = ports.settings.timings.host_file
        config, site = await _in_company_folder(ctx.agent.company_id, config, site, seconds)
    claim = await look_up_session_claim(config, identity, site.namespace, ports, narrator)
    site = replace(site, session_claim=claim)
    site = replace(site, workspace=await find_workspace(ctx, config, site, ports.settings))
    baseline = await read_baseline(resolved, config, ports.settings, site.volume_here)
    if baseline.note is not None:
        await narrator.warn(baseline.note)
    packed = await _pack(resolved, config, site, ports)
    planner = Planner(resolved, identity, config, replace(site, packed=packed, mcp_baseline=baseline.servers))
    plan = planner.plan()
    admit_plan(plan, ports.settings)
    await narrate_workspace(plan.workspace, narrator)
    await narrator.status(f"Skills bundled {skill_summary(plan)}")
    for note in plan.notes:
        await narrator.status(note)
    return planner, plan


async def narrate_workspace(workspace: Workspace, narrator: Narrator) -> None:
    """Write the line about the workspace: a warning if the agent does not get the project's files."""
    write_line = narrator.warn if workspace.lacks_files else narrator.status
    await write_line(workspace.line)
    if workspace.source is not None and workspace.source.note:
        await narrator.warn(workspace.source.note)


async def find_site(config: AdapterConfig, ports: Ports, narrator: Narrator) -> RunSite:
    """Find namespace, image, home pod and shared volume.

    Raises:
        RunFailure: `k8s_home_pod_unavailable`, retryable if the API server could not be reached for
            `Timings.retry_budget`; `k8s_config_invalid` for a kubeconfig or a shared volume that cannot be
            used; `k8s_policy_refused` for one that the policy does not allow, and for a `claimName` that it
            does not allow beside the home pod's claim.
    """
    env, own = ports.settings.env, await own_namespace(ports)
    namespace = await job_namespace(config.namespace, config.kubeconfig, ports)
    home = await find_home_pod(config, own, namespace, ports, narrator)
    image = config.image or (home.image if home is not None else "")
    own_claim = home.claim_name if home is not None else ""
    if config.claim_name is None or config.claim_name == own_claim:
        volume = await _volume_here(config, home, ports.settings)
    else:
        _admit_other_claim(own_claim, ports.settings.policy)
        volume = await _volume_here(config, None, ports.settings)  # here, /paperclip is another claim
        home = with_claim(home, config.claim_name)
    return RunSite(namespace, image, home, env, secrets.token_hex(4), volume)


def _admit_other_claim(own_claim: str, policy: Policy) -> None:
    """Refuse a claim in place of the host's own claim, if each company gets one folder of the host's claim.

    With another claim in its place, the host's claim would no longer count as the shared one, and
    `podTemplate` could mount all of it.
    """
    if own_claim and policy.company_volumes:
        why = "companyVolumes is true, so agents use the claim of the host's own Pod"
        raise RunFailure(failures.policy_refused(Refusal("claimName", why, "companyVolumes")))


async def job_namespace(configured: str | None, kubeconfig: str | None, ports: Ports) -> str:
    """The namespace of the Jobs: the setting, else that of the kubeconfig's context, else the home pod's.

    Raises RunFailure as `own_namespace` does.
    """
    own = await own_namespace(ports)
    of_context = await ports.cluster.default_namespace() if kubeconfig is not None else None
    return configured or of_context or own


async def own_namespace(ports: Ports) -> str:
    """The namespace of the home pod: from the environment, else that of the kubeconfig or service account.

    Raises:
        RunFailure: `k8s_config_invalid`, the kubeconfig cannot be used; `k8s_policy_refused`, the policy does
            not allow the kubeconfig.
    """
    try:
        default = await ports.cluster.default_namespace() or "default"
    except KubeconfigRefused as error:
        refusal = Refusal("kubeconfig", error.rule, error.allowed_by)
        raise RunFailure(failures.policy_refused(refusal)) from None
    except ClusterError as error:
        raise RunFailure(failures.config_invalid(error.message)) from None
    return ports.settings.env.get("PAPERCLIP_NAMESPACE") or ports.settings.env.get("POD_NAMESPACE") or default


async def _check_server_version(config: AdapterConfig, ports: Ports, narrator: Narrator) -> None:
    """Check that the API server knows the fields in use. Its version is read only if a setting needs one.

    Raises RunFailure `k8s_config_invalid`, naming the setting and both versions.
    """
    if not requirements(config):
        return
    call = Retrier(ports.settings.timings, narrator)
    try:
        version = await call("read version", ports.cluster.server_version)
    except ClusterError as error:
        names = ", ".join(setting for setting, _ in requirements(config))
        await narrator.warn(f"Could not read the API server's version ({error}); {names} may have no effect")
        return
    for setting, needed in unmet(config, version):
        raise RunFailure(failures.server_too_old(setting, needed, version))


async def _pack(ctx: ExecutionContext, config: AdapterConfig, site: RunSite, ports: Ports) -> Packed:
    """Pack instructions and skills: on the shared volume if host and agent mount it, else in the Secret."""
    settings, pod_has_volume = ports.settings, site.home is not None and site.home.claim_name
    volume = site.volume_here if pod_has_volume else None
    trusted = settings.folders.trusted_volume(config.shared_volume_dir) if volume is not None else None
    if site.company_folder:
        trusted = volume  # the company's folder, without those of other companies
    inputs = PackInputs(
        config=ctx.config,
        instructions=config.instructions_file_path,
        company=ctx.agent.company_id,
        env=settings.env,
        volume=volume,
        limits=settings.limits,
        instruction_rule=settings.folders.instructions(trusted),
        skill_rule=settings.folders.skills(trusted),
        seconds=settings.timings.volume_files,
    )
    try:
        return await pack(inputs)
    except PathRefused as error:
        raise RunFailure(failures.config_invalid(str(error))) from None
    except TimeoutError:
        where = "their folders" if volume is None else f"the shared volume at {volume}"
        why = (
            f"instructions and skills could not be read and written within {inputs.seconds:g} s; "
            f"check whether {where} can be reached from here"
        )
        raise RunFailure(failures.config_invalid(why)) from None


async def _in_company_folder(
    company: str | None, config: AdapterConfig, site: RunSite, seconds: float
) -> tuple[AdapterConfig, RunSite]:
    """The config and the site with the company's folder in place of the shared volume.

    Raises RunFailure `k8s_config_invalid`: the id cannot name a folder, or the folder cannot be made.
    """
    try:
        folder = f"{COMPANY_FOLDERS}/{path_part(company or 'none')}"
        if site.volume_here is None:
            return config, replace(site, company_folder=folder)
        make, place = partial(make_company_folder, site.volume_here, folder), place_of(site.volume_here)
        here = await call_in_thread(make, seconds, place)
    except (PathRefused, OSError) as error:
        reason = str(error) or "no answer in time"
        why = f"the company's folder on the shared volume cannot be used: {reason}"
        raise RunFailure(failures.config_invalid(why)) from None
    inside = config.model_copy(update={"shared_volume_dir": here})
    return inside, replace(site, volume_here=here, company_folder=folder)


async def _volume_here(config: AdapterConfig, home: HomePod | None, settings: ProcessSettings) -> str | None:
    """The path of the shared volume in this process: as configured, else where the home pod mounts it.

    Raises RunFailure: `k8s_policy_refused`, links lead from the configured path to another folder;
        `k8s_config_invalid`, the volume does not answer.
    """
    inherited = POD_HOME if home is not None and home.claim_name else None
    volume = config.shared_volume_dir or inherited
    if volume is None:
        return None
    look, seconds = partial(_look_at, volume, config, settings), settings.timings.host_links
    try:
        refusal, is_folder = await call_in_thread(look, seconds, place_of(volume))
    except TimeoutError:
        why = f"the shared volume at {volume} did not answer within {seconds:g} s; check its mount here"
        raise RunFailure(failures.config_invalid(why)) from None
    if refusal is not None:
        raise RunFailure(failures.policy_refused(refusal))
    return volume if is_folder else None


def _look_at(volume: str, config: AdapterConfig, settings: ProcessSettings) -> tuple[Refusal | None, bool]:
    """Why the policy does not allow the volume, and whether it is a folder. Blocks."""
    refusal = None if config.shared_volume_dir is None else volume_refusal(volume, settings)
    return refusal, os.path.isdir(volume)  # noqa: PTH112  # not a Path
