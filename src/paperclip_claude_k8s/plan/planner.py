"""All choices of a run, resolved once from what the host, the config and the home pod say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s.claude.command import CommandOptions, command_line
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.models import is_bedrock_id
from paperclip_claude_k8s.host.session import ResumeRequest, resume_request
from paperclip_claude_k8s.plan.bundle import Packed
from paperclip_claude_k8s.plan.environment import Environment, layer_environment
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.manifest import pod_template
from paperclip_claude_k8s.plan.mcp import McpPlan, plan_mcp
from paperclip_claude_k8s.plan.paths import POD_HOME, to_pod_path
from paperclip_claude_k8s.plan.pod_security import weaknesses
from paperclip_claude_k8s.plan.pod_template import lay_over, read_overlay, what_stayed
from paperclip_claude_k8s.plan.prompt import assemble_prompt
from paperclip_claude_k8s.plan.rtk import rtk_arguments
from paperclip_claude_k8s.plan.run_log import plan_run_log, why_without_effect
from paperclip_claude_k8s.plan.run_plan import RunPlan, wake_digest
from paperclip_claude_k8s.plan.secretless import (
    Parts,
    public_command,
    public_files,
    public_prompt,
    without_secrets,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a run happens: what `prepare` found out before anything was decided."""

    namespace: str
    image: str
    home: HomePod | None
    process_env: Mapping[str, str]
    nonce: str
    volume_here: str | None = None
    """Where the shared volume is mounted in this process's own file system; None where it is not."""
    packed: Packed = field(default_factory=Packed)
    """The prompt bundle, and where the Pod finds it."""
    mcp_baseline: Mapping[str, object] = field(default_factory=dict, repr=False)
    """MCP servers by name that every agent of the shared volume gets."""


@dataclass(frozen=True, slots=True)
class Planner:
    """All that a plan of this run is made of; another attempt may need another plan."""

    ctx: ExecutionContext = field(repr=False)
    who: Identity
    config: AdapterConfig = field(repr=False)
    setting: Setting = field(repr=False)

    def plan(self, *, fresh: bool = False, session: str | None = None, secretless: bool = False) -> RunPlan:
        """As `plan_run`."""
        return plan_run(
            self.ctx,
            self.who,
            self.config,
            self.setting,
            fresh=fresh,
            session=session,
            secretless=secretless,
        )


def plan_run(  # noqa: PLR0913  # what a plan is made of, and three ways to differ
    ctx: ExecutionContext,
    who: Identity,
    config: AdapterConfig,
    setting: Setting,
    *,
    fresh: bool = False,
    session: str | None = None,
    secretless: bool = False,
) -> RunPlan:
    """Resolve everything.

    `fresh` leaves the wished session out: the second attempt after a lost session. `session` takes another
    one's place: that of a finished run of this agent whose result nobody took. `secretless` leaves out what
    only a Secret may carry.
    """
    workdir = working_dir(ctx, config)
    attempt = 2 if fresh else 1
    environment = layer_environment(
        ctx, config, setting.home, workdir=workdir, process_env=setting.process_env
    )
    packed, mcp = setting.packed, plan_mcp(ctx, config, setting.mcp_baseline, environment.api_url)
    whole = Parts(environment, mcp, read_overlay(config.pod_template, who.job_name(attempt)))
    parts = without_secrets(whole) if secretless else whole
    wish = resume_request(ctx, cwd=workdir, prompt_bundle_key=packed.key, mcp_identity=parts.mcp.identity)
    resume = None if fresh else session or wish.session_id
    claim = setting.home.claim_name if setting.home else ""
    prompt = assemble_prompt(ctx, config, resumed=resume is not None)
    argv = command_line(_options(config, packed, parts, resume))
    plan = RunPlan(
        identity=who,
        namespace=setting.namespace,
        config=config,
        image=setting.image,
        argv=public_command(argv, whole.secrets) if secretless else argv,
        prompt=public_prompt(prompt, whole.secrets) if secretless else prompt,
        environment=parts.environment,
        mcp=parts.mcp,
        overlay=parts.overlay,
        secretless=secretless,
        workdir=workdir,
        nonce=setting.nonce,
        wake_digest=wake_digest(ctx),
        agent_name=ctx.agent.name or "",
        resume=resume,
        retry_of=_retry_of(ctx),
        run_log=plan_run_log(config, who, claim, setting.volume_here, attempt),
        volume_here=setting.volume_here,
        home=setting.home,
        bundle_files=public_files(packed.files, whole.secrets) if secretless else packed.files,
        attempt=attempt,
        session_params=_session_params(ctx, workdir, packed, parts.mcp),
        notes=(
            *_notes(config, wish, parts),
            *packed.notes,
            *why_without_effect(config, claim, setting.volume_here),
        ),
    )
    return replace(plan, notes=(*plan.notes, *_notes_on_the_pod(plan)))


def _notes_on_the_pod(plan: RunPlan) -> Iterator[str]:
    """What an overlay could not change, and each way in which the Pod is weaker than `restricted`."""
    template = pod_template(plan)
    stayed = what_stayed(template, plan.overlay)
    if stayed:
        yield f"podTemplate: what a run cannot do without stays as it is: {', '.join(stayed)}"
    for found in weaknesses(lay_over(template, plan.overlay)):
        yield f"Weaker than the Pod Security Standard `restricted`: {found}"
    if plan.config.enable_docker:
        yield "enableDocker: its daemon is privileged, so whoever controls the agent controls the node"


def _retry_of(ctx: ExecutionContext) -> str | None:
    run = ctx.context.get("retryOfRunId")
    return run if isinstance(run, str) and run else None


def _notes(config: AdapterConfig, wish: ResumeRequest, parts: Parts) -> Iterator[str]:
    environment, mcp = parts.environment, parts.mcp
    if config.model and not _model(config, environment):
        yield f"Model {config.model} is left out: on Bedrock a model goes by Bedrock's own id or ARN"
    if wish.why_not:
        yield f"Starting a fresh session: {wish.why_not}"
    if environment.overruled:
        yield f"Config env that the run itself sets, ignored: {', '.join(environment.overruled)}"
    if environment.oversized:
        yield f"Too long for the environment, delivered as files: {', '.join(environment.oversized)}"
    if mcp.servers:
        yield f"MCP servers ({len(mcp.servers)}): {', '.join(sorted(mcp.servers))}"
    if parts.lost:
        yield (
            f"The agent goes without {', '.join(parts.lost)}: no Secret may be created here, and nothing "
            "secret may stand in a Job; grant `create secrets` (`claude-k8s rbac` prints the Role)"
        )


def working_dir(ctx: ExecutionContext, config: AdapterConfig) -> str:
    """The workspace where it lies on the shared volume, else the configured `cwd`, else HOME."""
    workspace = ctx.context.get("paperclipWorkspace")
    cwd = workspace.get("cwd") if isinstance(workspace, dict) else None
    shared = config.shared_volume_dir or POD_HOME
    translated = to_pod_path(cwd, shared) if isinstance(cwd, str) and cwd else None
    return translated or config.cwd or POD_HOME


def _model(config: AdapterConfig, environment: Environment) -> str | None:
    """The configured one, which Bedrock only takes by its own names; else the CLI chooses (HOST.md 8)."""
    foreign = config.model and environment.on_bedrock and not is_bedrock_id(config.model)
    return None if foreign else config.model


def _options(config: AdapterConfig, packed: Packed, parts: Parts, resume: str | None) -> CommandOptions:
    return CommandOptions(
        resume=resume,
        skip_permissions=config.dangerously_skip_permissions,
        as_root=config.run_as_user == 0,
        allowed_tools=config.allowed_tools,
        model=_model(config, parts.environment),
        effort=config.effort,
        max_turns=config.max_turns_per_run,
        system_prompt_file=packed.instructions_file,
        add_dir=packed.root,
        mcp_config=parts.mcp.file,
        extra_args=(*rtk_arguments(config), *config.extra_args),
    )


def _session_params(ctx: ExecutionContext, workdir: str, packed: Packed, mcp: McpPlan) -> dict[str, str]:
    workspace = ctx.context.get("paperclipWorkspace")
    known = workspace if isinstance(workspace, dict) else {}
    place = {key: known.get(key) for key in ("workspaceId", "repoUrl", "repoRef")}
    told = {"cwd": workdir, "promptBundleKey": packed.key, "mcpServerIdentity": mcp.identity, **place}
    return {key: value for key, value in told.items() if isinstance(value, str) and value}
