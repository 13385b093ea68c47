"""Commands about the records in the state folder: `last-run`, `history` and `spawn`."""

import os
import shlex
from dataclasses import replace

from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_answer
from paperclip_claude_k8s.cli.options import on_running_cluster
from paperclip_claude_k8s.cli.run_command import check_options, new_config, new_record, sync_to_answer
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.call import RunOptions
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Answer, Stop, failure, resumable
from paperclip_claude_k8s.cli.runs.state import State, state_folder

SPAWN_TIMEOUT = 3600
"""Seconds that an agent host gives the command in the background."""
SPAWN_MARGIN = 60
"""Seconds before that at which the command ends its wait by itself, with an answer in JSON."""


def last_run() -> int:
    """Print what is known of the newest run. Exit code 1 if there is none, or if its record is unreadable."""

    def work() -> Answer:
        found = State(state_folder(os.environ)).all()
        if not found:
            raise Stop("unknown_run", "no run has been started yet by this user")
        newest = found[0]
        if isinstance(newest, Stop):
            raise newest
        return summary(newest)

    return _print(sync_to_answer(work))


def history(limit: int) -> int:
    """Print the newest runs, up to `limit`, in one JSON object."""

    def work() -> Answer:
        found = State(state_folder(os.environ)).all()[:limit]
        return {"runs": [_unreadable(item) if isinstance(item, Stop) else summary(item) for item in found]}

    return _print(sync_to_answer(work))


def spawn(options: RunOptions) -> int:
    """Reserve a run, and print the command with which an agent host runs it in the background.

    The run id is part of that command: repeating it never starts a second run.
    """

    def work() -> Answer:
        check_options(replace(options, submit_only=True))
        config = on_running_cluster(new_config(options), devcluster=options.devcluster)
        assert config is not None  # noqa: S101  # `check_options` refuses an embedded cluster
        quota_gate.url_of(config)
        state = State(state_folder(os.environ))
        return spawn_answer(state.write(new_record(options, config)))

    return _print(sync_to_answer(work))


def spawn_answer(record: Record) -> Answer:
    """The command, also as arguments for an agent host's tool `sessions_spawn`."""
    wait = ["--timeout", str(SPAWN_TIMEOUT - SPAWN_MARGIN), "--quiet"]
    command = shlex.join(["claude-k8s", "run", "--run-id", record.run_id, *wait])
    task = (
        f"Run this command and wait for it: {command}\n"
        "Its stdout ends with one JSON object: report its status, and error and detail if it failed. If it"
        " was cut off, run the very same command again: it goes on with the same run, never a second one."
    )
    arguments = {"task": task, "label": f"claude-k8s {record.run_id}", "runTimeoutSeconds": SPAWN_TIMEOUT}
    answer = {"run_id": record.run_id, "status": "polling", "command": command}
    return {**answer, "sessions_spawn_args": arguments}


def summary(record: Record) -> Answer:
    """The answer of an ended run. For any other run, what is known and how to resume it."""
    about = {"created": record.created, "updated": record.updated, "agent": record.request["agent"].get("id")}
    if record.outcome is not None:
        return {**record.outcome, **about}
    answer = {"run_id": record.run_id, "status": record.status, "phase": record.phase, **about}
    job = {"job": record.jobs[-1].name, "namespace": record.target.namespace} if record.jobs else {}
    return resumable({**answer, **job, "saved_bytes": record.position})


def _unreadable(stop: Stop) -> Answer:
    return failure(stop.error, stop.detail, stop.more.get("run_id"))


def _print(answer: Answer) -> int:
    """Exit code 1 only if the command failed; the answer of an ended run has `created`."""
    return print_answer(answer, FAILED if "error" in answer and "created" not in answer else DONE)
