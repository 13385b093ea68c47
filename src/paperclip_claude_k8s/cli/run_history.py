"""Commands about what is written down: `last-run`, `history` and `spawn`."""

import os
import shlex
from dataclasses import replace

from paperclip_claude_k8s.cli.codes import DONE, FAILED
from paperclip_claude_k8s.cli.entry import say
from paperclip_claude_k8s.cli.options import pointed
from paperclip_claude_k8s.cli.run_command import Wish, check, new_record, request_of, run_safely, settings_of
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.folders import state_folder
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Answer, Stop, failure, resumable
from paperclip_claude_k8s.cli.runs.state import State

RUN_TIMEOUT = 3600
"""Seconds an agent host gives the command it starts in the background."""
MARGIN = 60
"""Seconds before that in which the command ends its wait by itself, and says so in JSON."""


def last_run() -> int:
    """What is known of the newest run; exit code 1 where there is none."""

    def work() -> Answer:
        found = State(state_folder(os.environ)).all()
        if not found:
            raise Stop("unknown_run", "no run was started from here yet")
        newest = found[0]
        if isinstance(newest, Stop):
            raise newest
        return summary(newest)

    return _say(run_safely(work))


def history(limit: int) -> int:
    """The newest runs, in one object."""

    def work() -> Answer:
        found = State(state_folder(os.environ)).all()[:limit]
        return {"runs": [_unreadable(item) if isinstance(item, Stop) else summary(item) for item in found]}

    return _say(run_safely(work))


def spawn(wish: Wish) -> int:
    """Announce a run, and print how an agent host starts it in the background.

    The run id is given out here: however often the command is started, it is one run.
    """

    def work() -> Answer:
        check(replace(wish, submit_only=True))
        config = pointed(settings_of(wish), devcluster=wish.devcluster)
        assert config is not None  # noqa: S101  # `check` has seen to it
        quota_gate.url_of(config)
        state = State(state_folder(os.environ))
        return payload(state.write(new_record(request_of(wish, config))))

    return _say(run_safely(work))


def payload(record: Record) -> Answer:
    """In the shape of the arguments of an agent host's `sessions_spawn`."""
    wait = ["--timeout", str(RUN_TIMEOUT - MARGIN), "--quiet"]
    command = shlex.join(["claude-k8s", "run", "--run-id", record.run_id, *wait])
    task = (
        f"Run this command and wait for it: {command}\n"
        "Its stdout ends with one JSON object: report its status, and error and detail if it failed. If it"
        " was cut off, run the very same command again: it goes on with the same run, never a second one."
    )
    arguments = {"task": task, "label": f"claude-k8s {record.run_id}", "runTimeoutSeconds": RUN_TIMEOUT}
    answer = {"run_id": record.run_id, "status": "polling", "command": command}
    return {**answer, "sessions_spawn_args": arguments}


def summary(record: Record) -> Answer:
    """The answer of an ended run; of any other one what is known, and how to go on."""
    files = {"created": record.created, "updated": record.updated, "agent": record.request["agent"].get("id")}
    if record.outcome is not None:
        return {**record.outcome, **files}
    going = {"run_id": record.run_id, "status": record.status, "phase": record.phase, **files}
    job = {"job": record.jobs[-1].name, "namespace": record.place.namespace} if record.jobs else {}
    return resumable({**going, **job, "saved_bytes": record.position})


def _unreadable(stop: Stop) -> Answer:
    return failure(stop.error, stop.detail, stop.more.get("run_id"))


def _say(answer: Answer) -> int:
    say(answer)
    return FAILED if "error" in answer and "created" not in answer else DONE
