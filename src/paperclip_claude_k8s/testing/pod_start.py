"""What happens to a Pod of a cluster in memory before its agent starts."""

import asyncio
import base64
from typing import Any

from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY
from paperclip_claude_k8s.devcluster.kinds import SECRETS
from paperclip_claude_k8s.devcluster.store import Store
from paperclip_claude_k8s.testing.memory_faults import MemoryFaults
from paperclip_claude_k8s.testing.pod_script import PodScript
from paperclip_claude_k8s.testing.pod_statuses import PodStatuses

Object = dict[str, Any]


class PodStart:
    """Waits until the agent of a Pod starts."""

    def __init__(self, store: Store, faults: MemoryFaults, statuses: PodStatuses) -> None:
        self._store = store
        self._faults = faults
        self._statuses = statuses

    async def wait(self, pod: Object, pod_script: PodScript) -> bool:
        """Wait for the Pod's Secrets, then for its image and the waiting states of the script.

        False if the agent may not start in this Pod.
        """
        await self._wait_for_secrets(pod)
        if not self._may_start(pod):
            return False
        await self._wait_before_start(pod, pod_script)
        return True

    async def _wait_for_secrets(self, pod: Object) -> None:
        """Keep the Pod in ContainerCreating until its Secrets exist."""
        namespace = pod["metadata"]["namespace"]
        volumes = pod["spec"].get("volumes") or []
        wanted = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
        self._statuses.set_state(pod, "Pending", {"waiting": {"reason": "ContainerCreating"}})
        while True:
            changed = self._store.next_change()
            if all(self._store.find(SECRETS, namespace, name) for name in wanted):
                return
            await changed.wait()

    def _may_start(self, pod: Object) -> bool:
        """False if the run Secret, which has the name of the Job, names another Pod as the only one.

        In a real Pod, the relay checks this.
        """
        job = (pod["metadata"].get("labels") or {}).get("job-name", "")
        secret = self._store.find(SECRETS, pod["metadata"]["namespace"], job)
        only_pod = (secret or {}).get("data", {}).get(ONLY_POD_KEY)
        return only_pod is None or base64.b64decode(only_pod).decode() == pod["metadata"]["uid"]

    async def _wait_before_start(self, pod: Object, pod_script: PodScript) -> None:
        """Show the waiting states of the script, one after another; without an image, wait for ever."""
        if self._faults.image_is_missing:
            text = 'Failed to pull image "x": rpc error: code = NotFound desc = x: not found'
            self._statuses.set_state(pod, "Pending", {"waiting": {"reason": "ErrImagePull", "message": text}})
            await asyncio.Event().wait()
        for seconds, reason, message in pod_script.waiting:
            self._statuses.set_state(pod, "Pending", {"waiting": {"reason": reason, "message": message}})
            await asyncio.sleep(seconds)
