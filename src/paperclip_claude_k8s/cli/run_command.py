"""`claude-k8s run` and `query`: from options to one answer and an exit code."""

import asyncio
import os
import traceback
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.codes import DONE, FAILED
from paperclip_claude_k8s.cli.entry import print_out, say
from paperclip_claude_k8s.cli.live import live_view
from paperclip_claude_k8s.cli.options import WishInvalid, existing, layered, on_cluster, standing_cluster
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.disk import DISK, Disk
from paperclip_claude_k8s.cli.runs.folders import state_folder
from paperclip_claude_k8s.cli.runs.poll_schedule import Tuning, read_schedule
from paperclip_claude_k8s.cli.runs.record import Record, run_status_of
from paperclip_claude_k8s.cli.runs.replies import (
    CUT_SHORT,
    DETACHED_TTL,
    GOES_ON,
    UNWRITABLE,
    Answer,
    Stop,
    exit_code,
    failure,
    resume_command,
    unwritten,
)
from paperclip_claude_k8s.cli.runs.state import State
from paperclip_claude_k8s.cli.runs.wait import Call, attend
from paperclip_claude_k8s.cli.signals import SIGNALS, Interrupted, reraise_signal
from paperclip_claude_k8s.ports import ProcessSettings, utc_now
from paperclip_claude_k8s.process import Connect, connect


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of one `run`."""

    prompt: str | None = None
    run_id: str | None = None
    submit_only: bool = False
    poll_once: bool = False
    poll_interval: float = 15.0
    timeout: float | None = None
    poll_schedule: str | None = None
    output: Path | None = None
    print_response: bool = False
    devcluster: bool = False
    claude: Path | None = None
    kubeconfig: Path | None = None
    kubeconfig_given: bool = False
    """On the command line, not by the environment: then it counts for a known run too."""
    namespace: str | None = None
    image: str | None = None
    model: str | None = None
    agent: str = "cli"
    session: str | None = None
    config: Path | None = None
    quiet: bool = False
    is_cancel: bool = False
    """Then a cancelled run is what was wanted."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a command works with beside its options: the files it writes, and the way to a cluster."""

    disk: Disk = DISK
    connect: Connect = connect


class Ledger:
    """What this call is about, for whoever has to tell of it when the call is cut short."""

    run_id: str | None = None
    embedded = False
    state: State | None = None


def run(wish: Wish, means: Means | None = None) -> int:
    """Print the answer; its exit code, unless a signal ends this process."""
    book, used = Ledger(), means or Means()
    answer = answered(lambda: answer_to(wish, book, used), book)
    if wish.print_response and "result" in answer:
        answer = {**answer, "response": answer["result"].get("summary")}
    if wish.submit_only and answer["status"] == "polling":
        print_out(str(answer["run_id"]))  # seed 001: the bare id
        return DONE
    say(answer)
    if SIGNALS.seen is not None:
        reraise_signal(SIGNALS.seen)
    if wish.is_cancel:
        return DONE if answer["status"] == "cancelled" else FAILED
    return exit_code(answer)


def answered(work: Callable[[], Coroutine[Any, Any, Answer]], book: Ledger) -> Answer:
    """The work's answer; also where it stops, or a signal stops it."""
    try:
        return asyncio.run(_interruptible(told(work(), book)))
    except (Interrupted, asyncio.CancelledError) as error:
        name = str(error) or "a signal"
        goes_on = "" if book.run_id is None or book.embedded else "; a Job that was made goes on"
        return _stopped(Stop("poll_aborted", f"the wait was interrupted by {name}{goes_on}"), book)


async def told(work: Awaitable[Answer], book: Ledger) -> Answer:
    """The work's answer; also where it stops, or meets a bug while it is about a run."""
    try:
        return await work
    except (Stop, WishInvalid) as stop:
        return _stopped(stop, book)
    except Exception as bug:
        if book.run_id is None:
            raise
        traceback.print_exception(bug)
        return _stopped(Stop("internal", f"{type(bug).__name__}: {bug}"), book)


def run_safely(work: Callable[[], Answer]) -> Answer:
    """The answer of work that waits for nothing; also where it stops."""
    try:
        return work()
    except (Stop, WishInvalid) as stop:
        return _stopped(stop, Ledger())


async def _interruptible(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Cancelled by a signal, once; what it is about is told by the caller."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  # run by asyncio.run

    def cancel(signum: int) -> None:
        loop.call_soon_threadsafe(task.cancel, str(Interrupted(signum)))

    with SIGNALS.told_to(cancel):
        return await work


def _stopped(stop: Stop | WishInvalid, book: Ledger) -> Answer:
    """The answer of a call that stopped, and what is known of its run."""
    if isinstance(stop, WishInvalid):
        return failure("usage", str(stop))
    record = _known(book)
    if record is not None and record.outcome is not None and stop.error in CUT_SHORT:
        return record.outcome  # it came to its end while this call was being cut short
    run_id = book.run_id or stop.more.get("run_id")
    if record is not None:
        stop.about(run_status_of(record), record.outcome)
    answer = failure(stop.error, stop.detail, run_id, **_without_id(stop.more))
    if stop.error in UNWRITABLE and (run_id is not None or stop.run_status is not None):
        answer = unwritten(stop, run_id)
    if book.embedded and record is not None and record.outcome is None:
        return _ended_with_its_cluster(answer, record, book, stop.outcome)
    waits = stop.error in {*CUT_SHORT, *UNWRITABLE, "internal"}
    if run_id is None or not waits:
        return answer
    resume = answer.pop("resume", resume_command(run_id))
    return {**answer, "resume": resume}


def _without_id(more: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in more.items() if key != "run_id"}


def _ended_with_its_cluster(answer: Answer, record: Record, book: Ledger, outcome: Answer | None) -> Answer:
    """There is nothing to resume where the cluster lived inside of this process.

    `outcome`: the run's own, where it had one before that.
    """
    why = answer["detail"].removesuffix("; the run goes on").removesuffix(f"; {GOES_ON}")
    why = f"{why}, and the development cluster ended with this shell"
    ended = {**answer, "detail": f"{why}; `claude-k8s devcluster up` starts one that stays"}
    ended.pop("resume", None)
    if ended.get("run_status") in {"polling", "unknown"}:
        ended["run_status"] = "failed"
    assert book.state is not None  # noqa: S101  # it has the record
    with suppress(Stop):  # where nothing can be written any more, that is what the answer is about
        book.state.write(record.ended(outcome or ended, tidied=True))
    return ended


def _known(book: Ledger) -> Record | None:
    """What is written down of the run, where that can be read."""
    if book.state is None or book.run_id is None:
        return None
    try:
        return book.state.read(book.run_id)
    except Stop:
        return None


async def answer_to(wish: Wish, book: Ledger, means: Means) -> Answer:
    """The answer to one `run`. Raises `WishInvalid`, and `Stop` while nothing is known of a run."""
    check(wish)
    tuning = Tuning.read(os.environ)
    schedule = read_schedule(wish.poll_schedule, wish.poll_interval, wish.timeout, tuning)
    call = Call(
        schedule,
        tuning,
        ProcessSettings(env=os.environ),
        once=wish.poll_once,
        submit=wish.submit_only,
        kubeconfig=str(wish.kubeconfig.absolute()) if wish.kubeconfig_given and wish.kubeconfig else None,
        output=wish.output,
        connect=means.connect,
    )
    book.run_id = wish.run_id
    try:
        book.state = State(state_folder(os.environ), means.disk)
    except Stop as stop:
        raise stop.about("not_submitted" if wish.run_id is None else "unknown") from None
    if wish.run_id is not None:
        book.state.read(wish.run_id)
        return await _waited_for(book, call, wish)
    settings = settings_of(wish)
    quota_gate.url_of(settings)
    async with on_cluster(settings, devcluster=wish.devcluster, claude=existing(wish.claude)) as config:
        record = new_record(request_of(wish, config), embedded=is_embedded(wish))
        try:
            book.state.write(record)
        except Stop as stop:
            return _stopped(stop.about("not_submitted"), book)
        book.run_id, book.embedded = record.run_id, record.embedded
        return await _waited_for(book, call, wish)


async def _waited_for(book: Ledger, call: Call, wish: Wish) -> Answer:
    """The answer, also where the call stops: an embedded cluster would wrap what is raised through it."""
    assert book.state is not None  # noqa: S101  # set by who calls
    assert book.run_id is not None  # noqa: S101  # set by who calls
    try:
        async with live_view(quiet=wish.quiet) as live:
            if wish.run_id is None:
                live.note(f"Run {book.run_id}")
            return await attend(book.state, book.run_id, call, live)
    except Stop as stop:
        return _stopped(stop, book)


def check(wish: Wish) -> None:
    """Raises `WishInvalid`: options that contradict each other."""
    if wish.run_id is not None and wish.prompt is not None:
        raise WishInvalid("--prompt starts a new run and --run-id goes on with a known one: give one of them")
    if wish.run_id is None and wish.poll_once:
        raise WishInvalid("--poll-once looks at a known run: give its --run-id")
    if wish.run_id is not None and wish.submit_only:
        raise WishInvalid("--submit-only starts a new run: it goes with --prompt, not with --run-id")
    if wish.run_id is None and not (wish.prompt or "").strip():
        raise WishInvalid("--prompt is empty: say what the agent should do, or give a --run-id to resume")
    if wish.claude and not wish.devcluster:
        raise WishInvalid("--claude only goes with --devcluster: on a cluster the image brings the CLI")
    if wish.submit_only and is_embedded(wish):
        raise WishInvalid("--submit-only needs a cluster that stays: `claude-k8s devcluster up` starts one")


def is_embedded(wish: Wish) -> bool:
    """Whether the run's cluster will live inside of this process."""
    return wish.devcluster and standing_cluster(os.environ) is None


def new_record(request: dict[str, Any], *, embedded: bool = False) -> Record:
    return Record(str(uuid.uuid4()), format_time(utc_now()), request, phase="reserved", embedded=embedded)


def request_of(wish: Wish, config: dict[str, Any]) -> dict[str, Any]:
    """What `execute` is asked, as far as it can be written down."""
    session = {"sessionId": wish.session, "sessionParams": {"sessionId": wish.session}}
    return {
        "agent": {"id": wish.agent, "name": wish.agent, "companyId": "local"},
        "runtime": session if wish.session else {},
        "config": config,
        "context": {"prompt": wish.prompt},
    }


def settings_of(wish: Wish) -> dict[str, Any]:
    """The adapter's config: the file's keys, with what the options say on top."""
    options = {
        "kubeconfig": str(wish.kubeconfig.expanduser().absolute()) if wish.kubeconfig else None,
        "namespace": wish.namespace,
        "image": wish.image,
        "model": wish.model,
    }
    # the prompt goes through a template whose values are not rendered again: braces in it stay as they are
    asked = {"promptTemplate": "{{context.prompt}}"}
    return {"ttlSecondsAfterFinished": DETACHED_TTL, **layered(wish.config, {**asked, **options})}
