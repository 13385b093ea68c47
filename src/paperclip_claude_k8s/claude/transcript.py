"""The facts of a run's output, in one object of bounded size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s.claude.accounting import ReportedUsage, TokenUsage
from paperclip_claude_k8s.claude.run_warnings import RunWarning


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The CLI continued with the model `used` instead of the model `requested`."""

    requested: str
    used: str
    trigger: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the output of a run contains. `StreamReader` creates it."""

    session_id: str | None = None
    """The session that can be resumed: that of `init`, because a failed result may name a missing session."""
    init_model: str = ""
    """The model that `init` announced."""
    model: str = ""
    """The model of the last message, else the one that `init` announced."""
    session_lost: bool = False
    """The CLI could not save the session, so that it must not be resumed. `session_id` is None then."""
    summary: str = ""
    """The agent's answer."""
    reported_usage: ReportedUsage = field(default_factory=ReportedUsage)
    """Tokens and cost of all results, including those after which the CLI continued."""
    result: Mapping[str, Any] | None = None
    """How the run ended: the known fields (`result_fields`) of the last `result`, unless an `init` or a
    message of the main agent follows it."""
    unread_result: bool = False
    """The last `result` is too large to be read, and nothing follows it. `result` is None then."""
    overtaken: bool = False
    """The CLI continued after its last result, which is therefore not the run's end."""
    cut_short: bool = False
    """There is no final result, although the agent had begun a message or finished an earlier turn."""
    has_content: bool = False
    """The main agent produced a content block or output tokens."""
    empty_reply: bool = False
    """The model answered without any content."""
    stop_reason: str | None = None
    """`stop_reason` of the main agent's last message; None in nearly all runs, even in healthy ones."""
    torn_event: str = ""
    """Type of the last event of which only the beginning was printed; empty if there is none since the last
    result."""
    assistant_errors: tuple[str, ...] = ()
    """`error` of the last 100 `assistant` events that have it: the CLI's own class of the error."""
    last_error: Mapping[str, Any] = field(default_factory=dict)
    """`error`, `api_error` and `api_error_params` of the main agent's last message; empty if it has no
    `error`."""
    result_is_models_text: bool = False
    """The text of the result is what the model itself wrote last, not a text of the CLI."""
    warnings: tuple[RunWarning, ...] = ()
    """Reasons to distrust the result or its usage."""
    retries: int = 0
    """API calls that the CLI retried."""
    retrying: str = ""
    """What the CLI was retrying when its output ended, such as "attempt 3 of 10, status 529 (overloaded)"."""
    compactions: int = 0
    """How often the CLI shortened the conversation."""
    model_changes: tuple[ModelChange, ...] = ()
    """Each change of the CLI to another model, the last 100."""
    plain_lines: tuple[str, ...] = ()
    """The first 20 and the last 30 lines that are neither an event nor part of one, without terminal control
    sequences."""
    stderr_tail: str = ""
    """The last 4 KiB of stderr."""
    api_key_source: str = ""
    """Where the CLI found its key, in its own words."""
    blocked_until: float | None = None
    """When the last of the usage limits that reject requests resets, in epoch seconds; None if no limit
    rejects requests, or if no reset time is known."""
    excerpt: bytes = b""
    """First and last bytes of stdout, with a note between them of how many were left out."""
    lines: int = 0
    """Number of lines of stdout that are not blank."""
    bytes: int = 0
    """Size of stdout."""

    @property
    def first_plain_line(self) -> str:
        """The first of `plain_lines`; empty if there is none."""
        return self.plain_lines[0] if self.plain_lines else ""

    @property
    def usage(self) -> TokenUsage | None:
        """The run's own tokens, computed without knowing whether the run resumed a session."""
        return self.reported_usage.for_run(resumed=None).usage

    @property
    def cost_usd(self) -> float | None:
        """The run's own cost, computed without knowing whether the run resumed a session."""
        return self.reported_usage.for_run(resumed=None).cost_usd
