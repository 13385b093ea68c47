"""Cost and tokens of runs, for `claude-k8s stats` and the columns of `history`. Pure functions."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_number, get_object, get_text
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import parse_time

_SPAN = re.compile(r"(\d{1,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet executes a text that begins with one of these. Agents choose the names of models."""


class GroupBy(StrEnum):
    """The property by which the statistics group runs into rows."""

    AGENT = "agent"
    DAY = "day"
    MODEL = "model"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class RunCost:
    """Cost and tokens of one ended run. An unknown text is "", an unknown number None."""

    ended: datetime | None
    agent: str
    model: str
    code: str
    """Error code; "" after a success."""
    cost_usd: float | None
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    seconds: float | None
    """Seconds from the Job's launch until its log was complete."""

    @classmethod
    def of(cls, result: Mapping[str, Any], agent: str, ended: datetime | None) -> "RunCost":
        """Read a result in wire format, or the annotation of a retained Job, which has the same keys."""
        given = dict(result)
        usage, extra = get_object(given, "usage"), get_object(given, "resultJson")
        phases = [get_number(get_object(extra, "phases"), name) for name in ("start", "run", "complete")]
        known = [phase for phase in phases if phase is not None]
        return cls(
            ended=ended,
            agent=agent,
            model=get_text(given, "model"),
            code=get_text(given, "errorCode"),
            cost_usd=get_number(given, "costUsd"),
            input_tokens=int(get_number(usage, "inputTokens") or 0),
            output_tokens=int(get_number(usage, "outputTokens") or 0),
            cached_input_tokens=int(get_number(usage, "cachedInputTokens") or 0),
            seconds=sum(known) / 1000 if known else None,
        )

    def key(self, by: GroupBy) -> str:
        """The key of the row to which the run belongs."""
        match by:
            case GroupBy.AGENT:
                return self.agent or "(unknown)"
            case GroupBy.DAY:
                return self.ended.astimezone(UTC).date().isoformat() if self.ended else "(unknown)"
            case GroupBy.MODEL:
                return self.model or "(unknown)"
            case GroupBy.CODE:
                return self.code or "succeeded"


@dataclass(slots=True)
class CostRow:
    """The sums over the runs of one row."""

    key: str
    runs: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    unknown_costs: int = 0
    """Number of runs whose cost is unknown and therefore missing in `cost_usd`."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    seconds: float = 0.0

    def add(self, run: RunCost) -> None:
        """Add one run."""
        self.runs += 1
        self.failed += bool(run.code)
        self.cost_usd = round(self.cost_usd + (run.cost_usd or 0.0), 9)
        self.unknown_costs += run.cost_usd is None
        self.input_tokens += run.input_tokens
        self.output_tokens += run.output_tokens
        self.cached_input_tokens += run.cached_input_tokens
        self.seconds = round(self.seconds + (run.seconds or 0.0), 3)


def rows_of(runs: Iterable[RunCost], by: GroupBy, since: datetime | None) -> list[CostRow]:
    """One row for each key, sorted by day, or else by cost with the highest first; then the row `total`."""
    rows: dict[str, CostRow] = {}
    total = CostRow("total")
    for run in runs:
        if since is not None and (run.ended is None or run.ended < since):
            continue
        rows.setdefault(run.key(by), CostRow(run.key(by))).add(run)
        total.add(run)
    ordered = sorted(
        rows.values(), key=lambda row: row.key if by is GroupBy.DAY else (-row.cost_usd, row.key)
    )
    return [*ordered, total]


def as_csv(rows: Iterable[CostRow], by: GroupBy) -> str:
    """The rows as CSV with a header. Texts that a spreadsheet would execute get an apostrophe in front."""
    out = io.StringIO()
    names = list(asdict(CostRow("")))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([str(by), *names[1:]])
    for row in rows:
        key, *numbers = asdict(row).values()
        shown = neutral(key)
        writer.writerow([f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown, *numbers])
    return out.getvalue().rstrip("\n")


def parse_moment(text: str, now: datetime) -> datetime:
    """Read a time such as 2026-11-01, or a span before now such as 90m, 12h, 7d, 2w. Raises ValueError."""
    if found := _SPAN.fullmatch(text.strip()):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    time = parse_time(text.strip())
    if time is None:
        raise ValueError("expected a span such as 12h or 7d, or a time such as 2026-11-01")
    return time
