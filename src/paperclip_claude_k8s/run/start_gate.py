"""The start gate: at most one Pod of a Job ever runs the agent.

The gate is open while the run Secret exists. The agent's container refers to the Secret, so no Pod of the Job
can start the agent without it. `launch` creates the Secret when it has found no other live Job in the slot.

A Job controller replaces a Pod that is being deleted, was deleted, failed without being counted, or lost the
labels by which it is counted. As soon as it may do that, the gate is closed by two calls:

    ANNOTATE  annotate the Job with its only Pod, and set `parallelism` to 0
    DELETE    delete the Secret

Servers before 1.29 replace a Pod as soon as it is being deleted, while its agent may still run. There a third
call, PIN, writes the Pod's uid into the Secret as soon as the Pod exists, and the relay of any other Pod
refuses to start the agent.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from paperclip_claude_k8s.cluster.error_texts import describe_error
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import (
    AGENT_POD_ANNOTATION,
    ONLY_POD_KEY,
    UNGATED_ANNOTATION,
    json_pointer,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, JsonObject, Known, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.plan.manifest import secret_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.disruption import may_be_replaced

_ONLY_POD = json_pointer("metadata", "annotations", AGENT_POD_ANNOTATION)
RETRY_INTERVAL = 2.0
"""Seconds until a failed call of the gate is repeated, while the run goes on."""

Step: TypeAlias = Callable[[], Awaitable[Any]]
DELETE, ANNOTATE, PIN = "delete secret", "patch job", "patch secret"
"""Names of the gate's calls; warnings show them. Each is repeated until it succeeds or is refused."""


async def open_gate(
    plan: RunPlan, job: JobSnapshot, ports: Ports, narrator: Narrator
) -> SecretSnapshot | None:
    """Create the run Secret, so that the Job's Pod can start; None if the run has no Secret.

    Raises:
        ClusterError: the Secret was refused.
    """
    if not plan.secret_data:
        return None
    call = Retrier(ports.settings.timings, narrator)
    manifest = secret_manifest(plan, job.ref)
    try:
        return await call("create secret", lambda: ports.cluster.create_secret(plan.namespace, manifest))
    except ClusterError as error:
        if not error.conflict:
            raise
    # An earlier try of this call created the Secret, and the response was lost.
    return await call("read secret", lambda: ports.cluster.read_secret(plan.namespace, plan.secret_name))


@dataclass(slots=True)
class StartGate:
    """The start gate of one launched Job. `secret`: the run Secret; None: read when it is needed."""

    job: JobSnapshot
    plan: RunPlan
    secret: SecretSnapshot | None
    adopted: bool
    job_watch: JobWatch
    ports: Ports
    narrator: Narrator
    _done: set[str] = field(default_factory=set)
    """Names of the calls that succeeded, or failed in a way that repeating does not change."""
    _reported: set[str] = field(default_factory=set)
    """Names of the calls whose failure was reported."""
    _may_be_annotated: bool = False
    """An ANNOTATE call was sent, so the Job may have the annotation."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Keeps calls that open the gate apart from calls that close it: their order could change on the way."""

    def needs_action(self, known: Known) -> bool:
        """Whether this state of Job and Pod requires a call that was not made yet."""
        return bool(self._steps(known))

    async def update(self) -> float | None:
        """Make all required calls. Returns the seconds until the next try; None if nothing is left to do."""
        async with self._lock:
            while steps := self._steps(self.job_watch.known):
                # The calls run concurrently. ANNOTATE is sent first: a host killed here must not leave behind
                # a Job with neither Secret nor annotation, which looks like one whose agent never started.
                async with asyncio.TaskGroup() as calls:
                    tried = [calls.create_task(self._try(name, step)) for name, step in steps]
                if not all(call.result() for call in tried):
                    return RETRY_INTERVAL
        return None

    async def close(self) -> None:
        """Make all calls that the end of the run requires, within `Timings.cleanup` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.ports.settings.timings.cleanup):
                await self.update()

    async def reopen(self) -> bool:
        """Let another Pod start the agent, because the first one was deleted before it could.

        False: not possible. An adopted Job's first Pod may have started its agent unseen.
        """
        if self.adopted or not self._has_secret:
            return False
        async with self._lock:
            try:
                await self._open_again()
            except ClusterError as error:
                await self.narrator.warn(f"Could not create the run Secret again: {describe_error(error)}")
                return False
            self._done.clear()
            self._reported.clear()
            return True

    async def _open_again(self) -> None:
        if self._may_be_annotated:
            # A JSON patch fails if it removes a missing annotation, so it adds the annotation before that.
            patch: list[JsonObject] = [
                {"op": "add", "path": _ONLY_POD, "value": ""},
                {"op": "remove", "path": _ONLY_POD},
                {"op": "add", "path": "/spec/parallelism", "value": 1},
            ]
            call = Retrier(self.ports.settings.timings, self.narrator, foreign_too=True)
            await call(ANNOTATE, lambda: self.ports.cluster.patch_job(self.job.ref, patch))
            self._may_be_annotated = False
        if DELETE not in self._done:
            await self._delete()  # the Secret may name the first Pod as the only one
        self.secret = await open_gate(self.plan, self.job, self.ports, self.narrator)

    def _steps(self, known: Known) -> list[tuple[str, Step]]:
        """Names and functions of the calls that this state requires and that are not done, in their order."""
        pod, job = known.pod, known.job
        steps: dict[str, Step] = {}
        if pod is None:
            return []
        if may_be_replaced(known):
            if not known.job_gone:
                steps[ANNOTATE] = lambda: self._annotate(known, pod)
            if self._has_secret:
                steps[DELETE] = self._delete
        elif job is not None and job.replaces_terminating_pods and self._has_secret:
            steps[PIN] = lambda: self._pin(pod)
        return [(name, step) for name, step in steps.items() if name not in self._done]

    @property
    def _has_secret(self) -> bool:
        return UNGATED_ANNOTATION not in self.job.annotations

    async def _pin(self, pod: PodSnapshot) -> None:
        """Write the Pod's uid into the Secret: other Pods then start no agent, even while no host runs.

        A uid that an earlier host process wrote is kept: it is that of the first Pod.
        """
        secret = await self._known_secret()
        if secret is None or secret.only_pod:
            return
        uid = base64.b64encode(pod.uid.encode()).decode()
        await self.ports.cluster.patch_secret(
            secret, [{"op": "add", "path": json_pointer("data", ONLY_POD_KEY), "value": uid}]
        )

    async def _annotate(self, known: Known, pod: PodSnapshot) -> None:
        """Annotate the Job with its only Pod, and keep the Job controller from creating another Pod.

        `parallelism` is left alone on a suspended Job, which a queue may admit again, and on a Job whose Pod
        failed: on old servers a Job with `parallelism` 0 never finishes.
        """
        self._may_be_annotated = True
        patch: list[JsonObject] = [{"op": "add", "path": _ONLY_POD, "value": f"{pod.name}/{pod.uid}"}]
        suspended = known.job is not None and known.job.suspended
        if not suspended and pod.phase != "Failed":
            patch.append({"op": "add", "path": "/spec/parallelism", "value": 0})
        await self.ports.cluster.patch_job(self.job.ref, patch)

    async def _delete(self) -> None:
        secret = await self._known_secret()
        if secret is not None:
            await self.ports.cluster.delete_secret(secret)
        self.secret = None

    async def _known_secret(self) -> SecretSnapshot | None:
        """The run Secret as created or last read; read now if it is not known, and None if it is not ours."""
        if self.secret is None:
            found = await self.ports.cluster.read_secret(self.job.ref.namespace, self.job.ref.name)
            self.secret = found if found is not None and self.job.ref.uid in found.owners else None
        return self.secret

    async def _try(self, name: str, step: Step) -> bool:
        """Make the call of this name. False: it failed and is to be repeated. Its first failure is reported.

        A failure of PIN is not reported, because PIN only supplements the other two calls.
        """
        try:
            await step()
        except ClusterError as error:
            repeated = error.retryable or error.foreign
            if not repeated:
                self._done.add(name)
            if name != PIN and name not in self._reported:
                self._reported.add(name)
                call = f"{name} {self.job.ref.name}"
                await self.narrator.warn(_second_pod_warning(call, error, repeated=repeated))
            return not repeated
        self._done.add(name)
        return True


def _second_pod_warning(call: str, error: ClusterError, *, repeated: bool) -> str:
    next_step = (
        "the call is repeated until it succeeds"
        if repeated
        else "to prevent that, delete the Job, or grant the adapter this right"
    )
    reason = describe_error(error)
    return f"{call} failed ({reason}); Kubernetes may start a second Pod of this Job: {next_step}"
