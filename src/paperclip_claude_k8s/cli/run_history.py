"""Commands about the records in the state folder: `last-run`, `history` and `spawn`."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.options import running_cluster_settings
from paperclip_claude_k8s.cli.prompts import with_prompt
from paperclip_claude_k8s.cli.run_command import check_options, new_config, new_record, sync_to_reply
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop, failure, resumable
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.stats_command import cost_of_record
from paperclip_claude_k8s.host.redact import mask_credentials

PROMPT_CHARS = 80
"""How much of a prompt is shown."""
SPAWN_TIMEOUT = 3600
"""Seconds after which an agent host ends the command that it runs in the background."""
SPAWN_MARGIN = 60
"""The command ends its own wait this many seconds before `SPAWN_TIMEOUT`, to be able to print its reply."""


def last_run() -> int:
    """Print what is known of the newest run. Exit code 1 if there is none, or if its record is unreadable."""

    def work() -> Reply:
        found = State(state_folder(os.environ)).all()
        if not found:
            raise Stop("unknown_run", "no run has been started yet by this user")
        newest = found[0]
        if isinstance(newest, Stop):
            raise newest
        return summary(newest)

    return _print(sync_to_reply(work))


def history(limit: int) -> int:
    """Print the newest runs, up to `limit`, in one JSON object."""

    def work() -> Reply:
        found = State(state_folder(os.environ)).all()[:limit]
        return {"runs": [_unreadable(item) if isinstance(item, Stop) else summary(item) for item in found]}

    reply = sync_to_reply(work)
    _show_table(reply.get("runs", ()))
    return _print(reply)


def spawn(options: RunOptions) -> int:
    """Reserve a run, and print the command with which an agent host runs it in the background.

    The run id is part of that command, so that repeating the command never starts a second run.
    """

    def work() -> Reply:
        given = with_prompt(options)
        check_options(replace(given, submit_only=True))
        config = running_cluster_settings(new_config(given), devcluster=given.devcluster)
        assert config is not None  # noqa: S101  # `check_options` refuses an embedded cluster
        quota_gate.gate_url(config)
        state = State(state_folder(os.environ))
        return spawn_reply(state.write(new_record(given, config)))

    return _print(sync_to_reply(work))


def spawn_reply(record: Record) -> Reply:
    """The reply of `spawn`: the command, also as arguments of the agent host's tool `sessions_spawn`."""
    wait = ["--timeout", str(SPAWN_TIMEOUT - SPAWN_MARGIN), "--quiet"]
    command = shlex.join(["claude-k8s", "run", "--run-id", record.run_id, *wait])
    task = (
        f"Run this command and wait for it: {command}\n"
        "Its stdout ends with one JSON object: report its status, and error and detail if it failed. If it"
        " was cut off, run the very same command again: it goes on with the same run, never a second one."
    )
    arguments = {"task": task, "label": f"claude-k8s {record.run_id}", "runTimeoutSeconds": SPAWN_TIMEOUT}
    reply = {"run_id": record.run_id, "status": "polling", "command": command}
    return {**reply, "sessions_spawn_args": arguments}


def summary(record: Record) -> Reply:
    """The outcome of an ended run. For any other run, what is known of it and how to resume it."""
    about = {
        "created": record.created,
        "updated": record.updated,
        "agent": record.request["agent"].get("id"),
        "prompt": _beginning(get_text(dict(record.request.get("context") or {}), "prompt")),
    }
    if record.outcome is not None:
        return {**record.outcome, **about, **_costs(record)}
    reply = {"run_id": record.run_id, "status": record.status, "phase": record.phase, **about}
    job = {"job": record.jobs[-1].name, "namespace": record.target.namespace} if record.jobs else {}
    return resumable({**reply, **job, "saved_bytes": record.position})


def _beginning(prompt: str) -> str:
    """The first line of the prompt that is not blank, shortened, without credentials."""
    line = mask_credentials(next(iter(prompt.strip().splitlines()), ""))
    return line if len(line) <= PROMPT_CHARS else f"{line[:PROMPT_CHARS]}…"


def _costs(record: Record) -> Reply:
    """Duration, cost and tokens of an ended run; null where unknown."""
    cost = cost_of_record(record)
    if cost is None:
        return {}
    tokens = cost.input_tokens + cost.output_tokens + cost.cached_input_tokens
    return {"duration_sec": cost.seconds, "cost_usd": cost.cost_usd, "tokens": tokens}


def _show_table(rows: Iterable[Reply]) -> None:
    """The runs as a table on stderr, if that is a terminal."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return
    table = Table("created", "status", "seconds", "USD", "tokens", "prompt", box=None, pad_edge=False)
    for row in rows:
        names = ("created", "status", "duration_sec", "cost_usd", "tokens", "prompt")
        table.add_row(*(Text(neutral("" if row.get(name) is None else str(row[name]))) for name in names))
    console.print(table)


def _unreadable(stop: Stop) -> Reply:
    return failure(stop.error, stop.detail, stop.fields.get("run_id"))


def _print(reply: Reply) -> int:
    """Print the reply. Exit code 1 if it has an error, unless that is the error of a run (with `created`)."""
    return print_reply(reply, FAILED if "error" in reply and "created" not in reply else DONE)
