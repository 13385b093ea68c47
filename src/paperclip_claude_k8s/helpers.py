"""Public helpers for hosts, and for programs that evaluate captured output of Claude Code.

Names and texts are shared by all Paperclip adapters of this kind, and are part of the interface.

Most functions are the ones that the adapter itself uses, so their results agree with those of a run:
`classify_orphan`, `describe_claude_failure`, `describe_truncation_cause`, `parse_claude_stream_json`,
`sanitize_label_value`, `should_abort_for_cancellation`, `is_claude_max_turns_result`,
`is_claude_unknown_session_error`, `extract_claude_login_url`; `build_partial_run_error` renders the same
messages from plain text. The others exist for hosts only: `LogLineDedupFilter`, `append_with_byte_cap`,
`describe_pod_terminated_error`, `is_k8s_404`, `parse_json`.

    >>> is_claude_max_turns_result({"subtype": "error_max_turns"})
    True
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.classification import find_login_url, reports_unusable_session
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.claude.failure_texts import (
    build_partial_run_error,
    describe_claude_failure,
    describe_truncation_cause,
)
from paperclip_claude_k8s.claude.results import is_max_turns
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import ContainerSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.plan.identity import label_value as sanitize_label_value
from paperclip_claude_k8s.verdict.ending import is_cancelled
from paperclip_claude_k8s.verdict.slot import classify_orphan

__all__ = [
    "LogLineDedupFilter",
    "append_with_byte_cap",
    "build_partial_run_error",
    "classify_orphan",
    "describe_claude_failure",
    "describe_pod_terminated_error",
    "describe_truncation_cause",
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

    Accepts `ClusterError` and the exceptions of other Kubernetes clients, which have the HTTP status as
    `status`, `status_code` or `statusCode` (of the exception or of its `response`), or as `HTTP-Code: 404` in
    the message.
    """
    if isinstance(error, ClusterError):
        return error.not_found
    if not isinstance(error, BaseException):
        return False
    holders = (error, getattr(error, "response", None))
    if any(_field(holder, name) == NOT_FOUND for holder in holders for name in _STATUS_FIELDS):
        return True
    return bool(_STATUS_IN_MESSAGE.search(str(error)))


def _field(holder: object, name: str) -> object:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def should_abort_for_cancellation(status: str | None) -> bool:
    """Whether the status of a run in the host's API means that the agent must be stopped."""
    return is_cancelled(status)


def describe_pod_terminated_error(pod: str, phase: str, containers: Sequence[ContainerSnapshot]) -> str:
    """The message for a Pod that ended before its log could be read."""
    agent = next((container for container in containers if container.name == AGENT_CONTAINER), None)
    text = f"Pod {pod} reached phase={phase}"
    if agent is None or not isinstance(agent.state, Terminated):
        return text
    code = "unknown" if agent.state.exit_code is None else agent.state.exit_code
    return f"{text}: claude exited {code} ({agent.state.reason or agent.state.message or 'no reason'})"


def parse_claude_stream_json(stdout: str | bytes) -> Transcript:
    """Evaluate captured output: result, session, usage, and whatever else the events contain."""
    reader = StreamReader()
    reader.feed(stdout.encode("utf-8", "surrogatepass") if isinstance(stdout, str) else stdout)
    return reader.finish()


def is_claude_max_turns_result(result: Mapping[str, Any] | None) -> bool:
    """Whether the CLI stopped because `--max-turns` was reached. The host continues such a run."""
    return is_max_turns(result or {})


def is_claude_unknown_session_error(result: Mapping[str, Any] | None) -> bool:
    """Whether the CLI could not resume the requested session."""
    return reports_unusable_session(result or {})


def extract_claude_login_url(text: str) -> str | None:
    """The first login address in the text; None if there is none."""
    return find_login_url(text)
