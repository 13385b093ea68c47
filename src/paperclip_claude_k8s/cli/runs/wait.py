"""Waiting for the end of a run, while other calls may wait for the same run.

Of all calls about one run on this machine, one call holds the run's lock and works on the run (`worker`). The
other calls read the run's record every half second, and take over the lock if its holder ends. Thus each
call returns the same outcome.
"""

import asyncio
from contextlib import suppress

from paperclip_claude_k8s.cli.runs.call import RunCall
from paperclip_claude_k8s.cli.runs.record import polling_reply
from paperclip_claude_k8s.cli.runs.replies import CUT_SHORT, Reply, Stop, find_stop, resumable
from paperclip_claude_k8s.cli.runs.watched_files import WatchedFiles
from paperclip_claude_k8s.cli.runs.worker import Worker

RECORD_INTERVAL = 0.5
"""Seconds between two reads of the record while another process works on the run."""
REMOTE_HOLDER_PAUSE = 5.0
"""Seconds between two attempts to adopt a Job on which another process works, perhaps on another machine."""


async def wait_for_reply(call: RunCall) -> Reply:
    """The run's outcome, or a reply with `"status": "polling"` if the call does not wait for the end.

    Raises:
        Stop: the wait is over or cannot continue, and the run may continue; or --output cannot be written,
            whatever the run's outcome is.
    """
    try:
        reply = await _reply_in_time(call)
    except (Stop, asyncio.CancelledError) as error:
        outcome = _read_outcome(call) if _is_cut_short(error) else None
        if outcome is None:
            raise _with_output_error(call, error) from None
        if isinstance(error, asyncio.CancelledError):  # a signal: its handler reads the outcome as well
            _finish_output(call, outcome)
            raise
        reply = outcome
    _finish_output(call, reply)
    return reply


def _is_cut_short(error: BaseException) -> bool:
    return not isinstance(error, Stop) or error.error in CUT_SHORT


async def _reply_in_time(call: RunCall) -> Reply:
    """The reply, if there is one within --timeout. Raises `Stop`, for example when the time is over."""
    limit = call.poller.schedule.timeout
    try:
        async with asyncio.timeout(limit) as scope:
            return await _find_reply(call)
    except TimeoutError:
        if not scope.expired():
            raise
        raise Stop("poll_timeout", f"no end within {limit:g}s", run_id=call.run_id) from None
    except ExceptionGroup as errors:
        stop = find_stop(errors)
        if stop is None:
            raise
        raise stop from None


async def _find_reply(call: RunCall) -> Reply:
    """Alternate between working on the run and watching another process do so, until there is a reply."""
    files, watched = call.state.files(call.run_id), _watched_files(call)
    record = call.state.read(call.run_id)
    if record.outcome is not None and record.cleaned_up:  # no lock is needed, as nothing has to be written
        return _report(call, record.outcome)
    while True:
        with files.try_lock() as locked:
            if locked:
                watched.show_rest_and_restart()
            # read again under the lock, because its last holder may have written the record
            record = call.state.read(call.run_id)
            if locked:
                reply = await Worker(call, record).work()
                if reply is not None:
                    return _report(call, reply)
                await asyncio.sleep(REMOTE_HOLDER_PAUSE)
        if call.options.mode != "wait":
            return record.outcome or polling_reply(record)
        reply = await _watch_holder(call, watched)
        if reply is not None:
            return _report(call, reply)


def _watched_files(call: RunCall) -> WatchedFiles:
    """The view of the files that another process writes; for `cancel`, only of what is added from now on."""
    watched = WatchedFiles(call.state.files(call.run_id), call.live)
    if call.options.expects_cancelled:
        watched.skip_existing()
    return watched


async def _watch_holder(call: RunCall, watched: WatchedFiles) -> Reply | None:
    """Show what another process records of the run, and return the outcome as soon as it is recorded.

    None if the run's lock becomes free before that. Raises `Stop`.
    """
    poller = call.poller
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(poller.poll(lambda: _recorded_status(call)))
        while not poller.gave_up.is_set():
            await asyncio.sleep(RECORD_INTERVAL)
            record = call.state.read(call.run_id)  # before the files: those of an ended run are complete
            watched.show_new()
            if record.outcome is not None or _is_unlocked(call):
                break
        polling.cancel()
    if poller.gave_up.is_set():
        stop = await poller.gave_up.wait()
        raise Stop(stop.error, stop.detail, **resumable({"run_id": call.run_id}))
    if record.outcome is not None and watched.has_shown:
        call.live.end_agent_output(resumed=record.resumes_session)
    return record.outcome


def _is_unlocked(call: RunCall) -> bool:
    with call.state.files(call.run_id).try_lock() as locked:
        return locked


async def _recorded_status(call: RunCall) -> str:
    return "RUNNING" if call.state.read(call.run_id).phase == "polling" else "PENDING"


def _report(call: RunCall, reply: Reply) -> Reply:
    """Show the status if the run has ended, and return the reply."""
    if reply["status"] != "polling":
        call.poller.report(str(reply["status"]).upper(), last=True, final=True)
    return reply


def _read_outcome(call: RunCall) -> Reply | None:
    """The run's outcome, if it has ended by now and its record can be read."""
    with suppress(Stop):
        return call.state.read(call.run_id).outcome
    return None


def _finish_output(call: RunCall, reply: Reply) -> None:
    """Bring --output up to date. Raises `Stop`."""
    if call.output is None:
        return
    if reply["status"] != "polling":
        call.output.finish(reply)
        return
    call.output.update()
    if call.output.error is not None:
        raise call.output.error.with_run_status("polling")


def _with_output_error(call: RunCall, error: BaseException) -> BaseException:
    """Return `error`. A `Stop` also gets the key `output_error` if --output cannot be brought up to date."""
    if call.output is not None:
        call.output.update()
        if call.output.error is not None and isinstance(error, Stop):
            error.fields.setdefault("output_error", call.output.error.detail)
    return error
