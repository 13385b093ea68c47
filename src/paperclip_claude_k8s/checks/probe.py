"""The probe: a Job like a real run's, but with `claude --version` as the agent.

It finds problems that a dry run cannot find: with resource quota, Pod Security enforcement, scheduling, image
pull and volume mounts, an image without `claude`, and an address of the host that Pods cannot reach.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.error_texts import describe_error, refusal_step
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError, LogBytes, LogRequest
from paperclip_claude_k8s.host.checkup import Check
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.manifest import job_manifest, secret_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.session_volume import SessionVolume
from paperclip_claude_k8s.plan.workspace import NO_WORKSPACE
from paperclip_claude_k8s.podlog.log_lines import STAMP
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import PREFIX, Narrator
from paperclip_claude_k8s.run.wait_for_pod import wait_for_pod
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Ending,
    Exited,
    NotStarted,
    PodLost,
    judge_ending,
)

PROBE_COMMAND = "claude --version"
_REACHED = "paperclip-api-reached="
"""Start of the line in which the probe reports whether it reached the host's API: yes, no, or unknown."""
_SCRIPT = f"""\
{PROBE_COMMAND} || exit $?
url=${{PAPERCLIP_API_URL:-}}; reached=unknown
if [ -n "$url" ] && command -v curl >/dev/null 2>&1; then
  if curl -s -m 10 -o /dev/null "$url/api/health"; then reached=yes; else reached=no; fi
elif [ -n "$url" ] && command -v wget >/dev/null 2>&1; then
  if wget -q -T 10 -O /dev/null "$url/api/health" 2>/dev/null; then reached=yes; else reached=no; fi
fi
echo "{_REACHED}$reached"
"""
RELAY_MARK = "\x1e"
"""First character of each log line that is not stdout of the command. The relay's nonce follows, a blank, and
the kind of the line, `e` for stderr."""
LOG_BYTES = 64 * 1024
"""How much of the command's log is read: an image can print any amount, even in one line."""
STAMPS = re.compile(b"^" + STAMP.pattern, re.MULTILINE)
"""The timestamps of a log, which some servers leave out."""
OUTPUT_CHARS = 200
"""Maximum characters of the command's output in a check."""


@dataclass(slots=True)
class _LastStatus:
    """Holds the run's last log line. If the probe does not end, the line says what it is waiting for."""

    text: str = "its Pod was never observed"

    async def on_log(self, _stream: str, text: str) -> None:
        self.text = text.removeprefix(PREFIX).strip()


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """`reached_api`: whether the Pod reached the host's API; None if that is unknown."""

    check: Check
    reached_api: bool | None = None


async def probe(plan: RunPlan, ports: Ports) -> ProbeOutcome:
    """Run the probe Job, judge how it ended, and delete it in any case."""
    plan, status, limit = _probe_plan(plan, ports), _LastStatus(), ports.settings.timings.probe
    try:
        async with asyncio.timeout(limit), _probe_job(plan, ports) as job:
            return await _run_probe(plan, job, ports, status)
    except TimeoutError:
        text = f"The probe Job did not end within {limit:g} s: {status.text}"
        hint = "the first pull of an image may take longer: try again"
        return ProbeOutcome(Check(code="k8s_probe_timeout", level="warn", message=text, hint=hint))
    except ClusterError as error:
        text = f"The probe Job could not be run: {describe_error(error)}"
        check = Check(code="k8s_probe_failed", level="error", message=text, hint=refusal_step(error))
        return ProbeOutcome(check)


def _probe_plan(plan: RunPlan, ports: Ports) -> RunPlan:
    """The plan with the probe's command and short time limits, without run log, workspace or a new claim.

    The TTL removes the Job if this process ends before it can delete it.
    """
    limit = ports.settings.timings.probe
    short = {"timeout_sec": limit, "ttl_seconds_after_finished": limit, "stop_grace_sec": 5.0}
    config = plan.config.model_copy(update=short)
    volume = plan.session_volume
    if volume.kind == "auto":  # a probe leaves no claim behind
        volume = SessionVolume("none")
    return replace(
        plan,
        argv=("sh", "-c", _SCRIPT),
        run_log=None,
        config=config,
        session_volume=volume,
        workspace=NO_WORKSPACE,
        workdir=NO_WORKSPACE.workdir,
    )


@asynccontextmanager
async def _probe_job(plan: RunPlan, ports: Ports) -> AsyncIterator[JobSnapshot]:
    """Create the Job and its Secret, and delete them when the block ends."""
    job = await ports.cluster.create_job(plan.namespace, job_manifest(plan))
    ports.owned_jobs.add(job.ref.uid)
    try:
        await ports.cluster.create_secret(plan.namespace, secret_manifest(plan, job.ref))
        yield job
    finally:
        ports.owned_jobs.discard(job.ref.uid)
        await _remove(job, ports)


async def _remove(job: JobSnapshot, ports: Ports) -> None:
    try:
        async with asyncio.timeout(ports.settings.timings.cleanup):
            await ports.cluster.delete_job(job.ref, "Background")
    except (ClusterError, TimeoutError):
        return  # the TTL removes the Job


async def _run_probe(plan: RunPlan, job: JobSnapshot, ports: Ports, status: _LastStatus) -> ProbeOutcome:
    narrator = Narrator(_context(plan, status))
    async with ports.informer(plan.namespace).job_watch(job) as job_watch:
        started = await wait_for_pod(job_watch, plan.config, ports, narrator)  # the Pod, unless the run ended
        if isinstance(started, NotStarted | PodLost):
            what, hint = started.failure.what, started.failure.next_step
            return ProbeOutcome(
                Check(code="k8s_probe_failed", level="error", message=what, hint=hint or None)
            )
        if isinstance(started, DeadlinePassed):
            return ProbeOutcome(_exit_check(started, plan, output=""))
        ending = await _wait_for_end(job_watch)
        try:
            printed = await _output(started, ports)
        except ClusterError as error:
            text = f"The probe Job ran, but its log could not be read: {describe_error(error)}"
            hint = f"runs would have no output; {refusal_step(error)}"
            return ProbeOutcome(Check(code="k8s_probe_failed", level="error", message=text, hint=hint))
        output, _, reached = printed.partition(_REACHED)
        answers = {"yes": True, "no": False}
        return ProbeOutcome(
            _exit_check(ending, plan, output[:OUTPUT_CHARS].strip()), answers.get(reached.strip())
        )


def _context(plan: RunPlan, status: _LastStatus) -> ExecutionContext:
    agent = {"id": plan.identity.agent_id}
    return ExecutionContext.read({"runId": plan.identity.run_id, "agent": agent, "onLog": status.on_log})


async def _wait_for_end(job_watch: JobWatch) -> Ending:
    known = job_watch.known
    while (ending := judge_ending(known)) is None:
        known = await job_watch.changed()
    return ending


async def _output(pod: PodSnapshot, ports: Ports) -> str:
    """What the command printed, without timestamps and the relay's marks."""
    request = LogRequest(pod.namespace, pod.name, AGENT_CONTAINER, follow=False, tail=20)
    async with ports.cluster.log(request) as log:
        content = await read_beginning(log)
    lines = STAMPS.sub(b"", content).decode("utf-8", "replace").split("\n")
    return " ".join(line for line in map(_command_text, lines) if line)


async def read_beginning(log: LogBytes) -> bytes:
    """The log's first `LOG_BYTES` bytes, and perhaps some more that arrived with them."""
    content = bytearray()
    while len(content) < LOG_BYTES and (block := await log.read()):
        content += block
    return bytes(content)


def _command_text(line: str) -> str:
    """The command's text in a log line: a line of stdout, or a marked line of stderr; "" for other lines."""
    if not line.startswith(RELAY_MARK):
        return line.strip()
    _, _, marked = line.partition(" ")
    return marked.removeprefix("e ").strip() if marked.startswith("e ") else ""


def _exit_check(ending: Ending, plan: RunPlan, output: str) -> Check:
    output = output or "no output"
    if not isinstance(ending, Exited):
        text = f"The probe Job was ended from outside ({type(ending).__name__}): {output}"
        return Check(code="k8s_probe_failed", level="error", message=text)
    summary = relay.read_summary(ending.terminated.message, plan.nonce)
    code = summary.exit_code if summary is not None else ending.terminated.exit_code
    if code == 0:
        text = f"A probe Job ran `{PROBE_COMMAND}`: {output}"
        return Check(code="k8s_probe_passed", level="info", message=text)
    text = f"The probe Job's `{PROBE_COMMAND}` ended with exit code {code}: {output}"
    hint = "the image must have `claude` on its PATH" if code in {126, 127} else "check the image"
    return Check(code="k8s_probe_failed", level="error", message=text, hint=hint)
