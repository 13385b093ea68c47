"""What a run's output says, in one record of bounded size (SPEC 7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of the whole process. Input counts what was written to the cache, not what was read from it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelChange:
    """The CLI went on with another model than was asked for."""

    asked: str
    took: str
    why: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that counts of an output. `result` and `rate_limit` are the last ones, as the CLI printed them."""

    session_id: str | None = None
    """The session that can be resumed: told by an `init`, never by a failed result alone (EVENTS.md 0)."""
    init_model: str = ""
    model: str = ""
    """The model that answered last, else the one that `init` announced."""
    summary: str = ""
    usage: TokenUsage | None = None
    cost_usd: float | None = None
    result: Mapping[str, Any] | None = None
    cut_short: bool = False
    """No result, and the agent had begun to answer."""
    empty_reply: bool = False
    """The model answered, and with nothing."""
    assistant_errors: tuple[str, ...] = ()
    """`assistant.error` of each such event, the CLI's own class of what went wrong."""
    warnings: tuple[str, ...] = ()
    retries: int = 0
    """API calls that the CLI tried again."""
    compactions: int = 0
    model_changes: tuple[ModelChange, ...] = ()
    first_plain_line: str = ""
    """The first line that is no event and no part of one."""
    stderr_tail: str = ""
    api_key_source: str = ""
    rate_limit: Mapping[str, Any] | None = None
    excerpt: bytes = b""
    """First and last bytes of the output, with a note of what is left out; text may take four times it."""
    lines: int = 0
    bytes: int = 0
