"""Computes the tokens and cost of one run from the numbers that the Claude CLI reported. Pure functions.

A `result` event reports tokens and cost in three ways. What they cover depends on the version of the CLI:

- `usage`: the main loop of the turn that the result ends, in every version; sub-agents and compaction are
  not included.
- `modelUsage` and `total_cost_usd`: cumulative, with sub-agents and compaction. Up to 2.1.270 they start at 0
  with the process. In 2.1.285 a resumed or forked session continues from the totals saved in its transcript.
- `model_usage_since_last_result`: everything since the previous result, with sub-agents and compaction.
  Absent up to 2.1.300, first seen in 2.1.309.

If `model_usage_since_last_result` is present, its sum is what the run itself used. Otherwise `modelUsage` and
`total_cost_usd` are used if they started at 0 with this run. Totals start at 0 in a version before
`FIRST_SESSION_TOTALS`, and in a session that was not resumed. They also start at 0 if `modelUsage` equals the
sum of `usage`, since `modelUsage` then includes no earlier run. In all other cases only the sum of `usage` is
certain, and the cost is unknown.

Example: a resumed session that had cost $2 before prints `usage` = 100 tokens and `total_cost_usd` = 2.3.
With 2.1.270 the run cost $2.30. With 2.1.285 its cost is unknown. With 2.1.309 it cost the $0.30 of
`model_usage_since_last_result`.
"""

from dataclasses import astuple, dataclass, field, replace
from itertools import islice

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.recent_texts import RecentTexts
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.events import Event, believable_cost, count, get_name
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.claude.versions import numbers_of

FIRST_SESSION_TOTALS = (2, 1, 271)
"""The earliest version whose totals may cover the whole session: 2.1.270 starts at 0, 2.1.285 does not."""
MAX_MODELS = 1000
"""Largest number of models of one result that are counted. A run uses a handful."""
_MODEL_USAGE_KEYS = ("inputTokens", "cacheCreationInputTokens", "outputTokens", "cacheReadInputTokens")
"""Keys of `modelUsage`: uncached input, cache writes, output, cache reads."""
_USAGE_KEYS = ("input_tokens", "cache_creation_input_tokens", "output_tokens", "cache_read_input_tokens")
"""Keys of `usage`, in the same order."""
_PARTIAL_USAGE = RunWarning(
    WarningCode.USAGE_PARTIAL,
    "no result accounts for the last answers: their tokens are those that each message had when it began",
)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one run. `input_tokens` includes cache writes and excludes cache reads."""

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
class RunUsage:
    """The run's own tokens and cost; None where unknown. `warning` says what is unknown."""

    usage: TokenUsage | None = None
    cost_usd: float | None = None
    warning: RunWarning | None = None

    def believable(self) -> "RunUsage":
        """A copy within `Limits`, which a sum may exceed: tokens are reduced, and a higher cost is None."""
        usage = self.usage and TokenUsage(*(min(tokens, LIMITS.tokens) for tokens in astuple(self.usage)))
        return replace(self, usage=usage, cost_usd=believable_cost(self.cost_usd))

    def with_earlier(self, earlier: "RunUsage | None") -> "RunUsage":
        """The sum of both usages; its cost is None if one of them has none. An empty `earlier` is ignored."""
        if earlier is None or earlier.usage is None:
            return self
        known = self.cost_usd is not None and earlier.cost_usd is not None
        return RunUsage(
            earlier.usage + (self.usage or TokenUsage()),
            (self.cost_usd or 0.0) + (earlier.cost_usd or 0.0) if known else None,
            self.warning or earlier.warning,
        )


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """The numbers that the results of one CLI process reported. Costs are in US dollars."""

    version: str = ""
    """The CLI version from `init`; empty if no `init` was read."""
    turn_tokens: TokenUsage | None = None
    """Sum of the `usage` of all results; None if there was no result."""
    total_tokens: TokenUsage | None = None
    """The last `modelUsage` that was not empty."""
    total_cost: float | None = None
    """The last `total_cost_usd`."""
    own_tokens: TokenUsage | None = None
    """Sum of `model_usage_since_last_result`; None if no result has that field."""
    own_cost: float = 0.0
    """Sum of the costs in `model_usage_since_last_result`."""
    unfinished_tokens: TokenUsage | None = None
    """Tokens of the messages after the last result, mostly without their output; None if there are none."""

    def for_run(self, *, resumed: bool | None) -> RunUsage:
        """What the run itself used. `resumed`: whether an earlier run used the session; None if unknown."""
        in_results = self._usage_in_results(resumed=resumed)
        if self.unfinished_tokens is None:
            return in_results
        return RunUsage(
            (in_results.usage or TokenUsage()) + self.unfinished_tokens, in_results.cost_usd, _PARTIAL_USAGE
        )

    def _usage_in_results(self, *, resumed: bool | None) -> RunUsage:
        """The part of the usage that the results include."""
        if self.own_tokens is not None:
            return RunUsage(self.own_tokens, self.own_cost)
        if self._starts_at_zero(resumed=resumed):
            return RunUsage(self.total_tokens or self.turn_tokens, self.total_cost)
        return RunUsage(self.turn_tokens, None, self._unknown_cost_warning())

    def with_lost_result(self, total_cost: float | None) -> "ReportedUsage":
        """Add the total cost of a result that only the relay in the Pod has read, because the log lost it.

        The tokens of this result stay unknown.
        """
        if total_cost is None:
            return self
        if self.own_tokens is None or self.total_cost is None:
            return replace(self, total_cost=total_cost)
        added = max(total_cost - self.total_cost, 0.0)
        return replace(self, total_cost=total_cost, own_cost=self.own_cost + added)

    def _starts_at_zero(self, *, resumed: bool | None) -> bool:
        """Whether the totals contain only this run.

        If both the version and `resumed` are unknown, this is assumed.
        """
        if resumed is False or not self.total_cost:  # a total of 0, or none, contains no earlier cost
            return True
        if self.total_tokens is not None and self.total_tokens == self.turn_tokens:
            return True
        version = numbers_of(self.version)
        return version < FIRST_SESSION_TOTALS if version else resumed is None

    def _unknown_cost_warning(self) -> RunWarning:
        cli = f"CLI {self.version}" if self.version else "this version of the CLI"
        warning = f"{cli} reports totals of the whole session: the cost of this run alone is unknown"
        tokens = ", and its tokens are those of the main agent only" if self.turn_tokens else ""
        return RunWarning(WarningCode.COST_UNKNOWN, f"{warning}{tokens}")


@dataclass(slots=True)
class UsageTracker:
    """Adds up results as they arrive. A result with a uuid that was read before is ignored."""

    reported: ReportedUsage = field(default_factory=ReportedUsage)
    _result_uuids: RecentTexts = field(default_factory=RecentTexts)

    def take_version(self, event: Event) -> None:
        """Take the CLI version from an `init` event."""
        self.reported = replace(
            self.reported, version=get_name(event, "claude_code_version") or self.reported.version
        )

    def add_result(self, event: Event) -> None:
        """Add the numbers of a `result` event."""
        uuid = get_text(event, "uuid")
        if uuid and uuid in self._result_uuids:
            return
        self._result_uuids.add(uuid)
        reported = self.reported
        per_model, cost = get_object(event, "modelUsage"), believable_cost(event.get("total_cost_usd"))
        reported = replace(
            reported,
            turn_tokens=(reported.turn_tokens or TokenUsage()) + tokens_of_turn(get_object(event, "usage")),
            total_tokens=tokens_per_model(per_model) if per_model else reported.total_tokens,
            total_cost=reported.total_cost if cost is None else cost,
        )
        since = event.get("model_usage_since_last_result")
        if isinstance(since, dict):
            cost_since = sum(believable_cost(row.get("costUSD")) or 0.0 for row in _rows(since))
            reported = replace(
                reported,
                own_tokens=(reported.own_tokens or TokenUsage()) + tokens_per_model(since),
                own_cost=reported.own_cost + cost_since,
            )
        self.reported = reported


def tokens_of_turn(usage: Event) -> TokenUsage:
    """The tokens of a `usage` object."""
    return _tokens([usage], _USAGE_KEYS)


def tokens_per_model(usage: Event) -> TokenUsage:
    """The sum over a `modelUsage` object, whose keys are model names."""
    return _tokens(_rows(usage), _MODEL_USAGE_KEYS)


def _rows(usage: Event) -> list[Event]:
    """The values of a `modelUsage` object that are objects, at most `MAX_MODELS`."""
    return [row for row in islice(usage.values(), MAX_MODELS) if isinstance(row, dict)]


def _tokens(rows: list[Event], keys: tuple[str, str, str, str]) -> TokenUsage:
    uncached, cache_writes, output, cache_reads = (sum(count(row, key) for row in rows) for key in keys)
    return TokenUsage(uncached + cache_writes, output, cache_reads)
