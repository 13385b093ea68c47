"""Answers about a run that a record alone can give."""

from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Answer, failure, resumable


def polling(record: Record) -> Answer:
    """A run that goes on."""
    job = record.jobs[-1].name if record.jobs else None
    answer = {"run_id": record.run_id, "status": "polling", "job": job, "namespace": record.place.namespace}
    return resumable(answer)


def lost(record: Record) -> Answer:
    why = "the run's Job is gone, and nobody took its result: it was deleted, or its time to live was over"
    if record.embedded:
        why = "the development cluster of this run lived inside of its shell, and ended with it"
    return failure("result_lost", f"{why}; start a new run", record.run_id)
