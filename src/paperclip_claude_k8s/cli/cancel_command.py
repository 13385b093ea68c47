"""`claude-k8s cancel`: end a run, whether it was started here or by a host anywhere."""

import asyncio
import getpass
import os
import socket
from contextlib import suppress
from typing import Any

from paperclip_claude_k8s.cli.command_options import RunOptions
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.find_run import check_only_run, find_record, job_on_cluster, names_of, run_id_of
from paperclip_claude_k8s.cli.run_command import run, run_to_reply
from paperclip_claude_k8s.cli.run_holder import holder_of_job
from paperclip_claude_k8s.cli.run_lookup_options import CancelOptions
from paperclip_claude_k8s.cli.runs.call import CallProgress
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop
from paperclip_claude_k8s.cli.runs.state import State, state_folder
from paperclip_claude_k8s.cli.signals import SIGNAL_HANDLER, reraise_signal
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.cancel_job import cancel_job, wait_until_stopped


def cancel(options: CancelOptions) -> int:
    """Cancel the run and print a reply. Exit code 0 if the run was cancelled.

    For a run that was started here, the request is written to the state folder, where the process that works
    on the run finds the request. If no process works on the run, the call of `run` below takes the run's lock
    and cancels the run itself. The Job of any other run is annotated with the user who cancels, and deleted.
    """
    progress, records = CallProgress(), list[Record]()

    async def work() -> Reply:
        record = find_record(options.run, namespace=options.namespace)
        if record is None:
            return await _cancel_on_cluster(options)
        if options.run not in names_of(record):
            await check_only_run(record, options)
        records.append(record)
        progress.run_id = record.run_id
        progress.state = state = State(state_folder(os.environ))
        if record.outcome is None:
            state.request_cancel(record.run_id)
        return {}  # no reply yet: the call of `run` below prints one

    reply = run_to_reply(work, progress)
    if not reply:
        return run(_run_options(options, records[0].run_id))
    code = print_reply(reply, DONE if reply["status"] == "cancelled" else FAILED, options.output_format)
    if SIGNAL_HANDLER.received is not None:
        reraise_signal(SIGNAL_HANDLER.received)
    return code


def _run_options(options: CancelOptions, run_id: str) -> RunOptions:
    return RunOptions(
        run_id=run_id,
        timeout=options.timeout,
        kubeconfig=options.kubeconfig,
        kubeconfig_from_option=options.kubeconfig_from_option,
        context=options.context,
        quiet=options.quiet,
        output_format=options.output_format,
        expects_cancelled=True,
    )


async def _cancel_on_cluster(options: CancelOptions) -> Reply:
    """Cancel a run by its Job. Raises `Stop`."""
    async with job_on_cluster(options) as (ports, job):
        fields = _fields_of(job)
        if job.finished is not None:
            end = f"its Job {job.ref} has ended ({job.finished.type}), so there is nothing to cancel"
            raise Stop("task_failed", f"run {run_id_of(job)} cannot be cancelled: {end}", **fields)
        holder = await holder_of_job(job, ports)
        if not await cancel_job(job.ref, person(), ports.cluster):
            raise Stop("task_failed", f"Job {job.ref} ended before it could be cancelled", **fields)
        stopped = await _stops_within(job, ports, options.timeout)
        detail = "the agent has stopped" if stopped else f"the agent still works after {options.timeout:g}s"
        report = (
            f"{holder.text} reports the run as cancelled" if holder.works else "no process works on the run"
        )
        return {**fields, "status": "cancelled", "agent_stopped": stopped, "detail": f"{detail}; {report}"}


async def _stops_within(job: JobSnapshot, ports: Ports, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wait_until_stopped(job.ref, ports.cluster)
            return True
    return False


def _fields_of(job: JobSnapshot) -> dict[str, Any]:
    agent = job.labels.get(labels.AGENT_LABEL)
    return {"run_id": run_id_of(job), "agent": agent, "job": job.ref.name, "namespace": job.ref.namespace}


def person() -> str:
    """The user of this command, as user@machine."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
