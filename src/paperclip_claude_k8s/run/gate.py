"""The run Secret as a gate: no Pod of a Job can start its agent without it (SPEC 2.5).

It is opened once the Job has no rival, and closed again as soon as the Job controller may start another Pod:
when ours is being deleted, is gone, has failed, or has lost the labels by which the controller counts it.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.cluster.labels import AGENT_POD_ANNOTATION
from paperclip_claude_k8s.cluster.model import JobSnapshot, JsonObject, Known, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.failures import words_of
from paperclip_claude_k8s.plan.manifest import secret_manifest
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.relay import ONLY_POD_KEY
from paperclip_claude_k8s.run.calls import Caller
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.disruption import must_not_be_replaced

CONFLICT = 409
_ONLY_POD = f"/metadata/annotations/{AGENT_POD_ANNOTATION.replace('/', '~1')}"
"""JSON pointer to the Job's word on its only Pod."""


async def open_gate(plan: RunPlan, job: JobSnapshot, ports: Ports, say: Narrator) -> SecretSnapshot | None:
    """Create the run Secret, so that the Job's Pod can start; None where the run has no Secret.

    Raises:
        ClusterError: the Secret was refused.
    """
    if not plan.secret_data:
        return None
    call = Caller(ports.house.timings, say)
    manifest = secret_manifest(plan, job.ref)
    try:
        return await call("create secret", lambda: ports.cluster.create_secret(plan.namespace, manifest))
    except ClusterError as error:
        if error.status != CONFLICT:
            raise
    # the answer to our own earlier try was lost
    return await call("read secret", lambda: ports.cluster.read_secret(plan.namespace, plan.secret_name))


@dataclass(slots=True)
class Gate:
    """The gate of one launched Job. `secret` is None where it is not known: then it is looked for."""

    job: JobSnapshot
    plan: RunPlan
    secret: SecretSnapshot | None
    adopted: bool
    ports: Ports
    say: Narrator
    _closed: bool = False
    _withdrawn: bool = False
    """The Job controller was told to make no Pod any more."""
    _pinned: str = ""

    def due(self, known: Known) -> Callable[[], Awaitable[None]] | None:
        """What has to be done at once about a change of Job or Pod, if anything."""
        pod = known.pod
        if pod is None or self._closed:
            return None
        if must_not_be_replaced(known):
            self._closed = True
            return lambda: self._close(known, pod)
        job = known.job
        if job is not None and job.replaces_dying_pods and self._pinned != pod.uid and self._has_secret:
            self._pinned = pod.uid
            return lambda: self._pin(pod)
        return None

    async def reopen(self) -> bool:
        """Let another Pod start the agent, after the first one went before it could; False: it may not."""
        if self.adopted or not self._has_secret:
            return False
        try:
            if self._withdrawn:  # the deletion of the Pod was told before the suspension of its Job
                patch: list[JsonObject] = [
                    {"op": "remove", "path": _ONLY_POD},
                    {"op": "add", "path": "/spec/parallelism", "value": 1},
                ]
                await self._cluster.patch_job(self.job.ref, patch)
            self.secret = await open_gate(self.plan, self.job, self.ports, self.say)
        except ClusterError as error:
            await self.say.warn(f"The run Secret could not be created again: {words_of(error)}")
            return False
        self._closed, self._withdrawn, self._pinned = False, False, ""
        return True

    @property
    def _has_secret(self) -> bool:
        """An adopted Job may have been made by another way of delivery than this run's plan: look."""
        return self.adopted or bool(self.plan.secret_data)

    async def _pin(self, pod: PodSnapshot) -> None:
        """Have the relay of every other Pod refuse to start the agent, also when no host is there to close.

        Servers before 1.29 replace a Pod while its agent still works, and a host can be away at that moment:
        a node that is drained may take both.
        """
        uid = base64.b64encode(pod.uid.encode()).decode()
        only: JsonObject = {"op": "add", "path": f"/data/{ONLY_POD_KEY}", "value": uid}
        work = self._on_secret(lambda secret: self._cluster.patch_secret(secret, [only]))
        with suppress(ClusterError, TimeoutError):  # closing the gate remains
            await self._bounded("patch secret", work)

    async def _close(self, known: Known, pod: PodSnapshot) -> None:
        """The Secret first: it is what holds a Pod back. Then the Job is kept from making one."""
        await self._try("delete secret", self._on_secret(self._cluster.delete_secret))
        suspended = known.job is not None and known.job.suspended  # a queue may admit the Job again
        if known.job_gone or suspended or pod.phase == "Failed":
            return
        patch: list[JsonObject] = [
            {"op": "add", "path": _ONLY_POD, "value": f"{pod.name}/{pod.uid}"},
            {"op": "add", "path": "/spec/parallelism", "value": 0},
        ]
        await self._try("patch job", lambda: self._cluster.patch_job(self.job.ref, patch))
        self._withdrawn = True

    def _on_secret(self, do: Callable[[SecretSnapshot], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def work() -> None:
            if self.secret is None:
                found = await self._cluster.read_secret(self.job.ref.namespace, self.job.ref.name)
                self.secret = found if found is not None and self.job.ref.uid in found.owners else None
            if self.secret is not None:
                await do(self.secret)

        return work

    async def _try(self, what: str, call: Callable[[], Awaitable[Any]]) -> None:
        """What cannot be done is said, since a second agent is then held back by less."""
        try:
            await self._bounded(what, call)
        except (ClusterError, TimeoutError) as error:
            why = words_of(error) if isinstance(error, ClusterError) else "no answer in time"
            text = f"{what} {self.job.ref.name} failed ({why})"
            await self.say.warn(f"{text}; Kubernetes may start a second Pod of this Job")

    async def _bounded(self, what: str, call: Callable[[], Awaitable[Any]]) -> None:
        async with asyncio.timeout(self.ports.house.timings.tidy):
            await Caller(self.ports.house.timings, self.say)(what, call)

    @property
    def _cluster(self) -> Cluster:
        return self.ports.cluster
