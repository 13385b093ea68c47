"""`claude-k8s jobs` and `cancel`: what runs on the cluster, and how to end it."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.codes import DONE, FAILED
from paperclip_claude_k8s.cli.entry import say
from paperclip_claude_k8s.cli.options import pointed
from paperclip_claude_k8s.cli.run_command import Ledger, Wish, answered, run
from paperclip_claude_k8s.cli.runs.folders import state_folder
from paperclip_claude_k8s.cli.runs.replies import Answer, Stop
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.prepare import own_namespace

COLUMNS = ("job", "status", "agent", "run_id", "created")


def jobs(kubeconfig: Path | None, namespace: str | None, *, devcluster: bool) -> int:
    """`{namespace, jobs: [{job, status, agent, run_id, task, created, detached}]}`; the newest last."""
    given = {"kubeconfig": str(kubeconfig) if kubeconfig else None, "namespace": namespace}
    config = pointed(given, devcluster=devcluster)
    if config is None:
        say({"namespace": namespace, "jobs": []})
        return DONE
    answer = answered(lambda: _jobs(config), Ledger())
    if "jobs" in answer:
        _show(answer["jobs"])
    say(answer)
    return DONE if "jobs" in answer else FAILED


async def _jobs(config: dict[str, Any]) -> Answer:
    process = Process(ProcessSettings(env=os.environ))
    try:
        ports = process.ports(config["kubeconfig"])
        namespace = config["namespace"] or await own_namespace(ports)
        found = await ports.cluster.list_jobs(namespace, labels.ALL_OURS)
    except RunFailure as failure:
        raise Stop("task_failed", failure.failure.message) from None
    except ClusterError as error:
        raise Stop("task_failed", f"the Jobs cannot be listed: {error}") from None
    finally:
        await process.close()
    rows = sorted((_row(job) for job in found.items), key=lambda row: str(row["created"]))
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


def _show(rows: list[dict[str, Any]]) -> None:
    console = Console(stderr=True, highlight=False)
    if not rows or not console.is_terminal:
        return
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row[column] or "") for column in COLUMNS))
    console.print(table)


def cancel(run_id: str, timeout: float, kubeconfig: Path | None, *, quiet: bool) -> int:
    """Leave word for the shell that works on the run, or become it; exit code 0 once it is cancelled."""
    book = Ledger()

    async def leave_word() -> Answer:
        book.run_id = run_id
        book.state = state = State(state_folder(os.environ))
        record = state.read(run_id)
        if record.outcome is None:
            state.wish_stopped(run_id)
        return {}

    answer = answered(leave_word, book)
    if answer:
        say(answer)
        return FAILED
    wish = Wish(
        run_id=run_id,
        timeout=timeout,
        kubeconfig=kubeconfig,
        kubeconfig_given=kubeconfig is not None,
        quiet=quiet,
        is_cancel=True,
    )
    return run(wish)
