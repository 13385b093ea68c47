"""The names and labels of a run's objects, by which host processes and people find them.

The host's ids are free text, but Kubernetes names and label values are not. `label_value` keeps the legal
characters of an id. Two ids may therefore share a label value, so the Job's name also contains a hash of the
whole ids: agent `Agent One`, run `3503d3d8-f6d3-48d8-…` → `ac-agentone-3503d3d8-f6d3-48-<10 hex digits>`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.cluster.labels import (
    ADAPTER_LABEL,
    ADAPTER_TYPE,
    AGENT_LABEL,
    COMPANY_LABEL,
    RESERVED_PREFIXES,
    RUN_LABEL,
    SESSION_LABEL,
    TASK_LABEL,
)
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.redact import looks_like_credential

LABEL_CHARS = 63
"""Kubernetes' limit for a label value; and for a Job's name, with which the host names of its Pods begin."""
_SLUG_CHARS = 16
_HASH_CHARS = 10
_MAX_ATTEMPTS = 2
"""Jobs that a run may create: if the session to resume is lost, a second Job starts a fresh session."""
_ILLEGAL_IN_LABEL = re.compile(r"[^A-Za-z0-9._-]")
_ILLEGAL_AT_ENDS = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$")
_ILLEGAL_IN_SLUG = re.compile(r"[^a-z0-9-]+")
_LABEL_KEY = re.compile(
    r"^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
)


def label_value(text: str | None, max_chars: int = LABEL_CHARS) -> str | None:
    """A legal label value made from `text`, or None if `text` holds no ASCII letter or digit.

    The value keeps the characters `[A-Za-z0-9._-]`, at most `max_chars` of them, and is alphanumeric at both
    ends. A legal value stays as it is.
    """
    legal = _ILLEGAL_AT_ENDS.sub("", _ILLEGAL_IN_LABEL.sub("", text or ""))
    return _ILLEGAL_AT_ENDS.sub("", legal[: max(max_chars, 0)]) or None


def user_labels(configured: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The configured labels that a Job can carry, and the keys that were skipped.

    A key is skipped if it is reserved or illegal. It is also skipped if its value looks like a credential, or
    has no ASCII letter or digit.
    """
    accepted: dict[str, str] = {}
    for key, value in configured.items():
        legal = None if looks_like_credential(value) else label_value(value)
        if legal is not None and _LABEL_KEY.match(key) and not key.startswith(RESERVED_PREFIXES):
            accepted[key] = legal
    return accepted, tuple(sorted(set(configured) - set(accepted)))


def slug(text: str) -> str:
    """The characters of an id that are legal in the name of a Kubernetes object, at most 16 of them."""
    return _ILLEGAL_IN_SLUG.sub("", text.lower())[:_SLUG_CHARS].strip("-")


def job_name(agent_id: str, run_id: str, attempt: int = 1) -> str:
    """`ac-{agent}-{run}-{hash}`: always the same for one attempt, so creating its Job twice gives 409."""
    whole = f"{agent_id}:{run_id}" + (f":{attempt}" if attempt > 1 else "")
    digest = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARS]
    return "-".join(part for part in ("ac", slug(agent_id), slug(run_id), digest) if part)


@dataclass(frozen=True, slots=True)
class Identity:
    """A run's ids: those that end in `_id` as the host gives them, the other fields as label values."""

    agent_id: str
    run_id: str
    agent: str
    run: str | None
    task: str | None = None
    session: str | None = None
    company: str | None = None
    company_id: str | None = None

    def job_name(self, attempt: int = 1) -> str:
        return job_name(self.agent_id, self.run_id, attempt)

    @property
    def job_names(self) -> frozenset[str]:
        """The Job names of all attempts of this run."""
        return frozenset(self.job_name(attempt) for attempt in range(1, _MAX_ATTEMPTS + 1))

    @property
    def selector(self) -> Mapping[str, str]:
        """Label selector for the Jobs of this agent, whichever run created them."""
        return {AGENT_LABEL: self.agent, ADAPTER_LABEL: ADAPTER_TYPE}

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels on every object of this run."""
        ids = {
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
        return fixed | {key: value for key, value in ids.items() if value}


def task_id(context: Mapping[str, Any]) -> str | None:
    """The id of the task in the host's context of a run."""
    task = context.get("taskId") or context.get("issueId")
    return task if isinstance(task, str) else None


def identify(ctx: ExecutionContext) -> Identity | None:
    """The run's ids as label values, or None if the agent's id holds no ASCII letter or digit."""
    agent = label_value(ctx.agent.id)
    if agent is None:
        return None
    params = ctx.runtime.session_params or {}
    session = params.get("sessionId") or params.get("session_id") or ctx.runtime.session_id
    return Identity(
        agent_id=ctx.agent.id,
        run_id=ctx.run_id,
        agent=agent,
        run=label_value(ctx.run_id),
        task=label_value(task_id(ctx.context)),
        session=label_value(session if isinstance(session, str) else None),
        company=label_value(ctx.agent.company_id),
        company_id=ctx.agent.company_id,
    )
