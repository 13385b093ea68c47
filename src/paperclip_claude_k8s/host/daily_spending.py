"""What each agent's runs have cost today, for the policy's daily budget."""

from datetime import date, datetime, time, timedelta
from typing import TypeAlias

from paperclip_claude_k8s.base.settings import LIMITS

AgentKey: TypeAlias = tuple[str, str]
"""Ids of company and agent."""


class DailySpending:
    """Costs of the current UTC day, of at most `Limits.remembered_ids` agents.

    They are kept in memory: a restart of the host forgets them.
    """

    def __init__(self) -> None:
        self._day = date.min
        self._spent: dict[AgentKey, float] = {}

    def add(self, agent: AgentKey, cost: float, now: datetime) -> None:
        """Add the cost, in US dollars, of a run that has just ended."""
        self._forget_other_days(now)
        if agent in self._spent or len(self._spent) < LIMITS.remembered_ids:
            self._spent[agent] = self._spent.get(agent, 0.0) + cost

    def spent(self, agent: AgentKey, now: datetime) -> float:
        """What the agent's runs that ended today have cost, in US dollars."""
        self._forget_other_days(now)
        return self._spent.get(agent, 0.0)

    def _forget_other_days(self, now: datetime) -> None:
        if now.date() != self._day:
            self._day = now.date()
            self._spent.clear()


def next_day(now: datetime) -> datetime:
    """The beginning of the next day, in the zone of `now`."""
    return datetime.combine(now.date() + timedelta(days=1), time.min, now.tzinfo)
