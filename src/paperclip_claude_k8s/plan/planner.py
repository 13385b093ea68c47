"""Makes a `RunPlan` from the host's context, the config and the run's site: each choice is made once, here.

`Planner.plan` is pure: it looks nothing up and creates nothing. It first resolves the parts that may hold
secrets (environment, MCP servers, `podTemplate`), because their values must not appear in the other parts;
then session, prompt and command line; last the notes, which tell the host where the plan differs from the
config or needs attention. `manifest.py` turns the plan into a Job and a Secret.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.claude.command import CommandOptions, command_line
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.models import is_bedrock_id
from paperclip_claude_k8s.host.session import ResumeDecision, SessionPlace, decide_resume
from paperclip_claude_k8s.plan.bundle import Packed, with_archive, without_skills
from paperclip_claude_k8s.plan.delivery import OBJECT_BYTES
from paperclip_claude_k8s.plan.environment import Environment, layer_environment
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.inherited import inherited_environment
from paperclip_claude_k8s.plan.manifest import pod_template
from paperclip_claude_k8s.plan.mcp import McpPlan, plan_mcp
from paperclip_claude_k8s.plan.pod_admission import reach_notes
from paperclip_claude_k8s.plan.pod_security import violations
from paperclip_claude_k8s.plan.pod_template import Overlay, apply_overlay, read_overlay, refused_paths
from paperclip_claude_k8s.plan.prompt import assemble_prompt
from paperclip_claude_k8s.plan.rtk import rtk_arguments
from paperclip_claude_k8s.plan.run_log import plan_run_log, tee_run_log_notes
from paperclip_claude_k8s.plan.run_plan import RunPlan, wake_digest
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.secrets import (
    SecretParts,
    public_command,
    public_files,
    public_prompt,
    without_secrets,
)
from paperclip_claude_k8s.plan.session_volume import ClaimFacts, choose_session_volume, session_volume_notes
from paperclip_claude_k8s.plan.volumes import hidden_mounts
from paperclip_claude_k8s.plan.wake import WakePayload, read_wake_payload
from paperclip_claude_k8s.plan.workspace import Workspace, choose_workspace, gather_facts, workspace_of


@dataclass(frozen=True, slots=True)
class Planner:
    """The inputs of all plans of one run. A second attempt, or a run without Secrets, gets another plan."""

    ctx: ExecutionContext = field(repr=False)
    identity: Identity
    config: AdapterConfig = field(repr=False)
    site: RunSite = field(repr=False)

    def plan(self, *, fresh: bool = False, session: str | None = None, secretless: bool = False) -> RunPlan:
        """Make every choice of one attempt.

        Args:
            fresh: start a fresh session; for the second attempt, if the first could not resume the session.
            session: resume this session, not the one that the host names. It is that of an earlier run of the
                agent, which has ended without its result being collected.
            secretless: leave out everything that only a Secret may carry.

        Raises:
            RunFailure: `k8s_prompt_too_large`, if a template with its values in place is too long.
        """
        ctx, config, site = self.ctx, self.config, self.site
        if secretless or config.prompt_delivery == "init":
            why = "an init container delivers the prompt, and there is no shared volume"
            site = replace(site, packed=without_skills(site.packed, why))
        workspace = site.workspace or _workspace_to_examine(ctx, config, site)
        workdir, attempt = workspace.workdir, 2 if fresh else 1
        wake = read_wake_payload(ctx.context.get("paperclipWake"))
        parts, known_secrets = self._secret_parts(wake, workdir, attempt, secretless=secretless)
        volume = choose_session_volume(config, self.identity, site.home, site.session_claim)
        resumption = decide_resume(
            ctx,
            cwd=workdir,
            prompt_bundle_key=site.packed.key,
            mcp_identity=parts.mcp.identity,
            place=SessionPlace(volume.identity, volume.why_lost or volume.why_empty),
        )
        resume = session or resumption.session_id
        if fresh or not volume.may_have_sessions:
            resume = None
        claim_name = site.home.claim_name if site.home else ""
        prompt = assemble_prompt(ctx, config, wake, resumed=resume is not None)
        argv = command_line(_options(config, site.packed, parts, resume))
        files = site.packed.files
        plan = RunPlan(
            identity=self.identity,
            namespace=site.namespace,
            config=config,
            image=site.image,
            argv=public_command(argv, known_secrets) if secretless else argv,
            prompt=public_prompt(prompt, known_secrets) if secretless else prompt,
            environment=parts.environment,
            mcp=parts.mcp,
            overlay=parts.overlay,
            secretless=secretless,
            workdir=workdir,
            workspace=workspace,
            nonce=site.nonce,
            wake_digest=wake_digest(ctx),
            agent_name=ctx.agent.name or "",
            traceparent=ctx.traceparent or "",
            resume=resume,
            why_fresh=_why_fresh(resumption, resume, fresh=fresh),
            retry_of=_text_of(ctx, "retryOfRunId"),
            retry_reason=_text_of(ctx, "retryReason"),
            run_log=plan_run_log(config, self.identity, claim_name, site.volume_here, attempt),
            volume_here=site.volume_here,
            company_folder=site.company_folder,
            home=site.home,
            session_volume=volume,
            packed=replace(site.packed, files=public_files(files, known_secrets) if secretless else files),
            attempt=attempt,
            session_params={
                **_session_params(ctx, workdir, site.packed, parts.mcp),
                **({"sessionVolume": volume.identity} if volume.identity else {}),
            },
            notes=(
                *_notes_on_choices(config, resumption, parts),
                *site.packed.notes,
                *session_volume_notes(config, volume, site.session_claim),
                *tee_run_log_notes(config, claim_name, site.volume_here),
            ),
        )
        if plan.packed.skill_files and plan.object_bytes > OBJECT_BYTES:
            # The skills do not fit into the run Secret: plan again with the skills in Secrets of their own.
            planner = replace(self, site=replace(site, packed=with_archive(site.packed)))
            return planner.plan(fresh=fresh, session=session, secretless=secretless)
        return replace(plan, notes=(*plan.notes, *_notes_on_inheritance(plan), *_notes_on_the_pod(plan)))

    def without_session_volume(self, why: str) -> "Planner":
        """The planner of a run for which `auto` could not create a claim. `why`: a clause for the log."""
        return replace(self, site=replace(self.site, session_claim=ClaimFacts(forbidden=why)))

    def _secret_parts(
        self, wake: WakePayload, workdir: str, attempt: int, *, secretless: bool
    ) -> tuple[SecretParts, frozenset[str]]:
        """The parts of a plan that may hold secrets, and all secret values, even those that were left out."""
        ctx, config, site = self.ctx, self.config, self.site
        environment = layer_environment(ctx, wake, config, site, workdir)
        mcp = plan_mcp(ctx, config, site.mcp_baseline, environment.api_url)
        overlay = read_overlay(config.pod_template, self.identity.job_name(attempt))
        parts = SecretParts(environment, mcp, overlay)
        return without_secrets(parts) if secretless else parts, parts.secrets


def _notes_on_inheritance(plan: RunPlan) -> Iterator[str]:
    """What the home pod has and the agent's Pod does not get."""
    if plan.home is None:
        return
    lost = [f"{mount.path} ({mount.why})" for mount in plan.home.not_inherited]
    lost += [f"{path} (the adapter uses this folder)" for path in hidden_mounts(plan)]
    if lost:
        yield f"Volumes of the home pod that the agent does not get: {', '.join(lost)}"
    inherited, config = inherited_environment(plan.home), plan.config
    identity = [name for name in inherited.identity if name not in config.env]
    if identity and not config.service_account_name:
        yield (
            "The agent does not get the cloud identity of the host's service account "
            f"({', '.join(identity)}); set `serviceAccountName` to an account that has one"
        )
    fileless = [name for name in inherited.fileless if name not in config.env]
    if fileless:
        yield f"Variables that name a file on a volume that the agent does not get: {', '.join(fileless)}"


def _notes_on_the_pod(plan: RunPlan) -> Iterator[str]:
    """What the overlay could not change, and each rule of `restricted` that the Pod does not meet."""
    template = pod_template(plan)
    refused = refused_paths(template, plan.overlay)
    if refused:
        yield f"podTemplate: required fields were not overridden: {', '.join(refused)}"
    if plan.overlay.left_out:
        yield (
            f"podTemplate: left out {', '.join(plan.overlay.left_out)}: the value looks like a credential, "
            "and everyone who may read Pods could read it; use a Secret"
        )
    for violation in violations(apply_overlay(template, plan.overlay)):
        yield f"Weaker than the Pod Security Standard `restricted`: {violation}"
    yield from reach_notes(plan)
    if plan.config.enable_docker:
        yield "enableDocker: its daemon is privileged, so whoever controls the agent controls the node"


def _why_fresh(resumption: ResumeDecision, resume: str | None, *, fresh: bool) -> str:
    if fresh:
        return "the CLI could not resume it"
    return "" if resume else resumption.reason or ""


def _text_of(ctx: ExecutionContext, key: str) -> str | None:
    value = ctx.context.get(key)
    return value if isinstance(value, str) and value else None


def _notes_on_choices(config: AdapterConfig, resumption: ResumeDecision, parts: SecretParts) -> Iterator[str]:
    """Where session, model, variables and MCP servers differ from the config or need attention."""
    environment, mcp = parts.environment, parts.mcp
    if config.model and not _model_to_pass(config, environment):
        yield f"Model {config.model} is not passed on: Bedrock accepts only its own model ids and ARNs"
    if resumption.reason:
        yield f"Starting a fresh session: {resumption.reason}"
    if environment.overruled:
        yield f"Ignored config env, because the run sets it: {', '.join(environment.overruled)}"
    if environment.oversized:
        yield f"Too long for the environment, delivered as files: {', '.join(environment.oversized)}"
    if mcp.servers:
        yield f"MCP servers ({len(mcp.servers)}): {', '.join(sorted(mcp.servers))}"
    if parts.shown:
        yield (
            f"Plain in the Job, where others may read them: {', '.join(parts.shown)}; with the right "
            "`create secrets` all of config `env` travels in a Secret"
        )
    if parts.lost:
        yield (
            f"The agent runs without {', '.join(parts.lost)}: this process may not create Secrets, and a Job "
            "must not contain secrets; grant `create secrets` (`claude-k8s rbac` prints the Role)"
        )


def _workspace_to_examine(ctx: ExecutionContext, config: AdapterConfig, site: RunSite) -> Workspace:
    """The workspace of a plan that is only examined: chosen by the folder's path, without a repository."""
    has_volume = site.home is not None and bool(site.home.claim_name)
    return choose_workspace("auto", gather_facts(ctx, config, has_volume=has_volume))


def _model_to_pass(config: AdapterConfig, environment: Environment) -> str | None:
    """The model for the command line; None lets the Claude CLI choose.

    If the agent uses Bedrock, a name that is no Bedrock id is not passed on.
    """
    is_unusable = config.model and environment.on_bedrock and not is_bedrock_id(config.model)
    return None if is_unusable else config.model


def _options(config: AdapterConfig, packed: Packed, parts: SecretParts, resume: str | None) -> CommandOptions:
    return CommandOptions(
        resume=resume,
        skip_permissions=config.dangerously_skip_permissions,
        as_root=_runs_as_root(config, parts.overlay),
        allowed_tools=config.allowed_tools,
        model=_model_to_pass(config, parts.environment),
        effort=config.effort,
        max_turns=config.max_turns_per_run,
        max_cost_usd=config.max_cost_usd_per_run,
        system_prompt_file=packed.instructions_file,
        add_dir=packed.root,
        mcp_config=parts.mcp.file,
        mcp_servers=tuple(parts.mcp.servers),
        extra_args=(*rtk_arguments(config), *config.extra_args),
    )


def _runs_as_root(config: AdapterConfig, overlay: Overlay) -> bool:
    """Whether the agent is root: by its container in `podTemplate`, else the Pod there, else the config."""
    spec = get_object(overlay.template, "spec")
    agents = [c for c in get_objects(spec, "containers") if c.get("name") == AGENT_CONTAINER]
    for part in (*agents, spec):
        context = get_object(part, "securityContext")
        if "runAsUser" in context:
            return bool(context["runAsUser"] == 0)
    return config.run_as_user == 0


def _session_params(ctx: ExecutionContext, workdir: str, packed: Packed, mcp: McpPlan) -> dict[str, str]:
    """What is stored with the session id: the next run resumes the session only if this has not changed."""
    params = {
        "cwd": workdir,
        "promptBundleKey": packed.key,
        "mcpServerIdentity": mcp.identity,
        **{key: workspace_of(ctx).get(key) for key in ("workspaceId", "repoUrl", "repoRef")},
    }
    return {key: value for key, value in params.items() if isinstance(value, str) and value}
