"""`claude-k8s recover`: lets a Paperclip server go on with the tasks that it holds after it was killed.

The server holds such a task until it is told how its last run ended. The cluster knows that: each run's Job
is looked up, and the server is told what was found. Then it starts the next run of the task, which adopts the
Job, or takes the result of a finished one. A task whose Job cannot be looked up stays held.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.base.http import open_session
from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.cli.command_options import RecoverOptions, absolute_files
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.kubeconfig_choice import chosen_kubeconfig
from paperclip_claude_k8s.cli.paperclip_server import HeldTask, PaperclipServer, ServerRefused
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.process import Process
from paperclip_claude_k8s.run.prepare import job_namespace

TOKEN_VARIABLE = "CLAUDE_K8S_SERVER_TOKEN"  # noqa: S105  # the name of a variable
REQUEST_TIMEOUT = 60.0
"""Seconds for one request to the server."""
COLUMNS = ("task", "agent", "run", "job_state", "outcome")
JobState = Literal["running", "finished", "collected", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the cluster says about the run of a held task."""

    state: JobState
    evidence: str
    """A sentence for the server's record, or why nothing was found out."""
    completed: bool = False
    """Whether the agent's Job completed without a failure."""


def recover(options: RecoverOptions) -> int:
    """Print `{server, tasks: [{task, agent, run, error_code, job_state, evidence, outcome}]}`.

    `outcome`: `released`, `held` (`--dry-run`, or the Job cannot be looked up) or `refused` by the server.
    Exit code 0 if no task stays held.
    """
    reply = run_to_reply(lambda: _recover(options), CallProgress())
    if "tasks" not in reply:
        return print_reply(reply, FAILED)
    _show_table(reply["tasks"])
    is_done = options.dry_run or all(row["outcome"] == "released" for row in reply["tasks"])
    return print_reply(reply, DONE if is_done else FAILED)


async def _recover(options: RecoverOptions) -> Reply:
    url = options.server or os.environ.get("PAPERCLIP_API_URL", "")
    if not url.startswith(("http://", "https://")):
        raise Stop("task_failed", "name the server: --server http://HOST:PORT")
    async with open_session(total=REQUEST_TIMEOUT) as session:
        server = PaperclipServer(session, url, os.environ.get(TOKEN_VARIABLE, ""), os.environ)
        try:
            held = await server.held_tasks()
        except ServerRefused as refused:
            step = f"; a server with logins needs the key of a board member in {TOKEN_VARIABLE}"
            raise Stop("task_failed", f"{refused}{step}") from None
        return {"server": url, "tasks": [await _release(task, server, options) for task in held]}


async def _release(task: HeldTask, server: PaperclipServer, options: RecoverOptions) -> dict[str, Any]:
    finding = await _look_up(task, options)
    outcome, message = "held", finding.evidence
    if finding.state != "unknown" and not options.dry_run:
        try:
            await server.release(task, finding.evidence, completed=finding.completed)
            outcome = "released"
        except ServerRefused as refused:
            outcome, message = "refused", str(refused)
    return {
        "task": task.title,
        "issue": task.issue,
        "agent": task.agent_name,
        "run": task.run,
        "error_code": task.error_code,
        "job_state": finding.state,
        "evidence": message,
        "outcome": outcome,
    }


async def _look_up(task: HeldTask, options: RecoverOptions) -> Finding:
    """Find the Job of the task's run on the cluster that the agent's settings name."""
    kubeconfig, context, namespace = _target(task.config, options)
    process = Process(with_grants(ProcessSettings.read(os.environ), _granted(kubeconfig, options)))
    try:
        ports = process.ports(kubeconfig, context)
        where = await job_namespace(namespace, kubeconfig, ports)
        return judge(task.run, where, await _jobs_of(task, where, ports))
    except RunFailure as failure:
        return Finding("unknown", failure.failure.message)
    except ClusterError as error:
        return Finding("unknown", f"the cluster cannot be read: {error}")
    finally:
        await process.close()


def _target(config: Mapping[str, Any], options: RecoverOptions) -> tuple[str | None, str | None, str | None]:
    """Kubeconfig, context, namespace: from an option, else the agent's settings, else the environment."""
    given = str(options.kubeconfig) if options.kubeconfig is not None else None
    typed = given if options.kubeconfig_from_option else None
    return (
        typed or as_trimmed(config.get("kubeconfig")) or given,
        options.context or as_trimmed(config.get("kubeContext")),
        options.namespace or as_trimmed(config.get("namespace")),
    )


def _granted(kubeconfig: str | None, options: RecoverOptions) -> dict[str, list[str]]:
    """What this person chose. The agents' settings are from others: what only they name needs the policy."""
    own = chosen_kubeconfig(options.kubeconfig, None, devcluster=False)
    is_own = kubeconfig is not None and absolute_files(kubeconfig) == own
    return grants(kubeconfig if is_own else None, None, options.context)


async def _jobs_of(task: HeldTask, namespace: str, ports: Ports) -> Sequence[JobSnapshot]:
    """The Jobs of the task, of whatever run: a Job that a later run adopted has that run's label."""
    selector = {**labels.ALL_OURS, labels.TASK_LABEL: label_value(task.issue) or ""}
    return (await ports.cluster.list_jobs(namespace, selector)).items


def judge(run: str, namespace: str, jobs: Sequence[JobSnapshot]) -> Finding:
    """What these Jobs of a task prove about its run. `jobs`: all of the task in this namespace."""
    stopped = f"The server that observed run {run} has stopped."
    live = [job for job in jobs if job.finished is None and not job.deleting]
    if live:
        found = f"Job {live[0].ref.name} of this task still runs in namespace {namespace};"
        return Finding("running", f"{stopped} {found} the next run adopts it and starts no second agent.")
    ours = [job for job in jobs if job.labels.get(labels.RUN_LABEL) == label_value(run)]
    if not ours:
        found = f"No Job of this run exists in namespace {namespace}, so its agent does not run."
        return Finding("absent", f"{stopped} {found} Whether it had finished its work is not known.")
    job = max(ours, key=lambda one: str(one.created))
    end = job.finished.type if job.finished is not None else "being deleted"
    found = f"Job {job.ref.name} of run {run} in namespace {namespace} is {end}"
    if labels.TAKEN_ANNOTATION in job.annotations:
        return Finding("collected", f"{found}, and its result was collected.", completed=end == "Complete")
    text = f"{found}, and its agent has stopped. The next run takes its result."
    return Finding("finished", text, completed=end == "Complete")


def _show_table(rows: Sequence[Mapping[str, Any]]) -> None:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return
    if not rows:
        console.print("The server holds no task of this adapter's agents.")
        return
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in COLUMNS))
    console.print(table)
