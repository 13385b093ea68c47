"""A cluster in memory, on the time of the event loop, which may be virtual.

The gateway is the real one, and calls the development cluster's API without a socket. No process runs in a
Pod: the kubelet does what the `PodScript` of the test prescribes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.devcluster.api import Api
from paperclip_claude_k8s.devcluster.controller import Controller
from paperclip_claude_k8s.devcluster.dev_cluster import NAMESPACE, add_namespace, seed
from paperclip_claude_k8s.devcluster.store import Store
from paperclip_claude_k8s.testing.host_connection import HostConnection
from paperclip_claude_k8s.testing.memory_faults import MemoryFaults
from paperclip_claude_k8s.testing.pod_script import PodScript
from paperclip_claude_k8s.testing.scripted_kubelet import ScriptedKubelet

__all__ = ["NAMESPACE", "Calls", "FakeCluster"]
Object = dict[str, Any]


@dataclass(slots=True)
class Calls:
    """Every request that was sent, including those that failed: verb, resource, name."""

    made: list[tuple[str, str, str]] = field(default_factory=list)

    def count(self, verb: str, resource: str = "") -> int:
        """The number of requests with this verb, such as "create", and this resource; "": any resource."""
        sent = (call for call in self.made if call[0] == verb)
        return sum(1 for _verb, of_resource, _name in sent if resource in {"", of_resource})


class FakeCluster:
    """A cluster in memory: `async with FakeCluster.start(folder, pod_script) as fake:`.

    `create_adapter` makes an adapter on it. `gateway` is for code that needs a `Cluster` without an adapter.
    """

    def __init__(self, folder: Path, pod_script: Callable[[Object], PodScript]) -> None:
        self.store = Store()
        self.faults = MemoryFaults()
        self.calls = Calls()
        self.down_until = 0.0
        """Time of the loop until which every request is refused."""
        self.kubelet = ScriptedKubelet(self.store, self.faults, folder, pod_script)
        self.api = Api(self.store, self.kubelet, self.faults)  # type: ignore[arg-type]  # the part Api uses
        self.connection = HostConnection(self)
        self.gateway = Gateway(http=self.connection)
        seed(self.store)

    @classmethod
    @asynccontextmanager
    async def start(
        cls, folder: Path, pod_script: PodScript | Callable[[Object], PodScript] | None = None
    ) -> AsyncIterator["FakeCluster"]:
        """Run a cluster for the duration of the block.

        `folder`: for the logs of its Pods. `pod_script`: what each Pod does, or a function of the Pod that
        returns it; None: each Pod prints nothing and succeeds.
        """
        fake = cls(folder, _as_function(pod_script or PodScript()))
        try:
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(Controller(fake.store, fake.faults).run()),
                    group.create_task(fake.kubelet.run(group)),
                ]
                try:
                    yield fake
                finally:
                    for task in (*work, *fake.kubelet.pod_tasks):
                        task.cancel()
        finally:
            fake.kubelet.close_logs()

    @property
    def pod_script(self) -> Callable[[Object], PodScript]:
        """The function that returns what a Pod does. Its argument is the Pod as JSON.

        A test may assign another function, or one `PodScript` for all Pods, which counts for new Pods.
        """
        return self.kubelet.pod_script_of

    @pod_script.setter
    def pod_script(self, script: PodScript | Callable[[Object], PodScript]) -> None:
        self.kubelet.pod_script_of = _as_function(script)

    def add_namespace(self, name: str) -> None:
        """Create a namespace, for runs whose config names it; `NAMESPACE` exists from the beginning."""
        add_namespace(self.store, name)

    def go_down(self, seconds: float) -> None:
        """Refuse every request for this time, break every open log stream, and end every open watch."""
        self.down_until = asyncio.get_running_loop().time() + seconds
        self.faults.drop_log_streams()
        self.faults.close_watches()


def _as_function(script: PodScript | Callable[[Object], PodScript]) -> Callable[[Object], PodScript]:
    return (lambda _pod: script) if isinstance(script, PodScript) else script
