"""The server and the cluster, as the checks use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.real_host.paperclip import Paperclip, Pods
from tests.real_host.rig import Rig
from tests.support.runs import SMALL

KIND = "claude_k8s"
SOON = 40.0
"""Seconds that a run may take on a busy machine."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The running server and cluster, and clients for both."""

    rig: Rig
    host: Paperclip
    pods: Pods

    def config(self, env: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
        """An agent's settings for the development cluster."""
        target = {"kubeconfig": str(self.rig.kubeconfig), "namespace": "paperclip", "image": "local/agent:1"}
        return {**target, **SMALL, "env": {"CLAUDE_LINE_DELAY": "0.01", **(env or {})}, **settings}

    async def reconfigure(self, agent: str, **settings: Any) -> None:
        """Replace an agent's settings by those for the development cluster and `settings`."""
        await self.host.call(
            "PATCH",
            f"/agents/{agent}",
            {"adapterConfig": self.config(**settings), "replaceAdapterConfig": True},
        )
