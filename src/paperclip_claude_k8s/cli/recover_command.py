"""`claude-k8s recover`: lets a Paperclip server go on with the tasks that it holds after it was killed.

The server holds such a task until someone reports how the task's last run ended. This command looks up the
run's Job in the cluster and reports the finding to the server. Then the server starts the task's next run,
which adopts a running Job, or takes the result of a finished Job. A task stays held if its Job cannot be
looked up, if its agent may work where the next run does not find it, or if nothing proves that it has ended.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.base.http import ProxyUnsupported, open_session
from paperclip_claude_k8s.cli.command_options import RecoverOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.held_jobs import HeldJobs
from paperclip_claude_k8s.cli.held_verdict import Finding
from paperclip_claude_k8s.cli.paperclip_server import HeldTask, PaperclipServer, ServerRefused
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.host.redact import mask_credentials

TOKEN_VARIABLE = "CLAUDE_K8S_SERVER_TOKEN"  # noqa: S105  # the name of a variable
REQUEST_TIMEOUT = 60.0
"""Seconds for one request to the server."""
ABSENCE_REPORTED = "The operator has found none elsewhere, so the run's agent does not run."
COLUMNS = ("task", "agent", "run", "job_state", "outcome")


def recover(options: RecoverOptions) -> int:
    """Print `{server, tasks: [{task, issue, agent, run, error_code, job_state, evidence, outcome}]}`.

    `outcome`: `released`, `held` (`--dry-run`, or a next run would be wrong) or `refused` by the server.
    Exit code 0 if every task was released, and always with `--dry-run`.
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
        server = _server_at(url, session)
        try:
            held = await server.held_tasks()
        except ServerRefused as refused:
            hint = f"; a server with logins needs the key of a board member in {TOKEN_VARIABLE}"
            raise Stop("task_failed", f"{refused}{hint}") from None
        async with HeldJobs(options) as jobs:
            tasks = [await _release(task, server, await jobs.look_up(task), options) for task in held]
        return {"server": mask_credentials(url), "tasks": tasks}


def _server_at(url: str, session: aiohttp.ClientSession) -> PaperclipServer:
    """Raises `Stop`, without quoting an address, which may contain a password."""
    try:
        return PaperclipServer(session, url, os.environ.get(TOKEN_VARIABLE, ""), os.environ)
    except ProxyUnsupported as error:
        raise Stop("task_failed", str(error)) from None
    except ValueError:  # of urlsplit, for an IPv6 address without its last bracket
        raise Stop("task_failed", "the address of the server is invalid") from None


async def _release(
    task: HeldTask, server: PaperclipServer, finding: Finding, options: RecoverOptions
) -> dict[str, Any]:
    if options.release_absent and finding.state == "not_found":
        finding = replace(finding, evidence=f"{finding.evidence} {ABSENCE_REPORTED}", why_held="")
    outcome, message = "held", f"{finding.evidence} {finding.why_held}".strip()
    if not finding.why_held and not options.dry_run:
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
