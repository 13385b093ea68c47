"""Every choice of one run, made once."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.redact import shows_secret
from paperclip_claude_k8s.plan.arguments import hidden_arguments
from paperclip_claude_k8s.plan.delivery import FOLDER, Delivery, Room, deliver, is_private, size
from paperclip_claude_k8s.plan.environment import Environment
from paperclip_claude_k8s.plan.identity import Identity
from paperclip_claude_k8s.plan.mcp import FILE, McpPlan
from paperclip_claude_k8s.plan.pod_template import Overlay
from paperclip_claude_k8s.plan.prompt import Prompt
from paperclip_claude_k8s.plan.rtk import rtk_files
from paperclip_claude_k8s.plan.run_log import RunLogPlan

START_MARKS = "run-starts"
"""Below the shared volume: one empty file for each Pod whose relay has begun, until a host has seen it."""
SECRET_ENV_PREFIX = "env."  # noqa: S105  # a key prefix, not a password


@dataclass(frozen=True)  # no slots: what follows from a plan is worked out once, however large its prompt
class RunPlan:
    """What to ask of the cluster for one attempt of a run. Secret values never show in its repr."""

    identity: Identity
    namespace: str
    config: AdapterConfig = field(repr=False)
    image: str
    argv: tuple[str, ...] = field(repr=False)
    prompt: Prompt = field(repr=False)
    environment: Environment = field(repr=False)
    workdir: str
    nonce: str
    wake_digest: str | None
    agent_name: str = ""
    resume: str | None = None
    retry_of: str | None = None
    """The run that this one repeats, as the host says."""
    mcp: McpPlan = field(default_factory=McpPlan)
    overlay: Overlay = field(default_factory=Overlay)
    run_log: RunLogPlan | None = None
    """The agent's stdout as a file on the shared volume; None keeps it in the Pod."""
    volume_here: str | None = None
    """Where the shared volume is mounted in this process's own file system; None where it is not."""
    home: HomePod | None = field(default=None, repr=False)
    bundle_files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Instructions that could not lie on the shared volume, as files of the run Secret."""
    attempt: int = 1
    secretless: bool = False
    """Secrets are forbidden here: nothing secret travels, and no gate holds the Pod back."""
    notes: tuple[str, ...] = ()
    """What the host should know about choices that are not what it wished for."""
    session_params: Mapping[str, str] = field(default_factory=dict)
    """Stored with the session id, so that the next run can tell whether it may resume."""

    @cached_property
    def job_name(self) -> str:
        return self.identity.job_name(self.attempt)

    @property
    def secret_name(self) -> str:
        """The run Secret shares the Job's name: one look tells what belongs together."""
        return self.job_name

    @cached_property
    def files(self) -> Mapping[str, str]:
        """File name → text: what the agent finds in its run folder, whichever way it comes."""
        own = {"prompt.txt": self.prompt.text, **rtk_files(self.config), **self.mcp.files}
        return {**own, **self.environment.files, **self.bundle_files}

    @cached_property
    def secret_values(self) -> frozenset[str]:
        """What may be shown nowhere, wherever else it turns up."""
        return (
            frozenset({*self.environment.secrets.values(), *self.overlay.secrets.values()}) | self.mcp.secrets
        )

    @cached_property
    def delivery(self) -> Delivery:
        """Which way each file goes; the shared volume only where it is mounted on both sides."""
        return deliver(
            self.files,
            self.is_private,
            Room(
                "init" if self.by_init else "secret",
                Limits().secret_prompt_bytes,
                f"{FOLDER}/{self.job_name}" if self.shares_volume else "",
                sum(map(size, self._values.values())),
                frozenset({"prompt.txt", *self.environment.files}),
            ),
        )

    @property
    def shares_volume(self) -> bool:
        """Whether the shared volume is mounted both here and in the Pod."""
        return self.volume_here is not None and self.home is not None and bool(self.home.claim_name)

    @property
    def by_init(self) -> bool:
        """Whether an init container writes the files: so configured, or Secrets are forbidden."""
        return self.secretless or self.config.prompt_delivery == "init"

    @cached_property
    def secret_data(self) -> Mapping[str, str]:
        """Key → value of the run Secret; empty where the run has none and nothing gates its Pod."""
        return {**self.delivery.secret, **self._values}

    @cached_property
    def bulk(self) -> int:
        """Size of the largest object that carries the run's texts, in bytes; etcd bounds it."""
        return max(sum(map(size, texts.values())) for texts in (self.secret_data, self.delivery.init))

    def is_private(self, name: str, text: str) -> bool:
        """May this file only travel in the run Secret? Without Secrets such ones were left out before."""
        if self.secretless:
            return False
        if (name == FILE and self.mcp.secrets) or is_private(name, text):
            return True
        # by init a text stands in the Job; one too large for that lies on the volume, as it would anyway
        small = size(text) <= Limits().secret_prompt_bytes
        return self.by_init and small and shows_secret(text, self.secret_values)

    @cached_property
    def hidden_arguments(self) -> Mapping[str, str]:
        """Variable → argument of the agent that must not stand in the Job."""
        return hidden_arguments(self.argv, self.secret_values) if not self.secretless else {}

    @property
    def secret_env(self) -> Mapping[str, str]:
        """Variables of the agent's container whose values come from the run Secret."""
        return {**self.environment.secrets, **self.hidden_arguments}

    @cached_property
    def _values(self) -> Mapping[str, str]:
        env = {f"{SECRET_ENV_PREFIX}{name}": value for name, value in self.secret_env.items()}
        return {**env, **self.overlay.secrets}

    @property
    def deadline(self) -> int | None:
        """Seconds for `activeDeadlineSeconds`, the backstop of a host that died; None without a timeout."""
        config = self.config
        if not config.timeout_sec:
            return None
        waiting = config.schedule_timeout_sec + config.image_pull_timeout_sec + config.start_timeout_sec
        return int(waiting + config.timeout_sec + config.grace_sec)


def wake_digest(ctx: ExecutionContext) -> str | None:
    """What this run was woken for: sha256 of wake payload and task markdown, run id left out.

    None for a wake that says nothing: two of them need not be about the same.
    """
    wake = ctx.context.get("paperclipWake")
    told = {key: value for key, value in wake.items() if key != "runId"} if isinstance(wake, dict) else wake
    text = ctx.context.get("paperclipTaskMarkdown")
    if not told and not text:
        return None
    return hashlib.sha256(json.dumps([told, text], sort_keys=True, default=str).encode()).hexdigest()
