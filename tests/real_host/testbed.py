"""The argument of each check: the running server and cluster, and clients for both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.real_host.paperclip import Paperclip, Pods
from tests.real_host.rig import Rig
from tests.support.runs import SMALL_REQUESTS

ADAPTER_TYPE = "claude_k8s"
RUN_TIMEOUT = 40.0
"""Seconds that a run, or a step of it, may take on a busy machine."""


@dataclass(frozen=True, slots=True)
class Testbed:
    """The running server and cluster, and clients for both."""

    rig: Rig
    host: Paperclip
    pods: Pods

    def config(self, env: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
        """Return an agent's settings for the development cluster."""
        target = {
            "kubeconfig": str(self.rig.kubeconfig),
            "namespace": "paperclip",
            "image": "local/agent:1",
            "claimName": "paperclip-data",  # so that sessions are resumed
        }
        return {**target, **SMALL_REQUESTS, "env": {"CLAUDE_LINE_DELAY": "0.01", **(env or {})}, **settings}

    async def reconfigure(self, agent: str, **settings: Any) -> None:
        """Replace an agent's settings with those of `config(**settings)`."""
        await self.host.call(
            "PATCH",
            f"/agents/{agent}",
            {"adapterConfig": self.config(**settings), "replaceAdapterConfig": True},
        )
