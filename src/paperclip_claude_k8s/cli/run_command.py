"""`claude-k8s run` and `query`: from options to one reply (the JSON object on stdout) and an exit code.

`run` prints the reply that `start_or_resume` returns. If a `Stop`, invalid options, a signal or a bug ends
`start_or_resume`, the reply reports that, with what is known of the run and the command that resumes the run.
"""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import closing, nullcontext, suppress
from functools import partial
from typing import Any

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply, print_text, print_traceback
from paperclip_claude_k8s.cli.find_run import find_record
from paperclip_claude_k8s.cli.formats import chosen_format
from paperclip_claude_k8s.cli.grants import grants
from paperclip_claude_k8s.cli.kubeconfig_choice import (
    check_cluster_options,
    check_namespace_and_image,
    chosen_kubeconfig,
)
from paperclip_claude_k8s.cli.live import LiveView, open_live_view
from paperclip_claude_k8s.cli.options import (
    OptionsInvalid,
    check_claude,
    check_known,
    merge_config,
    on_cluster,
    running_devcluster,
)
from paperclip_claude_k8s.cli.prompts import with_prompt
from paperclip_claude_k8s.cli.reply_text import print_end, run_text
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.call import CallProgress, Dependencies, RunCall
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.poller import Poller, PollSchedule, PollSettings, read_schedule
from paperclip_claude_k8s.cli.runs.record import Record, cut_short_fields
from paperclip_claude_k8s.cli.runs.replies import (
    CUT_SHORT,
    DETACHED_TTL,
    JOB_CONTINUES,
    UNWRITABLE,
    Reply,
    Stop,
    exit_code,
    failure,
    resume_command,
    write_failed_reply,
)
from paperclip_claude_k8s.cli.runs.state import State, devcluster_folder, state_folder
from paperclip_claude_k8s.cli.runs.wait import wait_for_reply
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, Interrupted, reraise_signal
from paperclip_claude_k8s.ports import utc_now


def run(options: RunOptions) -> int:
    """Print the reply and return the exit code. If a signal has arrived, this process ends by the signal."""
    progress, dependencies = CallProgress(), Dependencies()
    reply = run_to_reply(lambda: start_or_resume(options, progress, dependencies), progress)
    if options.print_response and "result" in reply:
        reply = {**reply, "response": reply["result"].get("summary")}
    if options.submit_only and reply["status"] == "polling":
        print_text(str(reply["run_id"]))  # the id alone, for use in shell scripts
        return DONE
    code = exit_code(reply)
    if options.expects_cancelled:
        code = DONE if reply["status"] == "cancelled" else FAILED
    print_reply(reply, code, options.output_format, partial(run_text, reply))
    if not options.quiet and not chosen_format(options.output_format).is_for_programs:
        print_end(reply)
    if SIGNAL_HANDLER.received is not None:
        reraise_signal(SIGNAL_HANDLER.received)
    return code


def run_to_reply(work: Callable[[], Coroutine[Any, Any, Reply]], progress: CallProgress) -> Reply:
    """Run the coroutine, and return its reply, or a reply that reports the `Stop` or signal that ended it."""
    try:
        return asyncio.run(_cancel_on_signal(stop_to_reply(work(), progress)))
    except (Interrupted, asyncio.CancelledError) as error:
        name = str(error) or "a signal"
        return _stop_reply(Stop("poll_aborted", f"the wait was interrupted by {name}"), progress)


async def stop_to_reply(work: Awaitable[Reply], progress: CallProgress) -> Reply:
    """The reply of `work`, or a reply that reports the `Stop` that it raised.

    Any other exception is also reported in a reply if the run's id is known; else the exception is raised.
    """
    try:
        return await work
    except (Stop, OptionsInvalid) as stop:
        return _stop_reply(stop, progress)
    except Exception as bug:
        if progress.run_id is None:
            raise
        print_traceback(bug)
        return _stop_reply(Stop("internal", f"{type(bug).__name__}: {bug}"), progress)


def sync_to_reply(work: Callable[[], Reply]) -> Reply:
    """The reply of a function that is not a coroutine, or a reply that reports the `Stop` that it raised."""
    try:
        return work()
    except (Stop, OptionsInvalid) as stop:
        return _stop_reply(stop, CallProgress())


async def _cancel_on_signal(work: Coroutine[Any, Any, Reply]) -> Reply:
    """Cancel this task on the first signal; the CancelledError has the signal's name as its text."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  # run by asyncio.run

    def cancel(signum: int) -> None:
        loop.call_soon_threadsafe(task.cancel, str(Interrupted(signum)))

    with SIGNAL_HANDLER.listener(cancel):
        return await work


def _stop_reply(stop: Stop | OptionsInvalid, progress: CallProgress) -> Reply:
    """The reply of a call that ended early, with what is known of its run."""
    if isinstance(stop, OptionsInvalid):
        return failure("usage", str(stop))
    record = _read_record(progress)
    if record is not None and record.outcome is not None and stop.error in CUT_SHORT:
        return record.outcome  # the run ended while the call was being interrupted
    run_id = progress.run_id or stop.fields.get("run_id")
    if record is not None:
        stop.with_run_status(record.run_status, record.outcome)
    reply = failure(stop.error, stop.detail, run_id, **_without_run_id(stop.fields))
    if stop.error in UNWRITABLE and (run_id is not None or stop.run_status is not None):
        reply = write_failed_reply(stop, run_id)
    if progress.embedded and record is not None and record.outcome is None:
        return _end_embedded_run(reply, record, progress, stop.outcome)
    if record is not None and record.outcome is None:
        run_status = reply.get("run_status", record.run_status)
        reply["status"] = "polling" if run_status == "polling" else reply["status"]  # the run goes on
    is_resumable = stop.error in {*CUT_SHORT, *UNWRITABLE, "cluster_unreachable", "internal"}
    if run_id is None or not is_resumable:
        return reply
    resume = reply.pop("resume", resume_command(run_id))
    what_goes_on = cut_short_fields(record) if record is not None and stop.error in CUT_SHORT else {}
    detail = f"{reply['detail']}; {what_goes_on.pop('detail')}" if what_goes_on else reply["detail"]
    return {**reply, **what_goes_on, "detail": detail, "resume": resume}


def _without_run_id(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "run_id"}


def _end_embedded_run(reply: Reply, record: Record, progress: CallProgress, outcome: Reply | None) -> Reply:
    """End a run whose development cluster is embedded in this process and ends with it; return the reply.

    `outcome`: how the run ended, None if it has not ended by itself. The record gets the outcome, or else the
    reply.
    """
    detail = reply["detail"].removesuffix(f"; {JOB_CONTINUES}")
    ended = {
        **reply,
        "detail": f"{detail}, and the development cluster ended with this command;"
        " `claude-k8s devcluster up` starts one that stays",
    }
    ended |= {"status": "failed"}
    ended.pop("resume", None)
    if ended.get("run_status") in {"polling", "unknown"}:
        ended["run_status"] = "failed"
    assert progress.state is not None  # noqa: S101  # the record was read from it
    with suppress(Stop):  # the reply already reports a state that cannot be written
        progress.state.write(record.ended(outcome or ended, cleaned_up=True))
    return ended


def _read_record(progress: CallProgress) -> Record | None:
    """The run's record, if it can be read."""
    if progress.state is None or progress.run_id is None:
        return None
    try:
        return progress.state.read(progress.run_id)
    except Stop:
        return None


async def start_or_resume(options: RunOptions, progress: CallProgress, dependencies: Dependencies) -> Reply:
    """Start or resume a run, and return the reply.

    Writes to `progress` what becomes known of the run. Raises `OptionsInvalid` and `Stop`. A `Stop` after the
    record of a new run was written is returned as a reply.
    """
    options = with_prompt(options)
    check_options(options)
    settings, env = PollSettings.read(dependencies.settings.env), dependencies.settings.env
    schedule = read_schedule(options.poll_schedule, options.poll_interval, options.timeout, settings)
    progress.run_id = options.run_id
    try:
        progress.state = state = State(state_folder(env), dependencies.disk)
    except Stop as stop:
        raise stop.with_run_status("not_submitted" if options.run_id is None else "unknown") from None
    if options.run_id is not None:
        known = find_record(options.run_id, state)  # the beginning of an id is enough
        progress.run_id = known.run_id if known is not None else state.read(options.run_id).run_id
        return await _wait(state, progress.run_id, options, schedule, dependencies)
    config, claude = new_config(options), check_claude(options.claude)
    quota_gate.gate_url(config)
    async with on_cluster(config, devcluster=options.devcluster, claude=claude) as cluster_config:
        record = new_record(options, cluster_config)
        try:
            state.write(record)
        except Stop as stop:
            return _stop_reply(stop.with_run_status("not_submitted"), progress)
        progress.run_id, progress.embedded = record.run_id, record.embedded
        work = _wait(state, record.run_id, options, schedule, dependencies)
        return await stop_to_reply(
            work, progress
        )  # inside the block: `on_cluster` would wrap a `Stop` in a group


async def _wait(
    state: State, run_id: str, options: RunOptions, schedule: PollSchedule, dependencies: Dependencies
) -> Reply:
    """The reply of a run that has a record. Raises `Stop`."""
    async with open_live_view(quiet=options.quiet, times=options.times) as live:
        if options.run_id is None:
            live.show_note(f"Run {run_id}")
            if options.devcluster and options.claude is None:
                _say_what_the_agent_is(live)
        output = Output(options.output, state.files(run_id)) if options.output is not None else None
        poller = Poller(run_id, schedule, live)
        with closing(output) if output is not None else nullcontext():
            return await wait_for_reply(RunCall(state, run_id, options, dependencies, live, poller, output))


def _say_what_the_agent_is(live: LiveView) -> None:
    """Say on a development cluster that no model answers the prompt, if that is so."""
    from paperclip_claude_k8s.cli import devcluster_commands  # noqa: PLC0415  # only for this cluster

    is_running = running_devcluster(os.environ) is not None
    folder = devcluster_folder(os.environ)
    agent = devcluster_commands.agent_of_cluster(folder) if is_running else devcluster_commands.STAND_IN
    if agent == devcluster_commands.STAND_IN:
        live.show_status(f"Agent: {agent}")


def check_options(options: RunOptions) -> None:
    """Raises `OptionsInvalid` if the options contradict each other."""
    if options.run_id is not None and options.prompt is not None:
        raise OptionsInvalid("--prompt starts a new run and --run-id continues a known one: give one of them")
    if options.run_id is None and options.poll_once:
        raise OptionsInvalid("--poll-once checks a known run: give its --run-id")
    if options.run_id is not None and options.dry_run:
        raise OptionsInvalid(
            "--dry-run prints the objects of a new run: use it with --prompt, not with --run-id"
        )
    if options.run_id is not None and options.submit_only:
        raise OptionsInvalid("--submit-only starts a new run: use it with --prompt, not with --run-id")
    if options.run_id is None and not (options.prompt or "").strip():
        raise OptionsInvalid(
            "the prompt is empty: say what the agent should do with --prompt, --prompt-file or on stdin, "
            "or give a --run-id to resume"
        )
    if options.claude and not options.devcluster:
        raise OptionsInvalid("--claude only works with --devcluster: elsewhere, the image contains the CLI")
    if options.submit_only and is_embedded(options):
        raise OptionsInvalid(
            "--submit-only needs a cluster that stays: `claude-k8s devcluster up` starts one"
        )


def is_embedded(options: RunOptions) -> bool:
    """Whether the run needs a development cluster embedded in this process."""
    return options.devcluster and running_devcluster(os.environ) is None


def new_record(options: RunOptions, config: dict[str, Any]) -> Record:
    """The record of a run that has not been submitted yet."""
    session = {"sessionId": options.session, "sessionParams": {"sessionId": options.session}}
    request = {
        "agent": {"id": options.agent, "name": options.agent, "companyId": "local"},
        "runtime": session if options.session else {},
        "config": config,
        "context": {"prompt": options.prompt},
    }
    run_id, created = str(uuid.uuid4()), format_time(utc_now())
    chosen = config["kubeconfig"] if options.devcluster else _kubeconfig_of(options)
    granted = grants(chosen, options.config, options.context)
    return Record(run_id, created, request, phase="reserved", embedded=is_embedded(options), grants=granted)


def new_config(options: RunOptions) -> dict[str, Any]:
    """The adapter's config: the keys of the file, overridden by the options. Raises `OptionsInvalid`."""
    check_namespace_and_image(options.namespace, options.image, devcluster=options.devcluster)
    overrides = {
        # a value that was inserted into a template is not rendered again, so braces in the prompt are kept
        "promptTemplate": "{{context.prompt}}",
        "kubeconfig": _kubeconfig_of(options),
        "kubeContext": options.context,
        "namespace": options.namespace,
        "image": options.image,
        "model": options.model,
    }
    config = {"ttlSecondsAfterFinished": DETACHED_TTL, **merge_config(options.config, overrides)}
    if options.strict:
        check_known(config)
    check_cluster_options(
        config.get("kubeconfig"),
        options.context,
        devcluster=options.devcluster,
        typed=options.kubeconfig_from_option,
    )
    return config


def _kubeconfig_of(options: RunOptions) -> str | None:
    return chosen_kubeconfig(options.kubeconfig, options.config, devcluster=options.devcluster)
