"""`claude-k8s describe`: everything that is known about one run, on one page."""

import os
from contextlib import suppress
from functools import partial
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_object
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.cli.describe_text import description_text
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.find_run import find_record, job_of_record, job_on_cluster, run_id_of
from paperclip_claude_k8s.cli.follow_job import FollowedJob, OutputJournal, follow_job
from paperclip_claude_k8s.cli.job_end import Verdict, annotated_result, annotated_verdict, verdict_of
from paperclip_claude_k8s.cli.job_rows import row_of
from paperclip_claude_k8s.cli.next_commands import next_commands
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.run_holder import Holder, holder_of_job
from paperclip_claude_k8s.cli.run_lookup_options import DescribeOptions
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.text_tables import terminal_width
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import (
    Condition,
    EventSnapshot,
    JobSnapshot,
    PodSnapshot,
    Running,
    Terminated,
)
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.ports import Ports, utc_now

MAX_EVENTS = 20
"""Number of Events that are shown, the latest ones."""


def describe(options: DescribeOptions) -> int:
    """Print the description. Exit code 1 if there is no such run, or the cluster cannot be read."""
    reply = run_to_reply(lambda: _describe(options), CallProgress())
    code = FAILED if "error" in reply else DONE
    text = partial(description_text, reply, utc_now(), terminal_width())
    return print_reply(reply, code, options.output_format, text)


async def _describe(options: DescribeOptions) -> Reply:
    """The reply. Raises `Stop`."""
    record = find_record(options.run, namespace=options.namespace)
    journal = OutputJournal(lambda *_: None)
    if record is None:
        async with job_on_cluster(options, journal) as (ports, job):
            return await _reply_from_job(job, ports, journal, None)
    try:
        async with job_of_record(record, journal) as (ports, found):
            if found is not None:
                return await _reply_from_job(found, ports, journal, record)
    except Stop as stop:
        return {**_reply_from_record(record), "cluster": stop.detail}
    return _reply_from_record(record)


def _reply_from_record(record: Record) -> Reply:
    """What the record alone shows of a run."""
    agent = record.request["agent"].get("id")
    outcome = record.outcome or {}
    usage = get_object(get_object(dict(outcome), "result"), "usage")
    verdict = Verdict.of_reply(outcome) if outcome else None
    known = {
        "run_id": record.run_id,
        "state": record.status.capitalize(),
        "agent": agent,
        "namespace": record.target.namespace or None,
        "job": record.jobs[-1].name if record.jobs else None,
        "created": record.created,
        "server": record.target.server or None,
        "record": str(State(state_folder(os.environ)).files(record.run_id).folder),
        "held_by": None,
        "usage": {**usage, "costUsd": get_object(dict(outcome), "result").get("costUsd")} if usage else None,
        "verdict": verdict.text if verdict is not None else None,
    }
    has_result = bool(outcome)
    commands = next_commands(record.run_id, ended=has_result, may_continue=not has_result, is_held=False)
    return {**known, "next": commands}


async def _reply_from_job(
    job: JobSnapshot, ports: Ports, journal: OutputJournal, record: Record | None
) -> Reply:
    """What the cluster, and the record if there is one, show of a run. Raises `ClusterError`."""
    pods = (await ports.cluster.list_pods(job.ref.namespace, labels.ALL_OURS)).items
    row = row_of(job, pods, utc_now())
    pod = next((pod for pod in pods if pod.name == row["pod"]), None)
    followed = await follow_job(job, ports, journal, follow=False)
    holder = await holder_of_job(job, ports)
    verdict = _verdict(job, followed, record)
    ended = verdict is not None or job.finished is not None
    recorded = _reply_from_record(record) if record is not None else {}
    return {
        **recorded,
        **row,
        "run_id": record.run_id if record is not None else row["run_id"],
        "agent_name": job.annotations.get(labels.AGENT_NAME_ANNOTATION),
        "held_by": None if ended else holder.description,
        "phases": _phases(job, pod),
        "conditions": [_condition(condition) for condition in (*job.conditions, *_pod_conditions(pod))],
        "containers": _containers(pod),
        "events": [_event(event) for event in await _events(job, pod, ports)],
        "usage": _usage(job, followed, recorded),
        "verdict": verdict.text if verdict is not None else None,
        "next": _next(job, record, holder, ended=ended),
    }


def _verdict(job: JobSnapshot, followed: FollowedJob, record: Record | None) -> Verdict | None:
    """The verdict of the record, else of the host's annotation on the Job, else of Job and output.

    If Job and output show the annotation's error, their verdict is used, because it has a message, too.
    """
    if record is not None and record.outcome is not None:
        return Verdict.of_reply(record.outcome)
    judged = verdict_of(job, followed)
    annotated = annotated_verdict(job)
    return (
        judged
        if annotated is None or (judged is not None and judged.error_code == annotated.error_code)
        else annotated
    )


def _next(job: JobSnapshot, record: Record | None, holder: Holder, *, ended: bool) -> list[str]:
    run_id = record.run_id if record is not None else run_id_of(job)
    may_continue = record is not None and record.outcome is None
    namespace = "" if record is not None else job.ref.namespace
    return next_commands(
        run_id, ended=ended, may_continue=may_continue, is_held=holder.works, namespace=namespace
    )


def _phases(job: JobSnapshot, pod: PodSnapshot | None) -> dict[str, str | None]:
    """When the run reached each phase; None if it has not, or if that is unknown."""
    state = pod.agent.state if pod is not None and pod.agent is not None else None
    scheduled = pod.condition("PodScheduled") if pod is not None else None
    started = state.started if isinstance(state, Running | Terminated) else None
    times = {
        "created": job.created,
        "pod_created": pod.created if pod is not None else None,
        "scheduled": scheduled.since if scheduled is not None and scheduled.is_true else None,
        "started": started,
        "ended": state.finished if isinstance(state, Terminated) else None,
    }
    return {name: format_time(time) if time is not None else None for name, time in times.items()}


def _pod_conditions(pod: PodSnapshot | None) -> tuple[Condition, ...]:
    return pod.conditions if pod is not None else ()


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason or None,
        "message": condition.message or None,
    }


def _containers(pod: PodSnapshot | None) -> list[dict[str, Any]]:
    if pod is None:
        return []
    found = []
    for container in (*pod.init_containers, *pod.containers):
        state = container.state
        detail = "" if isinstance(state, Running) or state is None else state.reason
        code = state.exit_code if isinstance(state, Terminated) else None
        word = type(state).__name__.lower() if state is not None else "unknown"
        found.append({"name": container.name, "state": word, "reason": detail or None, "exit_code": code})
    return found


async def _events(job: JobSnapshot, pod: PodSnapshot | None, ports: Ports) -> list[EventSnapshot]:
    """The last Events about Job and Pod, oldest first; none for accounts that may not list them."""
    found = list[EventSnapshot]()
    with suppress(ClusterError):
        for uid in (job.ref.uid, *((pod.uid,) if pod is not None else ())):
            found += await ports.cluster.list_events(job.ref.namespace, uid)
    return sorted(found, key=lambda event: event.seen.timestamp() if event.seen else 0.0)[-MAX_EVENTS:]


def _event(event: EventSnapshot) -> dict[str, Any]:
    return {
        "seen": format_time(event.seen) if event.seen is not None else None,
        "type": event.type,
        "reason": event.reason,
        "about": event.about,
        "count": event.count,
        "message": event.message,
    }


def _usage(job: JobSnapshot, followed: FollowedJob, recorded: Reply) -> dict[str, Any] | None:
    """Tokens and cost: from the record, else from the host's annotation on the Job, else from the output."""
    if recorded.get("usage"):
        return dict(recorded["usage"])
    if annotated := annotated_result(job):
        return {**get_object(annotated, "usage"), "costUsd": annotated.get("costUsd")}
    if followed.transcript is None:
        return None
    return _wire_usage(followed.transcript.reported_usage.for_run(resumed=None))


def _wire_usage(usage: RunUsage) -> dict[str, Any]:
    tokens = usage.usage
    counts = (
        {}
        if tokens is None
        else {
            "inputTokens": tokens.input_tokens,
            "outputTokens": tokens.output_tokens,
            "cachedInputTokens": tokens.cached_input_tokens,
        }
    )
    return {**counts, "costUsd": usage.cost_usd}
