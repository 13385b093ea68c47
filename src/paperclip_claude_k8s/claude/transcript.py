"""The fold of a run's events: one pass, bounded memory (SPEC 7)."""

from dataclasses import dataclass
from typing import Any

HEAD_BYTES, TAIL_BYTES = 4 * 1024, 60 * 1024


@dataclass(frozen=True, slots=True)
class TokenUsage:
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Transcript:
    session_id: str | None = None
    init_model: str = ""
    model: str = ""
    summary: str = ""
    usage: TokenUsage | None = None
    cost_usd: float | None = None
    result: dict[str, Any] | None = None
    cut_short: bool = False
    empty_reply: bool = False
    assistant_errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    first_plain_line: str = ""
    stderr_tail: str = ""
    api_key_source: str = ""
    rate_limit: dict[str, Any] | None = None
    """The last `rate_limit_info`, as the CLI printed it."""
    excerpt: str = ""
    lines: int = 0
    bytes: int = 0
