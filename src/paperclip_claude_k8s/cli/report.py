"""`claude-k8s report`: header and transcript of a run as one page, or as text."""

import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.page import PageHeader, page
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines
from paperclip_claude_k8s.claude.transcript import Transcript
from paperclip_claude_k8s.claude.ui.values import duration
from paperclip_claude_k8s.cli.command_options import ReportOptions
from paperclip_claude_k8s.cli.entry import DONE, USAGE, print_failure, print_reply, print_text
from paperclip_claude_k8s.cli.find_run import find_record
from paperclip_claude_k8s.cli.replay_command import judged
from paperclip_claude_k8s.cli.runs.disk import REAL_DISK
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop, failure
from paperclip_claude_k8s.cli.runs.state import State, state_folder, write_atomically
from paperclip_claude_k8s.replay.judging import output_of
from paperclip_claude_k8s.replay.pod_states import ending_of
from paperclip_claude_k8s.replay.recorded_transcripts import page_header, read_items


class RecordingUnreadable(Exception):
    """The recorded output cannot be read; the message has the reason."""


def report(options: ReportOptions) -> int:
    """Print or write the report. Exit code 1: it could not be read or written. 2: wrong options."""
    if options.output is None and options.html and sys.stdout is not None and sys.stdout.isatty():
        detail = "a page cannot be read on a terminal: give --output FILE, or redirect stdout"
        return print_failure(failure("usage", detail), USAGE)
    try:
        header, items = _read(options.source)
    except Stop as stop:
        error_reply = failure(stop.error, stop.detail, stop.fields.get("run_id"))
        return print_failure(error_reply, as_reply=options.output is not None)
    except RecordingUnreadable as error:
        return print_failure(failure("usage", str(error)), as_reply=options.output is not None)
    content = "".join(page(header, items) if options.html else _text(header, items))
    if options.output is None:
        print_text(content.removesuffix("\n"))
        return DONE
    return _write(options.output, content.encode())


def _write(path: Path, content: bytes) -> int:
    try:
        write_atomically(path.expanduser().absolute(), content, REAL_DISK)
    except OSError as error:
        detail = f"{path} cannot be written: {error.strerror or error}"
        return print_failure(failure("output_unwritable", detail), as_reply=True)
    return print_reply({"status": "succeeded", "report": str(path), "bytes": len(content)}, DONE)


def _read(source: str) -> tuple[PageHeader, list[Item]]:
    """Header and items of a recorded output, or of a run. Raises `RecordingUnreadable` and `Stop`."""
    if Path(source).is_file():
        transcript, items = _read_output(Path(source), resumed=None)
        reply = judged(transcript, ending_of(), resumed=None)  # as if the container exited with 0
        return _header(Path(source).name, reply, {}), items
    state = State(state_folder(os.environ))
    record = find_record(source, state) or state.read(source)  # `read` raises `Stop`: no such run is known
    file = state.files(record.run_id).transcript
    items = _read_output(file, resumed=record.resumes_session)[1] if file.exists() else []
    return _header(
        f"Run {record.run_id}", record.outcome or {"status": record.status}, _run_facts(record)
    ), items


def _read_output(path: Path, *, resumed: bool | None) -> tuple[Transcript, list[Item]]:
    """The facts and the items of recorded output. Raises `RecordingUnreadable`."""
    try:
        return read_items(output_of(path), resumed=resumed)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingUnreadable(f"{path} cannot be read: {error}") from None


def _run_facts(record: Record) -> dict[str, str]:
    agent = record.request.get("agent") or {}
    job = record.jobs[-1].name if record.jobs else ""
    name = str(agent.get("name") or agent.get("id") or "")
    return {"agent": name, "started": record.created, "job": job, "namespace": record.target.namespace}


def _header(title: str, reply: Reply, facts: Mapping[str, str]) -> PageHeader:
    """The header from a reply and its result. `facts`: those that a result does not have."""
    result: Mapping[str, Any] = reply.get("result") or {}
    known = {
        **result,
        "errorMessage": result.get("errorMessage") or reply.get("detail"),
        "errorCode": result.get("errorCode") or reply.get("error"),
    }
    return page_header(title, str(reply.get("status") or "unknown"), known, facts)


def _text(header: PageHeader, items: Iterable[Item]) -> Iterator[str]:
    """The report as text: without colours, and not wrapped."""
    facts = [(header.title, header.status), *(fact for fact in header.facts if fact[1])]
    facts += [(name, duration(length)) for name, length in header.phases]
    yield from (f"{neutral(name)}: {neutral(value)}\n" for name, value in facts)
    yield f"{neutral(header.message)}\n\n" if header.message else "\n"
    screen = Screen(times=any(item.time for item in items))
    yield from (f"{line}\n" for item in items for line in terminal_lines(item, screen))
