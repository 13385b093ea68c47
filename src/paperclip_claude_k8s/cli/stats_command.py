"""`claude-k8s stats`: tokens and cost of runs, from the records of this user or the Jobs of a namespace."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.base.json_readers import get_object
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cli.chosen_cluster import jobs_of_adapter
from paperclip_claude_k8s.cli.command_options import StatsOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply, print_text
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.job_end import annotated_result
from paperclip_claude_k8s.cli.run_command import run_to_reply, sync_to_reply
from paperclip_claude_k8s.cli.run_costs import CostRow, GroupBy, RunCost, as_csv, parse_moment, rows_of
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.text_tables import drawn
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.ports import utc_now


def stats(options: StatsOptions) -> int:
    """Print one row for each agent, day, model or code, and the total; as JSON or CSV."""
    cost_rows: list[CostRow] = []
    by = GroupBy(options.by)

    def reply_about(runs: Iterable[RunCost]) -> Reply:
        try:
            since = parse_moment(options.since, utc_now()) if options.since else None
        except ValueError as error:
            raise Stop("usage", f"--since: {error}") from None
        cost_rows.extend(rows_of(runs, by, since))
        return {"by": by.value, "rows": [asdict(row) for row in cost_rows]}

    async def reply_about_jobs() -> Reply:
        _, jobs = await jobs_of_adapter(options)
        return reply_about([cost for job in jobs if (cost := cost_of_job(job)) is not None])

    if options.jobs:
        reply = run_to_reply(reply_about_jobs, CallProgress())
    else:
        reply = sync_to_reply(lambda: reply_about(costs_of_records()))
    if "rows" not in reply:
        return print_reply(reply, FAILED)
    if options.output == "csv":
        print_text(as_csv(cost_rows, by))
        return DONE
    output = Format(options.output) if options.output is not None else None
    draw = partial(_show_table, cost_rows, by.value)
    return print_reply(reply, DONE, output, lambda _: drawn(draw))


def costs_of_records() -> Iterator[RunCost]:
    """The ended runs in the state folder; unreadable records are left out."""
    for record in State(state_folder(os.environ)).all():
        if isinstance(record, Record) and (cost := cost_of_record(record)) is not None:
            yield cost


def cost_of_record(record: Record) -> RunCost | None:
    """The cost of a run; None if the run has not ended, or its result is unknown."""
    result = get_object(dict(record.outcome or {}), "result")
    if not result:
        return None
    agent = str(record.request["agent"].get("id") or "")
    return RunCost.of(result, agent, parse_time(record.updated))


def cost_of_job(job: JobSnapshot) -> RunCost | None:
    """The cost in the annotation of a retained Job; None without a readable annotation.

    The time at which the result was taken stands for the end of the run.
    """
    result = annotated_result(job)
    ended = parse_time(job.annotations.get(labels.TAKEN_ANNOTATION))
    return RunCost.of(result, job.labels.get(labels.AGENT_LABEL, ""), ended) if result else None


def _show_table(rows: list[CostRow], by: str, console: Console) -> None:
    table = Table(by, "runs", "failed", "USD", "input", "output", "cached", box=None, pad_edge=False)
    for row in rows:
        unknown = f" + {row.unknown_costs} unknown" if row.unknown_costs else ""
        numbers = (row.input_tokens, row.output_tokens, row.cached_input_tokens)
        cost = f"{row.cost_usd:.4f}{unknown}"
        table.add_row(Text(neutral(row.key)), str(row.runs), str(row.failed), cost, *map(str, numbers))
    console.print(table)
