"""The run Secret as a gate: no Pod of a Job can start its agent without it (SPEC 2.5).

It is opened once the Job has no rival, and closed again as soon as the Job controller may start another Pod:
when ours is being deleted, is gone, has failed and may not be counted, or has lost the labels by which it is
counted.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import (
    AGENT_POD_ANNOTATION,
    ONLY_POD_KEY,
    UNGATED_ANNOTATION,
    json_pointer,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, JsonObject, Known, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import describe_error
from paperclip_claude_k8s.plan.manifest import secret_manifest
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.disruption import may_be_replaced

_ONLY_POD = json_pointer("metadata", "annotations", AGENT_POD_ANNOTATION)
"""JSON pointer to the Job's word on its only Pod."""
TRY_AGAIN = 2.0
"""Seconds until a call of the gate that failed is made again, as long as the run goes on."""

Step: TypeAlias = Callable[[], Awaitable[Any]]
DELETE, MARK, PIN = "delete secret", "patch job", "patch secret"
"""The calls by which a second agent is held back; each is made until it succeeds or is refused."""


async def open_gate(plan: RunPlan, job: JobSnapshot, ports: Ports, say: Narrator) -> SecretSnapshot | None:
    """Create the run Secret, so that the Job's Pod can start; None where the run has no Secret.

    Raises:
        ClusterError: the Secret was refused.
    """
    if not plan.secret_data:
        return None
    call = Retrier(ports.settings.timings, say)
    manifest = secret_manifest(plan, job.ref)
    try:
        return await call("create secret", lambda: ports.cluster.create_secret(plan.namespace, manifest))
    except ClusterError as error:
        if not error.conflict:
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
    job_watch: JobWatch
    ports: Ports
    say: Narrator
    _done: set[str] = field(default_factory=set)
    """Calls that succeeded, or were refused in a way that no time heals."""
    _said: set[str] = field(default_factory=set)
    """Calls whose failure was said."""
    _marked: bool = False
    """The Job was perhaps told which Pod is its only one."""
    _working: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A call that opens the gate must not meet one that closes it: the later one sent may arrive first."""

    def due(self, known: Known) -> bool:
        """Whether something has to be done at once about a change of Job or Pod."""
        return bool(self._steps(known))

    async def keep(self) -> float | None:
        """Do all that is due; seconds until it is to be tried again, where something failed."""
        async with self._working:
            while steps := self._steps(self.job_watch.known):
                # the Job's mark goes out first: a host that ends here must not leave a Job without its
                # Secret and without that mark, which would look as if its agent had never begun
                async with asyncio.TaskGroup() as calls:
                    tried = [calls.create_task(self._try(what, step)) for what, step in steps]
                if not all(call.result() for call in tried):
                    return TRY_AGAIN
        return None

    async def settle(self) -> None:
        """What is due once the run has ended, in bounded time: tidying up comes next."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.ports.settings.timings.tidy):
                await self.keep()

    async def reopen(self) -> bool:
        """Let another Pod start the agent, after the first one went before it could; False: it may not."""
        if self.adopted or not self._has_secret:
            return False
        async with self._working:
            try:
                await self._open_again()
            except ClusterError as error:
                await self.say.warn(f"The run Secret could not be created again: {describe_error(error)}")
                return False
            self._done.clear()
            self._said.clear()
            return True

    async def _open_again(self) -> None:
        if self._marked:
            # added before it is removed, since it may not be there and nothing can remove that
            patch: list[JsonObject] = [
                {"op": "add", "path": _ONLY_POD, "value": ""},
                {"op": "remove", "path": _ONLY_POD},
                {"op": "add", "path": "/spec/parallelism", "value": 1},
            ]
            call = Retrier(self.ports.settings.timings, self.say)
            await call(MARK, lambda: self._cluster.patch_job(self.job.ref, patch))
            self._marked = False
        if DELETE not in self._done:
            await self._delete()
        self.secret = await open_gate(self.plan, self.job, self.ports, self.say)

    def _steps(self, known: Known) -> list[tuple[str, Step]]:
        """What is due by what is known, and not done yet."""
        pod, job = known.pod, known.job
        steps: dict[str, Step] = {}
        if pod is None:
            return []
        if may_be_replaced(known):
            if not known.job_gone:
                steps[MARK] = lambda: self._mark(known, pod)
            if self._has_secret:
                steps[DELETE] = self._delete
        elif job is not None and job.replaces_dying_pods and self._has_secret:
            steps[PIN] = lambda: self._pin(pod)
        return [(what, step) for what, step in steps.items() if what not in self._done]

    @property
    def _has_secret(self) -> bool:
        return UNGATED_ANNOTATION not in self.job.annotations

    async def _pin(self, pod: PodSnapshot) -> None:
        """Have the relay of every other Pod refuse to start the agent, also when no host is there to close.

        Servers before 1.29 replace a Pod while its agent still works, and a host can be away at that moment:
        a node that is drained may take both. What an earlier host wrote stands: its Pod was there first.
        """
        secret = await self._known_secret()
        if secret is None or secret.only_pod:
            return
        uid = base64.b64encode(pod.uid.encode()).decode()
        await self._cluster.patch_secret(
            secret, [{"op": "add", "path": json_pointer("data", ONLY_POD_KEY), "value": uid}]
        )

    async def _mark(self, known: Known, pod: PodSnapshot) -> None:
        """Name the Job's only Pod, and have the Job controller make no other.

        The number of Pods stays where a queue may admit the Job again, and where the Job has failed with its
        Pod: a Job that wants none never finishes on old servers.
        """
        self._marked = True
        patch: list[JsonObject] = [{"op": "add", "path": _ONLY_POD, "value": f"{pod.name}/{pod.uid}"}]
        suspended = known.job is not None and known.job.suspended
        if not suspended and pod.phase != "Failed":
            patch.append({"op": "add", "path": "/spec/parallelism", "value": 0})
        await self._cluster.patch_job(self.job.ref, patch)

    async def _delete(self) -> None:
        secret = await self._known_secret()
        if secret is not None:
            await self._cluster.delete_secret(secret)
        self.secret = None

    async def _known_secret(self) -> SecretSnapshot | None:
        """Ours as it was made or seen; where neither was, as it is read now."""
        if self.secret is None:
            found = await self._cluster.read_secret(self.job.ref.namespace, self.job.ref.name)
            self.secret = found if found is not None and self.job.ref.uid in found.owners else None
        return self.secret

    async def _try(self, what: str, step: Step) -> bool:
        """Whether it is done with. What fails is said once: a second agent is then held back by less."""
        try:
            await step()
        except ClusterError as error:
            again = error.retryable
            if not again:
                self._done.add(what)
            if what != PIN and what not in self._said:  # closing the gate remains
                self._said.add(what)
                await self.say.warn(_not_held_back(f"{what} {self.job.ref.name}", error, again=again))
            return not again
        self._done.add(what)
        return True

    @property
    def _cluster(self) -> Cluster:
        return self.ports.cluster


def _not_held_back(what: str, error: ClusterError, *, again: bool) -> str:
    next_step = (
        "it is tried again until it succeeds"
        if again
        else "to prevent that, delete the Job, or grant the adapter this right"
    )
    return (
        f"{what} failed ({describe_error(error)}); Kubernetes may start a second Pod of this Job: {next_step}"
    )
