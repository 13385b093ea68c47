"""What a run's output says, in one record of bounded size (SPEC 7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s.claude.accounting import Spent, TokenUsage


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The CLI went on with another model than was asked for."""

    asked: str
    took: str
    why: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that counts of an output.

    `result` is how the run ended, as the CLI printed it: the last one, and only where neither an `init` nor
    an answer of the main agent follows it. `rate_limit` is the last one.
    """

    session_id: str | None = None
    """The session that can be resumed: told by an `init`, never by a failed result alone (EVENTS.md 0)."""
    init_model: str = ""
    model: str = ""
    """The model that answered last, else the one that `init` announced."""
    summary: str = ""
    spent: Spent = field(default_factory=Spent)
    """What all results told of tokens and cost, the overtaken ones too."""
    result: Mapping[str, Any] | None = None
    overtaken: bool = False
    """There was a result, and the CLI went on after it without another one: it is not the run's end."""
    cut_short: bool = False
    """No result, and the agent had begun to answer, or had ended an earlier turn."""
    substance: bool = False
    """The main agent said something: a content block, or tokens."""
    empty_reply: bool = False
    """The model answered, and with nothing."""
    stop_reason: str | None = None
    """Of the main agent's last event; null in nearly all, healthy ones too."""
    assistant_errors: tuple[str, ...] = ()
    """`assistant.error` of each such event, the CLI's own class of what went wrong."""
    warnings: tuple[str, ...] = ()
    retries: int = 0
    """API calls that the CLI tried again."""
    compactions: int = 0
    model_changes: tuple[ModelChange, ...] = ()
    first_plain_line: str = ""
    """The first line that is no event and no part of one, without terminal control."""
    plain_lines: tuple[str, ...] = ()
    """The first few of such lines."""
    stderr_tail: str = ""
    api_key_source: str = ""
    rate_limit: Mapping[str, Any] | None = None
    excerpt: bytes = b""
    """First and last bytes of the output, with a note of what is left out; text may take four times it."""
    lines: int = 0
    bytes: int = 0

    @property
    def usage(self) -> TokenUsage | None:
        """The run's own tokens, as far as the output alone tells them."""
        return self.spent.own(resumed=None).usage

    @property
    def cost_usd(self) -> float | None:
        """The run's own cost, as far as the output alone tells it."""
        return self.spent.own(resumed=None).cost_usd
