"""Public helpers for hosts, and for programs that evaluate captured output of Claude Code.

Names and texts are shared by all Paperclip adapters of this kind, and are part of the interface.

Most functions are the ones that the adapter itself uses, so their results agree with those of a run:
`classify_orphan`, `describe_claude_failure`, `describe_truncation_cause`, `detect_claude_login_required`,
`parse_claude_stream_json`, `sanitize_label_value`, `should_abort_for_cancellation`,
`is_claude_max_turns_result`, `is_claude_unknown_session_error`, `extract_claude_login_url`;
`build_partial_run_error` renders the same messages from plain text. The others exist for hosts only:
`LogLineDedupFilter`, `append_with_byte_cap`, `describe_pod_terminated_error`, `is_k8s_404`, `parse_json`.

Kubernetes objects may be those of `kubernetes_asyncio` or `kubernetes`, or plain dicts with the names of
fields in JSON (`exitCode`) or in Python (`exit_code`). `docs/building-hosts.md` compares every name with that
of the TypeScript adapter.

    >>> is_claude_max_turns_result({"subtype": "error_max_turns"})
    True
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.claude import StreamReader, Transcript, failure_texts
from paperclip_claude_k8s.claude.classification import (
    FailureClass,
    classify,
    find_login_url,
    reports_unusable_session,
)
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.claude.failure_texts import describe_claude_failure
from paperclip_claude_k8s.claude.results import is_max_turns
from paperclip_claude_k8s.cluster.client_objects import json_of
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import ContainerSnapshot, JobSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.reading import job_snapshot, pod_snapshot
from paperclip_claude_k8s.plan.identity import label_value as sanitize_label_value
from paperclip_claude_k8s.verdict import slot
from paperclip_claude_k8s.verdict.ending import is_cancelled
from paperclip_claude_k8s.verdict.slot import Claimant, OrphanClass

__all__ = [
    "LogLineDedupFilter",
    "LoginState",
    "OrphanClass",
    "append_with_byte_cap",
    "build_partial_run_error",
    "classify_orphan",
    "describe_claude_failure",
    "describe_pod_terminated_error",
    "describe_truncation_cause",
    "detect_claude_login_required",
    "extract_claude_login_url",
    "is_claude_max_turns_result",
    "is_claude_unknown_session_error",
    "is_k8s_404",
    "parse_claude_stream_json",
    "parse_json",
    "sanitize_label_value",
    "should_abort_for_cancellation",
]

NOT_FOUND = 404
_STATUS_FIELDS = ("status", "status_code", "statusCode")
_STATUS_IN_MESSAGE = re.compile(r"HTTP-Code:\s*404\b")
TAIL_BYTES = 4 * 1024 * 1024
"""Number of last bytes of a run's output that hosts keep."""


def append_with_byte_cap(kept: str, chunk: str, cap: int = TAIL_BYTES) -> str:
    """The last `cap` bytes of both texts joined, in UTF-8. A character that would be cut is dropped."""
    whole = (kept + chunk).encode("utf-8", "replace")
    tail = whole[max(len(whole) - cap, 0) :] if cap > 0 else b""
    return tail.decode("utf-8", "ignore")


def parse_json(text: str) -> Any:  # noqa: ANN401  # any JSON value
    """The JSON value in the text; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_k8s_404(error: object) -> bool:
    """Whether an API call failed because the object does not exist.

    Accepts the exceptions of Kubernetes clients, such as `kubernetes_asyncio`'s `ApiException`. They have the
    HTTP status as `status`, `status_code` or `statusCode` (of the exception or of its `response`), or as
    `HTTP-Code: 404` in the message. The API's answer is accepted too, as a `V1Status` or a dict with the kind
    `Status` and the status as `code`.
    """
    if isinstance(error, ClusterError):
        return error.not_found
    if not isinstance(error, BaseException):
        is_status = type(error).__name__ == "V1Status" or json_of(error).get("kind") == "Status"
        return is_status and json_of(error).get("code") == NOT_FOUND
    holders = (error, getattr(error, "response", None))
    if any(_field(holder, name) == NOT_FOUND for holder in holders for name in _STATUS_FIELDS):
        return True
    return bool(_STATUS_IN_MESSAGE.search(str(error)))


def _field(holder: object, name: str) -> object:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def should_abort_for_cancellation(status: str | None) -> bool:
    """Whether the status of a run in the host's API means that the agent must be stopped."""
    return is_cancelled(status)


def build_partial_run_error(
    exit_code: int | None, model: str, stdout: str | bytes, pod_state: object = None
) -> str:
    """The message for output with neither a result event nor an answer. It never quotes events.

    `exit_code`: None if unknown. `model`: "" if unknown. `pod_state`: how the agent's container ended, as a
    `V1ContainerStateTerminated`, `V1ContainerState`, `V1ContainerStatus` or `V1Pod`, or a dict with
    `exitCode`, `reason`, `message` and `signal`; None if unknown. The message shows `exit_code`, never the
    exit code of `pod_state`.
    """
    text = stdout.decode("utf-8", "replace") if isinstance(stdout, bytes) else stdout
    return failure_texts.build_partial_run_error(exit_code, model, text, _container_end(pod_state))


def describe_truncation_cause(
    state: object,
    lookup: Mapping[str, Any] | None = None,
    *,
    pod_missing: bool | None = None,
    phase: str = "",
) -> str:
    """Why the output stops in the middle of a message.

    `state`: how the agent's container ended, as `pod_state` in `build_partial_run_error`; None if that was
    not observed. `pod_missing`: whether the Pod no longer existed; None if it could not be read. `phase`: the
    Pod's. The last two may instead be in the mapping `lookup`, as `podMissing` and `phase`.
    """
    seen = json_of(lookup)
    missing = seen.get("podMissing", pod_missing)
    return failure_texts.describe_truncation_cause(
        _container_end(state),
        pod_missing=None if missing is None else bool(missing),
        phase=get_text(seen, "phase") or phase,
    )


def describe_pod_terminated_error(pod: str, phase: str, containers: Iterable[object] | None) -> str:
    """The message for a Pod that ended before its log could be read.

    `pod`: its name. `containers`: the statuses of its containers, as `V1ContainerStatus` or dicts; None if
    the Pod has none yet. The agent's container is named `claude`.
    """
    agent = _agent(_container(container) for container in containers or ())
    text = f"Pod {pod} reached phase={phase}"
    if agent is None or not isinstance(agent.state, Terminated):
        return text
    code = "unknown" if agent.state.exit_code is None else agent.state.exit_code
    return f"{text}: claude exited {code} ({agent.state.reason or agent.state.message or 'no reason'})"


def _agent(containers: Iterable[ContainerSnapshot]) -> ContainerSnapshot | None:
    return next((container for container in containers if container.name == AGENT_CONTAINER), None)


def _container(status: object) -> ContainerSnapshot:
    if isinstance(status, ContainerSnapshot):
        return status
    found = pod_snapshot({"status": {"containerStatuses": [json_of(status)]}}).containers
    return found[0] if found else ContainerSnapshot("")


def _container_end(state: object) -> Terminated | None:
    """How a container ended; None if it has not, or if nothing is known."""
    if state is None or isinstance(state, Terminated):
        return state
    if not isinstance(state, Mapping) and not hasattr(state, "attribute_map"):
        return None
    found = json_of(state)
    container: ContainerSnapshot | None
    if isinstance(found.get("status"), dict):  # a Pod
        container = _agent(pod_snapshot(found).containers)
    elif not {"state", "terminated", "running", "waiting"}.isdisjoint(found):
        container = _container({"state": found, **found})  # `found` has a `state`, or is one
    else:
        container = _container({"state": {"terminated": found}})
    end = container.state if container is not None else None
    return end if isinstance(end, Terminated) else None


def classify_orphan(job: object, expected: Claimant | Mapping[str, Any]) -> OrphanClass:
    """Whether a run may continue a live Job that an earlier host process left.

    `job`: a `V1Job` or a dict. `expected`: the run's `{"taskId": ..., "sessionId": ...}`, each None if
    unknown. The result equals one of the texts "reattach", "block_task_unknown", "block_task_mismatch" and
    "block_session_mismatch"; for a `Claimant` that adopts no orphans also "block_reattach_disabled".
    """
    claimant = expected if isinstance(expected, Claimant) else _claimant(expected)
    snapshot = job if isinstance(job, JobSnapshot) else job_snapshot(json_of(job))
    return slot.classify_orphan(snapshot, claimant)


def _claimant(expected: Mapping[str, Any]) -> Claimant:
    ids = json_of(expected)
    task, session = (sanitize_label_value(get_text(ids, key)) for key in ("taskId", "sessionId"))
    return Claimant(run=None, task=task, session=session)


def parse_claude_stream_json(stdout: str | bytes) -> Transcript:
    """Evaluate captured output: result, session, usage, and whatever else the events contain."""
    reader = StreamReader()
    reader.feed(stdout.encode("utf-8", "surrogatepass") if isinstance(stdout, str) else stdout)
    return reader.finish()


def is_claude_max_turns_result(result: Mapping[str, Any] | None) -> bool:
    """Whether Claude Code stopped because `--max-turns` was reached. The host continues such a run."""
    return is_max_turns(result or {})


def is_claude_unknown_session_error(result: Mapping[str, Any] | None) -> bool:
    """Whether Claude Code could not resume the requested session."""
    return reports_unusable_session(result or {})


class LoginState(NamedTuple):
    """What the output of a run shows about the agent's login."""

    requires_login: bool
    login_url: str | None


def detect_claude_login_required(
    parsed: Mapping[str, Any] | None, stdout: str = "", stderr: str = ""
) -> LoginState:
    """Whether a failed run needs a person to log in, and the address for that if one was printed.

    `parsed`: the result event. Only its fields and its text decide: `stdout` and `stderr` may quote anything,
    and are searched for the address only.
    """
    found = classify(Transcript(result=parsed or {}), datetime.now(UTC)).failure_class
    url = find_login_url("\n".join((failure_texts.terminal_text(parsed or {}), stdout, stderr)))
    return LoginState(found is FailureClass.AUTH_REQUIRED, url)


def extract_claude_login_url(text: str) -> str | None:
    """The first login address in the text; None if there is none."""
    return find_login_url(text)
