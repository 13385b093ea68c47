"""Commands about the records in the state folder: `last-run`, `history` and `spawn`."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cli.command_options import HistoryOptions, RunOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply, print_text
from paperclip_claude_k8s.cli.formats import Format, chosen_format, serialized
from paperclip_claude_k8s.cli.options import running_cluster_settings
from paperclip_claude_k8s.cli.prompts import with_prompt
from paperclip_claude_k8s.cli.reply_text import duration_text, run_text
from paperclip_claude_k8s.cli.run_command import check_options, new_config, new_record, sync_to_reply
from paperclip_claude_k8s.cli.run_costs import parse_moment
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop, failure, resumable
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.stats_command import cost_of_record
from paperclip_claude_k8s.cli.text_tables import Column, facts, table, terminal_width
from paperclip_claude_k8s.host.redact import mask_credentials
from paperclip_claude_k8s.ports import utc_now

PROMPT_CHARS = 80
"""Largest number of characters of a prompt that are shown."""
ID_CHARS = 8
"""Characters of an id that tables show. Commands accept this beginning in place of the whole id."""
SPAWN_TIMEOUT = 3600
"""Seconds after which an agent host ends the command that it runs in the background."""
SPAWN_MARGIN = 60
"""The command ends its own wait this many seconds before `SPAWN_TIMEOUT`, to be able to print its reply."""


def last_run(output: Format | None = None) -> int:
    """Print what is known of the newest run. Exit code 1 if there is no run, or its record is unreadable."""

    def work() -> Reply:
        found = State(state_folder(os.environ)).all()
        if not found:
            raise Stop("unknown_run", "no run has been started yet by this user")
        newest = found[0]
        if isinstance(newest, Stop):
            raise newest
        return summary(newest)

    reply = sync_to_reply(work)
    return _print(reply, output, lambda chosen: _facts(reply, chosen))


def history(options: HistoryOptions) -> int:
    """Print the newest runs that the filters select, in one JSON object or as a table."""

    def work() -> Reply:
        since = _parse_since(options.since)
        found = map(_row, State(state_folder(os.environ)).all())
        return {"runs": list(islice((row for row in found if _selects(options, since, row)), options.limit))}

    reply = sync_to_reply(work)
    return _print(reply, options.output_format, lambda chosen: _table(reply.get("runs", ()), chosen))


def _row(found: Record | Stop) -> Reply:
    return summary(found) if isinstance(found, Record) else _unreadable(found)


def _selects(options: HistoryOptions, since: datetime | None, row: Reply) -> bool:
    """Whether the filters select the run. A record that cannot be read passes only without filters."""
    created = parse_time(row.get("created"))
    return (
        (options.agent is None or row.get("agent") == options.agent)
        and (options.status is None or row.get("status") == options.status)
        and (since is None or (created is not None and created >= since))
        and (options.grep is None or options.grep.casefold() in str(row.get("prompt", "")).casefold())
    )


def _parse_since(text: str | None) -> datetime | None:
    try:
        return parse_moment(text, utc_now()) if text else None
    except ValueError as error:
        raise Stop("usage", f"--since: {error}") from None


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

    reply = sync_to_reply(work)
    return _print(reply, options.output_format, lambda chosen: spawn_text(reply, chosen))


def spawn_text(reply: Reply, output: Format) -> str:
    """The command alone, or with `-o name` the run's id."""
    return str(reply.get("run_id" if output is Format.NAME else "command") or "")


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


def _short_id(row: Mapping[str, Any]) -> str:
    """The beginning of the run's id, by which commands find the run."""
    return str(row.get("run_id") or "")[:ID_CHARS]


def shown_status(row: Mapping[str, Any]) -> str:
    """The status in a table; for `polling`, the phase, because a run without a Job is not running."""
    status = str(row.get("status") or "")
    if status != "polling":
        return status
    return {"reserved": "not started", "polling": "submitted"}.get(str(row.get("phase")), "submitting")


def _age(row: Mapping[str, Any]) -> str:
    created = parse_time(row.get("created"))
    return duration_text((utc_now() - created).total_seconds()) if created is not None else ""


def _duration(row: Mapping[str, Any]) -> str:
    seconds = row.get("duration_sec")
    return duration_text(seconds) if isinstance(seconds, (int, float)) else ""


def _dollars(row: Mapping[str, Any]) -> str:
    cost = row.get("cost_usd")
    return f"${cost:.4f}" if isinstance(cost, (int, float)) else ""


COLUMNS = (
    Column("run", _short_id),
    Column("status", shown_status),
    Column("age", _age),
    Column("duration", _duration, align_right=True),
    Column("cost", _dollars, align_right=True),
    Column("id", lambda row: row.get("run_id"), wide=True),
    Column("agent", lambda row: row.get("agent"), wide=True),
    Column("tokens", lambda row: row.get("tokens"), wide=True, align_right=True),
    Column("created", lambda row: row.get("created"), wide=True),
    Column("code", lambda row: row.get("error_code") or row.get("error"), wide=True),
    Column("prompt", lambda row: row.get("prompt")),
)


def _table(rows: Sequence[Reply], output: Format) -> str:
    if output is Format.NAME:
        return "\n".join(str(row.get("run_id") or "") for row in rows)
    if not rows:
        return "no runs"
    return table(rows, COLUMNS, output, width=terminal_width())


def _facts(reply: Reply, output: Format) -> str:
    """One run as lines of names and values, then the agent's answer."""
    if output is Format.NAME:
        return str(reply.get("run_id") or "")
    if "created" not in reply:
        return ""
    pairs = [
        ("run", reply.get("run_id")),
        ("status", shown_status(reply)),
        ("code", reply.get("error_code") or reply.get("error")),
        ("agent", reply.get("agent")),
        ("prompt", reply.get("prompt")),
        ("created", f"{reply['created']} ({_age(reply)} ago)"),
        ("duration", _duration(reply)),
        ("cost", _dollars(reply)),
        ("tokens", reply.get("tokens")),
        ("job", reply.get("job")),
        ("namespace", reply.get("namespace")),
        ("detail", reply.get("detail")),
        ("go on", reply.get("resume")),
    ]
    answer = run_text(reply, output)
    return facts(pairs) + (f"\n{answer}" if answer else "")


def _unreadable(stop: Stop) -> Reply:
    return failure(stop.error, stop.detail, stop.fields.get("run_id"))


def _print(reply: Reply, output: Format | None, to_text: Callable[[Format], str] | None = None) -> int:
    """Print the reply. Exit code 1 if this command failed. A reply with `created` has the error of a run."""
    if "created" in reply and "error" in reply:  # the run failed, and this command did not
        chosen = chosen_format(output)
        if to_text is not None and not chosen.is_for_programs:
            print_text(to_text(chosen))
        else:
            print_text(serialized(reply, chosen).decode())
        return DONE
    return print_reply(reply, FAILED if "error" in reply else DONE, output, to_text)
