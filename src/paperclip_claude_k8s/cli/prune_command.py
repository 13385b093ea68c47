"""`claude-k8s prune`: remove old records from the state folder."""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from paperclip_claude_k8s.base.times import parse_time
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.run_command import sync_to_reply
from paperclip_claude_k8s.cli.run_costs import parse_moment
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.setup_options import PruneRecordsOptions
from paperclip_claude_k8s.ports import utc_now

RESERVED_AGE = timedelta(days=1)
"""Age from which a run that was reserved and never submitted is removed, too."""


def prune(options: PruneRecordsOptions) -> int:
    """Remove the records of runs that ended before `--older-than`.

    Prints `{removed, kept, freed_bytes, dry_run}`, and `failed` if some could not be removed: exit code 1.
    """

    def work() -> Reply:
        try:
            before = parse_moment(options.older_than, utc_now())
        except ValueError as error:
            raise Stop("usage", f"--older-than: {error}") from None
        return remove_old(State(state_folder(os.environ)), before, dry_run=options.dry_run)

    reply = sync_to_reply(work)
    failed = "error" in reply or reply.get("failed")
    return print_reply(reply, FAILED if failed else DONE, options.output_format, partial(_text, reply))


def remove_old(state: State, before: datetime, *, dry_run: bool) -> Reply:
    """Remove the folders of runs that ended before this time; with `dry_run`, only list the runs.

    The folder of a run on which a process works, or that may still have a Job, is kept.
    """
    removed, failed, freed = list[str](), dict[str, str](), 0
    records = state.all()
    for record in _old(records, before):
        files = state.files(record.run_id)
        with files.try_lock() as locked:
            if not locked or not _is_old(_read(state, record.run_id), before):
                continue  # another command works on it, or has done so since the records were read
            try:
                size = _size(files.folder)
                if not dry_run:
                    shutil.rmtree(files.folder)
            except OSError as error:
                failed[record.run_id] = error.strerror or str(error)
                continue
        removed.append(record.run_id)
        freed += size
    reply: Reply = {"removed": removed, "kept": len(records) - len(removed), "freed_bytes": freed}
    return {**reply, "dry_run": dry_run, **({"failed": failed} if failed else {})}


def _old(records: list[Record | Stop], before: datetime) -> Iterator[Record]:
    # an unreadable record is a `Stop` in the list, and its folder is kept
    return (record for record in records if isinstance(record, Record) and _is_old(record, before))


def _is_old(record: Record | None, before: datetime) -> bool:
    """Whether the run ended before this time. A run without a Job must also be older than `RESERVED_AGE`."""
    if record is None:
        return False
    changed = parse_time(record.updated) or parse_time(record.created)
    ended = record.outcome is not None and record.cleaned_up
    limit = before if ended else min(before, utc_now() - RESERVED_AGE)
    return (ended or record.phase == "reserved") and changed is not None and changed < limit


def _read(state: State, run_id: str) -> Record | None:
    """The record; None if it cannot be read."""
    try:
        return state.read(run_id)
    except Stop:
        return None


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.iterdir())


def _text(reply: Reply, output: Format) -> str:
    if "removed" not in reply:
        return ""
    if output is Format.NAME:
        return "\n".join(reply["removed"])
    verb = "would be removed" if reply["dry_run"] else "removed"
    size = f"{reply['freed_bytes'] / 1e6:.1f} MB"
    return f"{len(reply['removed'])} records {verb} ({size}), {reply['kept']} kept"
