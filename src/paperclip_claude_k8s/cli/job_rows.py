"""Jobs of the adapter as rows of a table, with the state of each run in the words that `kubectl` uses."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.find_run import run_id_of
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot, Running, Terminated, Waiting
from paperclip_claude_k8s.cluster.watch_cache import oldest_first

_AGE_STEPS = ((120, 1, "s"), (3 * 3600, 60, "m"), (48 * 3600, 3600, "h"), (float("inf"), 86400, "d"))
"""(Upper limit of the age in seconds, unit for such ages in seconds, letter of the unit.)"""
_REQUIREMENT = re.compile(
    r"\s*(?:(?P<key>[^\s!=,()]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?|!\s*(?P<absent>[^\s!=,()]+))\s*(?:,|$)"
)
"""One requirement of a label selector, in the syntax of `kubectl -l`."""
PENDING = "Pending"
"""The state of a run whose Job has no Pod."""
Requirement = Callable[[Mapping[str, str]], bool]
"""Tests the labels of a Job."""


class SelectorInvalid(ValueError):
    """The label selector cannot be read."""


def row_of(job: JobSnapshot, pods: Iterable[PodSnapshot], now: datetime) -> dict[str, Any]:
    """The row of a Job. `pods`: the Pods of all Jobs."""
    pods_of_job = oldest_first(pod for pod in pods if pod.job_uid == job.ref.uid)
    pod = pods_of_job[0] if pods_of_job else None
    return {
        "namespace": job.ref.namespace,
        "run_id": run_id_of(job),
        "job": job.ref.name,
        "agent": job.labels.get(labels.AGENT_LABEL),
        "status": _status_of_job(job),
        "state": state_of(job, pod),
        "age": age(job.created, now),
        "task": job.labels.get(labels.TASK_LABEL),
        "session": job.labels.get(labels.SESSION_LABEL),
        "pod": pod.name if pod is not None else None,
        "node": pod.node if pod is not None else None,
        "image": job.image,
        "created": format_time(job.created) if job.created is not None else None,
        "detached": labels.DETACHED_ANNOTATION in job.annotations,
    }


def _status_of_job(job: JobSnapshot) -> str:
    """The status of the Job alone: live, deleting, complete or failed."""
    ended = job.finished.type.lower() if job.finished is not None else None
    return "deleting" if job.deleting else ended or "live"


def state_of(job: JobSnapshot, pod: PodSnapshot | None) -> str:
    """The state of the run, in one word."""
    if job.deleting:
        return "Cancelling" if labels.CANCELLED_ANNOTATION in job.annotations else "Terminating"
    if job.finished is not None:
        return "Succeeded" if job.finished.type == "Complete" else "Failed"
    if job.suspended:
        return "Queued" if job.queued else "Suspended"
    if pod is None:
        return PENDING
    return _state_of_pod(pod)


def _state_of_pod(pod: PodSnapshot) -> str:
    if pod.deleting:
        return "Terminating"
    agent = pod.agent
    match agent.state if agent is not None else None:
        case Running():
            return "Running"
        case Terminated(exit_code=code):
            return "Ended" if code == 0 else "Failed"
        case Waiting(reason=reason) if reason:
            return reason
    scheduled = pod.condition("PodScheduled")
    reason_unscheduled = scheduled is not None and not scheduled.is_true and scheduled.reason
    return reason_unscheduled or pod.phase or PENDING


def age(since: datetime | None, now: datetime) -> str | None:
    """The time from `since` to `now` as `kubectl` writes ages: 45s, 12m, 5h, 3d. None if unknown."""
    if since is None:
        return None
    seconds = max((now - since).total_seconds(), 0.0)
    _limit, unit, letter = next(step for step in _AGE_STEPS if seconds < step[0])
    return f"{int(seconds // unit)}{letter}"


def read_selector(text: str) -> Requirement:
    """A function that tests labels against a selector such as `a=b,c!=d,e in (f, g),!h`.

    Raises `SelectorInvalid`.
    """
    requirements, position = list[Requirement](), 0
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if found is None:
            raise SelectorInvalid(
                f"{text[position:].strip()!r} is no requirement: expected a=b, a!=b, a in (b, c), a or !a"
            )
        requirements.append(_requirement(found))
        position = found.end()
    return lambda job_labels: all(requirement(job_labels) for requirement in requirements)


def _requirement(found: re.Match[str]) -> Requirement:
    key, absent = found["key"], found["absent"]
    if absent:
        return lambda job_labels: absent not in job_labels
    if found["op"]:
        value, equal = found["value"], found["op"] != "!="
        return lambda job_labels: (job_labels.get(key) == value) is equal
    if found["set"]:
        values, wanted = {value.strip() for value in found["values"].split(",")}, found["set"] == "in"
        return lambda job_labels: (job_labels.get(key) in values) is wanted
    return lambda job_labels: key in job_labels
