"""The facts of a run's output, in one record of bounded size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s.claude.accounting import ReportedUsage, TokenUsage


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The CLI continued with another model than the requested one."""

    requested: str
    used: str
    trigger: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an output says about the run, read by `StreamReader`."""

    session_id: str | None = None
    """The session that can be resumed. Only an `init` names it: the id in a failed result may not exist."""
    init_model: str = ""
    """The model that `init` announced."""
    model: str = ""
    """The model that answered last, else the one that `init` announced."""
    summary: str = ""
    """The agent's answer."""
    reported_usage: ReportedUsage = field(default_factory=ReportedUsage)
    """Tokens and cost of all results, including those after which the CLI continued."""
    result: Mapping[str, Any] | None = None
    """How the run ended: the last `result`, unless an `init` or a message of the main agent follows it."""
    overtaken: bool = False
    """There was a result, but the CLI continued after it and printed no other: it is not the run's end."""
    cut_short: bool = False
    """No final result, although the agent had started to answer or had finished an earlier turn."""
    has_content: bool = False
    """The main agent produced a content block or output tokens."""
    empty_reply: bool = False
    """The model answered without any content."""
    stop_reason: str | None = None
    """Of the main agent's last event; null in nearly all events, even in healthy runs."""
    assistant_errors: tuple[str, ...] = ()
    """`error` of `assistant` events, in order: the CLI's own class of what went wrong."""
    warnings: tuple[str, ...] = ()
    """What makes a success suspicious, as sentences for the host's log."""
    retries: int = 0
    """API calls that the CLI retried."""
    compactions: int = 0
    model_changes: tuple[ModelChange, ...] = ()
    first_plain_line: str = ""
    """The first line that is neither an event nor part of one, without terminal control sequences."""
    plain_lines: tuple[str, ...] = ()
    """The first 20 such lines."""
    stderr_tail: str = ""
    api_key_source: str = ""
    rate_limit: Mapping[str, Any] | None = None
    """The last `rate_limit_info`."""
    excerpt: bytes = b""
    """First and last bytes of the output, with a note of how many were left out."""
    lines: int = 0
    bytes: int = 0

    @property
    def usage(self) -> TokenUsage | None:
        """The run's own tokens, as far as the output alone tells."""
        return self.reported_usage.for_run(resumed=None).usage

    @property
    def cost_usd(self) -> float | None:
        """The run's own cost, as far as the output alone tells."""
        return self.reported_usage.for_run(resumed=None).cost_usd
