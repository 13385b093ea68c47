"""`claude-k8s jobs` and `cancel`: list the adapter's Jobs on the cluster, and cancel a run."""

import os
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.chosen_cluster import jobs_of_adapter
from paperclip_claude_k8s.cli.command_options import CancelOptions, JobsOptions, RunOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.run_command import run, run_to_reply
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.replies import Reply
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot

COLUMNS = ("job", "status", "agent", "run_id", "created")


def jobs(options: JobsOptions) -> int:
    """Print `{namespace, jobs: [{job, status, agent, run_id, task, created, detached}]}`, newest Job last."""
    reply = run_to_reply(lambda: _jobs(options), CallProgress())
    if "jobs" in reply:
        _show_table(reply["jobs"])
    return print_reply(reply, DONE if "jobs" in reply else FAILED)


async def _jobs(options: JobsOptions) -> Reply:
    namespace, found = await jobs_of_adapter(options)
    rows = sorted((_row(job) for job in found), key=lambda row: str(row["created"]))
    return {"namespace": namespace, "jobs": rows}


def _row(job: JobSnapshot) -> dict[str, Any]:
    ended = job.finished.type.lower() if job.finished is not None else None
    return {
        "job": job.ref.name,
        "status": "deleting" if job.deleting else ended or "live",
        "agent": job.labels.get(labels.AGENT_LABEL),
        "run_id": job.labels.get(labels.RUN_LABEL),
        "task": job.labels.get(labels.TASK_LABEL),
        "created": format_time(job.created) if job.created is not None else None,
        "detached": labels.DETACHED_ANNOTATION in job.annotations,
    }


def _show_table(rows: list[dict[str, Any]]) -> None:
    console = Console(stderr=True, highlight=False)
    if not rows or not console.is_terminal:
        return
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(neutral(str(row[column] or ""))) for column in COLUMNS))
    console.print(table)


def cancel(options: CancelOptions) -> int:
    """Cancel the run and print its reply. Exit code 0 if the run was cancelled.

    The request is written to the state folder, where the process that works on the run finds it. If no
    process works on it, `run` below takes the run's lock and acts on the request itself.
    """
    progress, run_id = CallProgress(), options.run_id

    async def request_cancel() -> Reply:
        progress.run_id = run_id
        progress.state = state = State(state_folder(os.environ))
        record = state.read(run_id)
        if record.outcome is None:
            state.request_cancel(run_id)
        return {}

    reply = run_to_reply(request_cancel, progress)
    if reply:
        return print_reply(reply, FAILED)
    run_options = RunOptions(
        run_id=run_id,
        timeout=options.timeout,
        kubeconfig=options.kubeconfig,
        kubeconfig_from_option=options.kubeconfig_from_option,
        context=options.context,
        quiet=options.quiet,
        expects_cancelled=True,
    )
    return run(run_options)
