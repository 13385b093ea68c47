"""Who runs: names and labels by which a run's objects are found again."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.cluster.labels import (
    ADAPTER_LABEL,
    ADAPTER_TYPE,
    AGENT_LABEL,
    COMPANY_LABEL,
    RUN_LABEL,
    SESSION_LABEL,
    TASK_LABEL,
)
from paperclip_claude_k8s.host.context import ExecutionContext

_LABEL_CHARS = Limits().label_chars
_SLUG_CHARS = 16
_HASH_CHARS = 10
_ATTEMPTS = 2
"""A run makes at most so many Jobs: a session that is lost is followed by one fresh one."""
_NOT_LABEL = re.compile(r"[^A-Za-z0-9._-]")
_NOT_ENDS = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$")
_NOT_SLUG = re.compile(r"[^a-z0-9-]+")


def label_value(text: str | None) -> str | None:
    """A legal label value made of `text`, or None when nothing legal is left of it.

    Keeps `[A-Za-z0-9._-]`, at most 63 characters, alphanumeric at both ends. Idempotent.
    """
    kept = _NOT_ENDS.sub("", _NOT_LABEL.sub("", text or ""))
    return _NOT_ENDS.sub("", kept[:_LABEL_CHARS]) or None


def _slug(text: str) -> str:
    return _NOT_SLUG.sub("", text.lower())[:_SLUG_CHARS].strip("-")


def job_name(agent_id: str, run_id: str, attempt: int = 1) -> str:
    """`ac-{agent}-{run}-{hash}`: the same run gives the same name, so a second create is a 409."""
    seed = f"{agent_id}:{run_id}" + (f":{attempt}" if attempt > 1 else "")
    digest = hashlib.sha256(seed.encode()).hexdigest()[:_HASH_CHARS]
    return "-".join(part for part in ("ac", _slug(agent_id), _slug(run_id), digest) if part)


@dataclass(frozen=True, slots=True)
class Identity:
    """Label-safe ids of one run. `agent` is never empty; the others may be unknown."""

    agent_id: str
    run_id: str
    agent: str
    run: str | None
    task: str | None = None
    session: str | None = None
    company: str | None = None

    def job_name(self, attempt: int = 1) -> str:
        return job_name(self.agent_id, self.run_id, attempt)

    @property
    def job_names(self) -> frozenset[str]:
        """Of every attempt: the first one, and the one with a fresh session."""
        return frozenset(self.job_name(attempt) for attempt in range(1, _ATTEMPTS + 1))

    @property
    def selector(self) -> Mapping[str, str]:
        """Finds every Job of this agent, whichever run made it."""
        return {AGENT_LABEL: self.agent, ADAPTER_LABEL: ADAPTER_TYPE}

    @property
    def labels(self) -> Mapping[str, str]:
        """What every object of this run carries."""
        own = {
            AGENT_LABEL: self.agent,
            RUN_LABEL: self.run,
            COMPANY_LABEL: self.company,
            TASK_LABEL: self.task,
            SESSION_LABEL: self.session,
        }
        fixed = {
            "app.kubernetes.io/managed-by": "paperclip",
            "app.kubernetes.io/component": "agent-job",
            ADAPTER_LABEL: ADAPTER_TYPE,
        }
        return fixed | {key: value for key, value in own.items() if value}


def identify(ctx: ExecutionContext) -> Identity | None:
    """The run's label-safe ids, or None when nothing of the agent's id can be a label value."""
    agent = label_value(ctx.agent.id)
    if agent is None:
        return None
    params = ctx.runtime.session_params or {}
    session = params.get("sessionId") or params.get("session_id") or ctx.runtime.session_id
    task = ctx.context.get("taskId") or ctx.context.get("issueId")
    return Identity(
        agent_id=ctx.agent.id,
        run_id=ctx.run_id,
        agent=agent,
        run=label_value(ctx.run_id),
        task=label_value(task if isinstance(task, str) else None),
        session=label_value(session if isinstance(session, str) else None),
        company=label_value(ctx.agent.company_id),
    )
