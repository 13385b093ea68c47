"""A Job that really runs: the plan of a run with `claude --version` in the agent's place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest
from paperclip_claude_k8s.failures import describe_error, refusal_step
from paperclip_claude_k8s.host.checkup import Check
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.manifest import job_manifest, secret_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan
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

COMMAND = ("claude", "--version")
MARK = "\x1e"
"""Begins the relay's own lines in a log (SPEC 3)."""
ANSWER_CHARS = 200


@dataclass(slots=True)
class _LogCollector:
    """The last thing that was said of the waiting: what a probe that never ends was waiting for."""

    last: str = "nothing was seen of its Pod"
    lines: list[str] = field(default_factory=list)

    async def on_log(self, _stream: str, text: str) -> None:
        self.last = text.removeprefix(PREFIX).strip()
        self.lines.append(self.last)


async def probe(plan: RunPlan, ports: Ports) -> Check:
    """Start it, wait for its end, and remove it, whatever happened in between."""
    ours, diary, limit = _of_a_probe(plan, ports), _LogCollector(), ports.settings.timings.probe
    try:
        async with asyncio.timeout(limit), _existing(ours, ports) as job:
            return await _watch(ours, job, ports, diary)
    except TimeoutError:
        text = f"The probe Job did not end within {limit:g} s: {diary.last}"
        hint = "a first image pull may take longer: try again"
        return Check(code="k8s_probe_timeout", level="warn", message=text, hint=hint)
    except ClusterError as error:
        text = f"The probe Job could not be run: {describe_error(error)}"
        return Check(code="k8s_probe_failed", level="error", message=text, hint=refusal_step(error))


def _of_a_probe(plan: RunPlan, ports: Ports) -> RunPlan:
    """No file on the shared volume, and gone soon even if we die at once."""
    limit = ports.settings.timings.probe
    short = {"timeout_sec": limit, "ttl_seconds_after_finished": limit, "stop_grace_sec": 5.0}
    return replace(plan, argv=COMMAND, run_log=None, config=plan.config.model_copy(update=short))


@asynccontextmanager
async def _existing(plan: RunPlan, ports: Ports) -> AsyncIterator[JobSnapshot]:
    """The Job and its Secret, for the length of the block."""
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
        async with asyncio.timeout(ports.settings.timings.tidy):
            await ports.cluster.delete_job(job.ref, "Background")
    except (ClusterError, TimeoutError):
        return  # its TTL removes it


async def _watch(plan: RunPlan, job: JobSnapshot, ports: Ports, diary: _LogCollector) -> Check:
    say = Narrator(_listener(plan, diary))
    async with ports.informer(plan.namespace).job_watch(job) as job_watch:
        pod = await wait_for_pod(job_watch, plan.config, ports, say)
        if isinstance(pod, NotStarted | PodLost):
            what, hint = pod.failure.what, pod.failure.next_step
            return Check(code="k8s_probe_failed", level="error", message=what, hint=hint or None)
        if isinstance(pod, DeadlinePassed):
            return _judge(pod, plan, "")
        return _judge(await _end_of(job_watch), plan, await _answer(pod, ports))


def _listener(plan: RunPlan, diary: _LogCollector) -> ExecutionContext:
    who = {"id": plan.identity.agent_id}
    return ExecutionContext.read({"runId": plan.identity.run_id, "agent": who, "onLog": diary.on_log})


async def _end_of(job_watch: JobWatch) -> Ending:
    known = job_watch.known
    while (ending := judge_ending(known)) is None:
        known = await job_watch.changed()
    return ending


async def _answer(pod: PodSnapshot, ports: Ports) -> str:
    """What it printed, without the runtime's timestamps and the relay's marks."""
    request = LogRequest(pod.namespace, pod.name, AGENT_CONTAINER, follow=False, tail=20)
    told = bytearray()
    async with ports.cluster.log(request) as answer:
        while block := await answer.read():
            told += block
    lines = (line.partition(" ")[2] for line in told.decode("utf-8", "replace").split("\n"))
    return " ".join(line for line in map(_unmarked, lines) if line)[:ANSWER_CHARS]


def _unmarked(line: str) -> str:
    """What is no marked line as it is; of a marked line only what the agent said on stderr."""
    if not line.startswith(MARK):
        return line.strip()
    _, _, marked = line.partition(" ")
    return marked.removeprefix("e ").strip() if marked.startswith("e ") else ""


def _judge(ending: Ending, plan: RunPlan, said: str) -> Check:
    if not isinstance(ending, Exited):
        text = f"The probe Job was ended from outside ({type(ending).__name__}): {said or 'it said nothing'}"
        return Check(code="k8s_probe_failed", level="error", message=text)
    summary = relay.read_summary(ending.terminated.message, plan.nonce)
    code = summary.exit_code if summary is not None else ending.terminated.exit_code
    if code == 0:
        text = f"A probe Job ran `{' '.join(COMMAND)}`: {said or 'it said nothing'}"
        return Check(code="k8s_probe_passed", level="info", message=text)
    text = f"The probe Job's `{' '.join(COMMAND)}` ended with exit code {code}: {said or 'it said nothing'}"
    hint = "the image must have `claude` on its PATH" if code in {126, 127} else "look at the image"
    return Check(code="k8s_probe_failed", level="error", message=text, hint=hint)
