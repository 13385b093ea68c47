"""`claude-k8s jobs`: the runs on a cluster, whoever started them."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.chosen_cluster import ALL_NAMESPACES, chosen_cluster, cluster_stop
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.formats import Format, chosen_format
from paperclip_claude_k8s.cli.job_rows import SelectorInvalid, read_selector, row_of
from paperclip_claude_k8s.cli.job_tables import GrowingTable, jobs_table
from paperclip_claude_k8s.cli.job_watching import watch_jobs
from paperclip_claude_k8s.cli.log_printers import write_stdout
from paperclip_claude_k8s.cli.options import DEV_NAMESPACE
from paperclip_claude_k8s.cli.run_command import run_to_reply
from paperclip_claude_k8s.cli.run_lookup_options import JobsOptions
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, reraise_signal
from paperclip_claude_k8s.cli.stdout_reader import while_stdout_is_read
from paperclip_claude_k8s.cli.text_tables import terminal_width
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.ports import utc_now

RETRY_PAUSE = 2.0
"""Seconds until a watch that the server ended or refused is opened again."""
NOT_RUNNING = "the development cluster is not running; `claude-k8s devcluster up` starts one"
GONE = "Gone"
"""The state of a Job that was deleted."""


def jobs(options: JobsOptions) -> int:
    """Print `{namespace, jobs: [ROW]}`, newest Job last; `row_of` describes a ROW.

    With `--watch`, print all rows and then each row that changes, until a signal arrives.
    """

    async def work() -> Reply:
        if options.watch:
            await while_stdout_is_read(_watch(options))
        return await _list(options)

    reply = run_to_reply(work, CallProgress())
    if options.watch and SIGNAL_HANDLER.received is not None:
        reraise_signal(SIGNAL_HANDLER.received)
    code = DONE if "jobs" in reply else FAILED
    return print_reply(reply, code, options.output_format, partial(_text, reply, options))


async def _list(options: JobsOptions) -> Reply:
    """The reply with all rows. Raises `Stop`."""
    matches = _selection(options)
    try:
        async with chosen_cluster(options) as cluster:
            if cluster is None:
                return {"namespace": DEV_NAMESPACE, "jobs": [], "detail": NOT_RUNNING}
            namespace, ports = cluster
            where = _where(options, namespace)
            found = (await ports.cluster.list_jobs(where, labels.ALL_OURS)).items
            pods = (await ports.cluster.list_pods(where, labels.ALL_OURS)).items
    except ClusterError as error:
        raise cluster_stop("cannot list the Jobs", error) from None
    rows = (row_of(job, pods, utc_now()) for job in found if matches(job.labels))
    shown = None if options.all_namespaces else namespace
    return {"namespace": shown, "jobs": sorted(rows, key=lambda row: str(row["created"]))}


def _where(options: JobsOptions, namespace: str) -> str:
    return ALL_NAMESPACES if options.all_namespaces else namespace


def _selection(options: JobsOptions) -> Callable[[Mapping[str, str]], bool]:
    """The function that tests the labels of a Job against `--selector`. Raises `Stop`."""
    try:
        return read_selector(options.selector)
    except SelectorInvalid as error:
        raise Stop("usage", f"--selector: {error}") from None


async def _watch(options: JobsOptions) -> None:
    """Print the rows, and then each row that changes, until a signal arrives. Raises `Stop`."""
    matches = _selection(options)
    async with chosen_cluster(options) as cluster:
        if cluster is None:
            raise Stop("usage", f"--watch: {NOT_RUNNING}")
        namespace, ports = cluster
        printer = ChangePrinter(options, matches)
        while True:
            try:
                await watch_jobs(ports.cluster, _where(options, namespace), printer.show)
            except ClusterError as error:
                if not (error.retryable or error.gone):
                    raise cluster_stop("cannot watch the Jobs", error) from None
                if not error.gone:  # gone: the watch missed changes, which the next list has
                    printer.show_outage(error)
            await asyncio.sleep(RETRY_PAUSE)


class ChangePrinter:
    """Prints the rows of Jobs that are new or have changed: as lines of a table, or each as a JSON object."""

    def __init__(self, options: JobsOptions, matches: Callable[[Mapping[str, str]], bool]) -> None:
        self._options = options
        self._matches = matches
        self._printed: dict[str, dict[str, Any]] = {}
        self._table = GrowingTable(
            chosen_format(options.output_format), namespaces=options.all_namespaces, width=terminal_width()
        )
        self._is_first_look = True
        self._has_outage = False

    def show_outage(self, error: ClusterError) -> None:
        """Say once on stderr that nothing is seen at present."""
        if not self._has_outage:
            _print_note(f"Cannot watch the Jobs: {error}; trying again every {RETRY_PAUSE:g} s")
        self._has_outage = True

    def show(self, found: Sequence[JobSnapshot], pods: Sequence[PodSnapshot]) -> None:
        """Print the rows that are new or have changed. Raises `StdoutUnwritable`."""
        rows = {job.ref.uid: row_of(job, pods, utc_now()) for job in found if self._matches(job.labels)}
        changed = [row for uid, row in rows.items() if _facts(row) != _facts(self._printed.get(uid))]
        changed += [{**row, "state": GONE} for uid, row in self._printed.items() if uid not in rows]
        self._printed = rows
        if self._has_outage:
            _print_note("Watching the Jobs again")
        if self._is_first_look and not rows:
            _print_note("No runs yet")
        self._is_first_look = self._has_outage = False
        if changed:
            write_stdout(self._lines(changed).encode())

    def _lines(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Rows as lines of a table on a terminal, else one JSON object in each line."""
        chosen = chosen_format(self._options.output_format)
        if chosen.is_for_programs:
            return "".join(json.dumps(row) + "\n" for row in rows)
        if chosen is Format.NAME:
            return "".join(f"{row['run_id']}\n" for row in rows)
        return "".join(f"{line}\n" for line in self._table.lines_of(rows))


def _print_note(text: str) -> None:
    with suppress(OSError):
        print(neutral(text), file=sys.stderr, flush=True)  # noqa: T201


def _facts(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The fields of a row that are compared: all except the age."""
    return None if row is None else {key: value for key, value in row.items() if key != "age"}


def _text(reply: Reply, options: JobsOptions, output: Format) -> str:
    rows = reply.get("jobs", [])
    if output is Format.NAME:
        return "\n".join(str(row["run_id"]) for row in rows)
    if not rows:
        if reply.get("detail"):
            return f"No runs: {reply['detail']}."
        where = "any namespace" if options.all_namespaces else f"namespace {reply.get('namespace')}"
        return f"No runs in {where}."
    return jobs_table(rows, output, namespaces=options.all_namespaces, width=terminal_width())
