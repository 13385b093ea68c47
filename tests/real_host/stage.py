"""What every check works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.real_host.paperclip import Paperclip, Pods
from tests.real_host.rig import Rig
from tests.support.runs import SMALL

KIND = "claude_k8s"
SOON = 40.0
"""Seconds a run may take on a busy machine."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What every check works with."""

    rig: Rig
    host: Paperclip
    pods: Pods

    def config(self, env: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
        """An agent's settings for the development cluster."""
        target = {"kubeconfig": str(self.rig.kubeconfig), "namespace": "paperclip", "image": "local/agent:1"}
        return {**target, **SMALL, "env": {"CLAUDE_LINE_DELAY": "0.01", **(env or {})}, **settings}

    async def give(self, agent: str, **settings: Any) -> None:
        """Change an agent's settings."""
        await self.host.call(
            "PATCH",
            f"/agents/{agent}",
            {"adapterConfig": self.config(**settings), "replaceAdapterConfig": True},
        )
