"""What a run used and cost, whatever the CLI's version adds up. Pure: facts in, the run's own share out.

A `result` tells tokens and cost in three ways, and their reach changed between versions:

- `usage`: the main loop of its own turn, in every version; sub-agents and compaction are not in it.
- `modelUsage` and `total_cost_usd`: complete and cumulative. Until 2.1.270 they begin at 0 with the process;
  in 2.1.285 a resumed or forked session goes on from what its transcript saved: they are the session's.
- `model_usage_since_last_result`: complete, since the result before. First seen in 2.1.309, not in 2.1.300.

So the run's own share is the sum of the third where there is one; else the second where it begins at 0: in a
version before the change, in a session that was not resumed, or where it equals the sum of the first (nothing
from before can be in it). Else the sum of the first is all that is certain, and the cost is not known.
"""

import re
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s.claude.events import Event, count, inner, number, text

FIRST_OF_SESSION = (2, 1, 271)
"""The earliest version whose totals may be the session's: 2.1.270 begins at 0, 2.1.285 does not."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_PER_MODEL = ("inputTokens", "cacheCreationInputTokens", "outputTokens", "cacheReadInputTokens")
_OF_MAIN_LOOP = ("input_tokens", "cache_creation_input_tokens", "output_tokens", "cache_read_input_tokens")


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one run. Input counts what was written to the cache, not what was read from it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What is the run's own. None: nothing is known of it; `warning` says why, or is empty."""

    usage: TokenUsage | None = None
    cost_usd: float | None = None
    warning: str = ""

    def with_earlier(self, other: "Share | None") -> "Share":
        """Both together; a cost that is not known of one of them is not known of both."""
        if other is None or other.usage is None:
            return self
        known = self.cost_usd is not None and other.cost_usd is not None
        return Share(
            other.usage + (self.usage or TokenUsage()),
            (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
            self.warning or other.warning,
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What all results of one process told, as they told it. Costs are in US dollars."""

    version: str = ""
    """Of the CLI, as `init` named it; empty where no `init` was seen."""
    turns: TokenUsage | None = None
    """Sum of `usage`; None: there was no result."""
    total: TokenUsage | None = None
    """The last `modelUsage` that was not empty."""
    total_cost: float | None = None
    """The last `total_cost_usd`."""
    since: TokenUsage | None = None
    """Sum of `model_usage_since_last_result`; None: no result has that field."""
    since_cost: float = 0.0

    def own(self, *, resumed: bool | None) -> Share:
        """The run's share; `resumed`: whether its session had been used before, None where nobody knows."""
        if self.since is not None:
            return Share(self.since, self.since_cost)
        if self._begins_at_zero(resumed=resumed):
            return Share(self.total or self.turns, self.total_cost)
        return Share(self.turns, None, self._why())

    def with_lost_result(self, total_cost: float | None) -> "Spent":
        """The same with the total that a result named which was lost itself; its tokens stay unknown."""
        if total_cost is None:
            return self
        if self.since is None or self.total_cost is None:
            return replace(self, total_cost=total_cost)
        grown = max(total_cost - self.total_cost, 0.0)
        return replace(self, total_cost=total_cost, since_cost=self.since_cost + grown)

    def _begins_at_zero(self, *, resumed: bool | None) -> bool:
        if resumed is False or not self.total_cost:
            return True
        if self.total is not None and self.total == self.turns:
            return True
        version = _numbers(self.version)
        return version < FIRST_OF_SESSION if version else resumed is None

    def _why(self) -> str:
        named = f"CLI {self.version}" if self.version else "this version of the CLI"
        text = f"{named} counts a resumed session as a whole: this run's own cost is not known"
        return f"{text}, and its tokens are those of the main agent alone" if self.turns else text


@dataclass(slots=True)
class Accounts:
    """Adds up results as they arrive. A result that is read twice counts once."""

    spent: Spent = field(default_factory=Spent)
    _known: set[str] = field(default_factory=set)

    def init(self, event: Event) -> None:
        """Take the CLI's version from an `init`."""
        self.spent = replace(self.spent, version=text(event, "claude_code_version") or self.spent.version)

    def result(self, event: Event) -> None:
        """Add what this result tells."""
        uuid = text(event, "uuid")
        if uuid and uuid in self._known:
            return
        self._known.add(uuid)
        spent = self.spent
        per_model, cost = inner(event, "modelUsage"), number(event, "total_cost_usd")
        spent = replace(
            spent,
            turns=(spent.turns or TokenUsage()) + _tokens([inner(event, "usage")], _OF_MAIN_LOOP),
            total=tokens_per_model(per_model) if per_model else spent.total,
            total_cost=spent.total_cost if cost is None else cost,
        )
        since = event.get("model_usage_since_last_result")
        if isinstance(since, dict):
            cost = sum(number(row, "costUSD") or 0.0 for row in _rows(since))
            usage = (spent.since or TokenUsage()) + tokens_per_model(since)
            spent = replace(spent, since=usage, since_cost=spent.since_cost + cost)
        self.spent = spent


def tokens_per_model(usage: Event) -> TokenUsage:
    """The sum over a `modelUsage`, whose keys are names of models."""
    return _tokens(_rows(usage), _PER_MODEL)


def _rows(usage: Event) -> list[Event]:
    return [row for row in usage.values() if isinstance(row, dict)]


def _tokens(rows: list[Event], names: tuple[str, str, str, str]) -> TokenUsage:
    fresh, created, written, cached = (sum(count(row, name) for row in rows) for name in names)
    return TokenUsage(fresh + created, written, cached)


def _numbers(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    return tuple(int(part) for part in found.groups()) if found else ()
