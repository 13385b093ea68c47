"""`claude-k8s metrics`: the ended runs in the state folder as metrics for Prometheus."""

import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paperclip_claude_k8s.base.json_readers import get_list, get_number, get_object
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply, print_text
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.stats_command import cost_of_record
from paperclip_claude_k8s.instrumentation.event_types import (
    LogTotals,
    Outcome,
    RunEnded,
    RunInfo,
    TokenTotals,
)

if TYPE_CHECKING:
    from paperclip_claude_k8s.instrumentation.run_metrics import RunMetrics

INTERVAL = 15.0
"""Seconds between two reads of the state folder."""


def metrics(port: int, *, once: bool) -> int:
    """Print the metrics, or serve them on loopback until the command is interrupted."""
    try:
        from paperclip_claude_k8s.instrumentation import prometheus  # noqa: PLC0415  # an extra
        from paperclip_claude_k8s.instrumentation.run_metrics import RunMetrics  # noqa: PLC0415
    except ModuleNotFoundError as error:
        detail = f"{error.name} is missing: pip install 'paperclip-adapter-claude-k8s[prometheus]'"
        return print_reply({"status": "failed", "error": "usage", "detail": detail}, FAILED)
    recorder, seen = RunMetrics(prometheus.prometheus_meter()), set[str]()
    record_new(recorder, seen)
    if once:
        print_text(prometheus.as_text())
        return DONE
    try:
        prometheus.serve(port)
    except OSError as error:
        detail = f"port {port} cannot be used: {error.strerror or error}"
        return print_reply({"status": "failed", "error": "task_failed", "detail": detail}, FAILED)
    while True:
        threading.Event().wait(INTERVAL)
        record_new(recorder, seen)


def record_new(recorder: "RunMetrics", seen: set[str]) -> None:
    """Count the runs that have ended and are not in `seen`."""
    for record in State(state_folder(os.environ)).all():
        if isinstance(record, Record) and record.run_id not in seen and record.outcome is not None:
            seen.add(record.run_id)
            recorder.record_end(end_of(record))


def end_of(record: Record) -> RunEnded:
    """The event with which the run ended, as far as its record shows it."""
    cost, outcome = cost_of_record(record), dict(record.outcome or {})
    extra = get_object(get_object(outcome, "result"), "resultJson")
    log = get_object(extra, "log")
    size, lines, reconnects = (int(get_number(log, key) or 0) for key in ("bytes", "lines", "reconnects"))
    totals = LogTotals(size, lines, reconnects, len(get_list(log, "gaps")))
    ended: Outcome = "succeeded" if outcome.get("status") == "succeeded" else "failed"
    code = str(outcome.get("error_code") or outcome.get("error") or "")
    return RunEnded(
        at=datetime.now(UTC),
        run=RunInfo(run_id=record.run_id, agent_id=cost.agent if cost else ""),
        outcome="cancelled" if code == "cancelled" else ended,
        error_code=code,
        error_family="",
        error_message="",
        seconds=(cost.seconds if cost else None) or 0.0,
        phases=(),
        model=cost.model if cost else "",
        provider="",
        session="",
        cost_usd=cost.cost_usd if cost else None,
        tokens=TokenTotals(cost.input_tokens, cost.output_tokens, cost.cached_input_tokens) if cost else None,
        log=totals if log else None,
    )
