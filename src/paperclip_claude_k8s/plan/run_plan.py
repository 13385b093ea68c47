"""`RunPlan`: every choice of one attempt of a run, and what follows from the choices.

The fields are choices, made by `planner.py`. The properties are derived from them: the run's files and their
routes to the Pod, the run Secret's content, the arguments that the Job must not show.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.known_secrets import would_be_masked
from paperclip_claude_k8s.plan.bundle import Packed, encoded_size
from paperclip_claude_k8s.plan.delivery import (
    OBJECT_BYTES,
    STAGING_FOLDER,
    Delivery,
    DeliveryOptions,
    deliver,
    is_private,
    size,
)
from paperclip_claude_k8s.plan.environment import FILE_PREFIX, Environment
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.mcp import MCP_FILE, McpPlan
from paperclip_claude_k8s.plan.pod_template import Overlay
from paperclip_claude_k8s.plan.prompt import Prompt
from paperclip_claude_k8s.plan.rtk import rtk_files
from paperclip_claude_k8s.plan.run_log import RunLogPlan
from paperclip_claude_k8s.plan.secrets import secret_arguments
from paperclip_claude_k8s.plan.session_volume import SHARED_VOLUME, SessionVolume
from paperclip_claude_k8s.plan.workspace import NO_WORKSPACE, Workspace

START_MARKS = "run-starts"
"""Folder on the shared volume for start marks: one empty file for each Pod whose relay has started."""
SECRET_ENV_PREFIX = "env."  # noqa: S105  # a key prefix, not a password
"""Prefix of the keys of the run Secret that hold values of variables, not files."""


@dataclass(frozen=True)  # without slots, for cached properties: prompts can be large
class RunPlan:
    """What the Job and the run Secret of one attempt are built from. Its repr shows no secret values."""

    identity: Identity
    namespace: str
    config: AdapterConfig = field(repr=False)
    image: str
    argv: tuple[str, ...] = field(repr=False)
    prompt: Prompt = field(repr=False)
    environment: Environment = field(repr=False)
    workdir: str
    nonce: str
    """Random text that distinguishes the relay's marks from the agent's output."""
    wake_digest: str | None
    agent_name: str = ""
    workspace: Workspace = NO_WORKSPACE
    """How the project's files come into the Pod."""
    traceparent: str = ""
    resume: str | None = None
    """Id of the session to resume; None for a fresh session."""
    why_fresh: str = ""
    """Why the session that the host named is not resumed; "" if it is, or if the host named none."""
    retry_of: str | None = None
    retry_reason: str | None = None
    """`retry_of` is the id of the run that this run retries, `retry_reason` the host's text that says why."""
    mcp: McpPlan = field(default_factory=McpPlan)
    overlay: Overlay = field(default_factory=Overlay)
    run_log: RunLogPlan | None = None
    """Where the agent's stdout is copied to on the shared volume; None for no copy."""
    volume_here: str | None = None
    """Mount point of the shared volume in this process's file system; None if it is not mounted here."""
    company_folder: str = ""
    """The only folder of the shared volume that the Pod mounts; "" if it mounts the whole volume."""
    home: HomePod | None = field(default=None, repr=False)
    session_volume: SessionVolume = SHARED_VOLUME
    """Where the Claude CLI keeps its sessions between Pods."""
    packed: Packed = field(default_factory=Packed, repr=False)  # instructions and skills
    attempt: int = 1
    secretless: bool = False
    """This process may not create Secrets: nothing secret is delivered, and the Pod starts at once."""
    notes: tuple[str, ...] = ()
    """Lines for the host: where the plan differs from the config, or needs attention."""
    session_params: Mapping[str, str] = field(default_factory=dict)
    """Stored with the session id; the next run resumes the session only if these have not changed."""

    @cached_property
    def job_name(self) -> str:
        return self.identity.job_name(self.attempt)

    @property
    def secret_name(self) -> str:
        """The run Secret has the Job's name, to show that they belong together."""
        return self.job_name

    @cached_property
    def files(self) -> Mapping[str, str]:
        """File name → text of all files of the run, whatever their route to the Pod."""
        own = {"prompt.txt": self.prompt.text, **relay.scripts(), **rtk_files(self.config), **self.mcp.files}
        return {**own, **self.environment.files, **self.packed.files}

    @cached_property
    def secret_values(self) -> frozenset[str]:
        """All secret values of this plan; none of them may be shown anywhere."""
        return (
            frozenset({*self.environment.confidential.values(), *self.overlay.secrets.values()})
            | self.mcp.secrets
        )

    @cached_property
    def values_hidden_in_arguments(self) -> frozenset[str]:
        """All secret values, and those values of config `env` that are not paths, as they may be secrets."""
        ordinary = (self.environment.secrets.get(name, "") for name in self.environment.ordinary)
        return self.secret_values | {value for value in ordinary if not value.startswith("/")}

    @cached_property
    def delivery(self) -> Delivery:
        """The route of each file; the shared volume is used only if it is mounted here and in the Pod."""
        return deliver(
            self.files,
            self.is_private,
            DeliveryOptions(
                route="init" if self.by_init else "secret",
                limit=OBJECT_BYTES,
                folder=f"{STAGING_FOLDER}/{self.job_name}" if self.shares_volume else "",
                reserved=sum(map(size, self._secret_entries.values()))
                + encoded_size(self.packed.skill_files),
                movable=frozenset({"prompt.txt", *self.environment.files}),
                shared=self.packed.shared,
            ),
        )

    @property
    def shares_volume(self) -> bool:
        """Whether the shared volume is mounted both here and in the Pod."""
        return self.volume_here is not None and self.home is not None and bool(self.home.claim_name)

    @property
    def by_init(self) -> bool:
        """Whether an init container writes the files, because that is configured or there is no Secret."""
        return self.secretless or self.config.prompt_delivery == "init"

    @cached_property
    def secret_data(self) -> Mapping[str, str]:
        """Key → value of the run Secret. If empty, there is no Secret and the Pod starts at once."""
        return {**self.delivery.secret, **self._secret_entries}

    @cached_property
    def object_bytes(self) -> int:
        """Bytes of text in the Secret or in the Job, whichever has more; must not exceed `OBJECT_BYTES`."""
        in_secret, in_job = (
            sum(map(size, texts.values())) for texts in (self.secret_data, self.delivery.init)
        )
        return max(in_secret + encoded_size(self.packed.skill_files), in_job)

    def is_private(self, name: str, text: str) -> bool:
        """Whether only the run Secret may hold this file. A secretless plan has no such files."""
        if self.secretless:
            return False
        if (name == MCP_FILE and self.mcp.secrets) or is_private(name, text):
            return True
        if name.removeprefix(FILE_PREFIX) in self.environment.ordinary:
            return size(text) <= OBJECT_BYTES  # a longer one has to be staged
        # Files that an init container writes are part of the Job; files that are too large for it are staged.
        small = size(text) <= OBJECT_BYTES
        return self.by_init and small and would_be_masked(text, self.secret_values)

    @cached_property
    def secret_arguments(self) -> Mapping[str, str]:
        """Name of a variable → argument of the agent that the Job must not show and the variable replaces."""
        return secret_arguments(self.argv, self.values_hidden_in_arguments) if not self.secretless else {}

    @property
    def secret_env(self) -> Mapping[str, str]:
        """Variables of the agent's container whose values come from the run Secret."""
        return {**self.environment.secrets, **self.secret_arguments}

    @cached_property
    def _secret_entries(self) -> Mapping[str, str]:
        env = {f"{SECRET_ENV_PREFIX}{name}": value for name, value in self.secret_env.items()}
        return {**env, **self.overlay.secrets}

    @property
    def deadline(self) -> int | None:
        """`activeDeadlineSeconds`, which ends the Job even without a host process; None without a timeout."""
        config = self.config
        waits = config.schedule_timeout_sec + config.image_pull_timeout_sec
        waits += config.missing_image_timeout_sec + config.start_timeout_sec
        return ceil(waits + config.timeout_sec + config.grace_sec) if config.timeout_sec else None


def bytes_in_parts(plan: RunPlan) -> int:
    """Bytes of the packed folder and of the archive of skills, which have Secrets of their own."""
    archive = plan.packed.archive
    return plan.workspace.upload.size + (len(archive.content) if archive is not None else 0)


def wake_digest(ctx: ExecutionContext) -> str | None:
    """sha256 of the wake payload without its run id, and of the task markdown.

    Runs with the same digest were woken for the same reason. None if the host gave neither payload nor task:
    two such runs may have different reasons.
    """
    wake = ctx.context.get("paperclipWake")
    cause = {key: value for key, value in wake.items() if key != "runId"} if isinstance(wake, dict) else wake
    task = ctx.context.get("paperclipTaskMarkdown")
    if not cause and not task:
        return None
    return hashlib.sha256(json.dumps([cause, task], sort_keys=True, default=str).encode()).hexdigest()
