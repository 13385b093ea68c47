"""How a run ended, in words, as far as its Job and its output show."""

import json
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.base.json_readers import as_object, get_text
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cli.find_run import run_id_of
from paperclip_claude_k8s.cli.follow_job import FollowedJob
from paperclip_claude_k8s.cli.runs.replies import Reply
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.replay.judging import judge_transcript
from paperclip_claude_k8s.verdict.ending import judge_ending

MAX_ANNOTATION_CHARS = 10_000
"""A longer annotation was not written by the adapter, and is not read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended. `text`: one sentence."""

    text: str
    succeeded: bool
    error_code: str = ""

    @classmethod
    def of_reply(cls, reply: Reply) -> "Verdict":
        """The verdict of the outcome in a record."""
        code = str(reply.get("error_code") or reply.get("error") or "")
        return cls.of(str(reply.get("run_id")), code, str(reply.get("detail") or ""))

    @classmethod
    def of(cls, run: str, code: str, message: str) -> "Verdict":
        """The verdict of a run with this error code. `code`: "" after a success."""
        if not code:
            return cls(f"Run {run} succeeded", succeeded=True)
        reason = f": {neutral(message)}" if message else ""
        verb = "was cancelled" if code == "cancelled" else f"failed ({neutral(code)})"
        return cls(f"Run {run} {verb}{reason}", succeeded=False, error_code=code)


def verdict_of(job: JobSnapshot, followed: FollowedJob) -> Verdict | None:
    """How the run of a followed Job ended; None if the run goes on."""
    ending = judge_ending(followed.known)
    if ending is None:
        return None
    transcript = followed.transcript or StreamReader().finish()
    result = judge_transcript(transcript, ending, resumed=None)
    return Verdict.of(run_id_of(job), str(result.error_code or ""), result.error_message or "")


def annotated_result(job: JobSnapshot) -> dict[str, Any]:
    """The result that a host has annotated on a Job that is kept; {} without a readable annotation."""
    text = job.annotations.get(labels.RESULT_ANNOTATION, "")
    try:
        return as_object(json.loads(text)) if 0 < len(text) <= MAX_ANNOTATION_CHARS else {}
    except (ValueError, RecursionError):
        return {}


def annotated_verdict(job: JobSnapshot) -> Verdict | None:
    """The verdict of the result that a host has annotated on a Job; None without such a result."""
    result = annotated_result(job)
    return Verdict.of(run_id_of(job), get_text(result, "errorCode"), "") if result else None
