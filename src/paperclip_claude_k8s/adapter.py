"""The object a host registers: SPEC 1, HOST.md 2."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from paperclip_claude_k8s.checks.checkup import test_environment
from paperclip_claude_k8s.execute import execute
from paperclip_claude_k8s.host.checkup import Checkup, CheckupContext
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.host.session import SESSION_CODEC
from paperclip_claude_k8s.ports import House
from paperclip_claude_k8s.process import Connect, Process, connect


class Adapter:
    """Runs Claude Code agents as Kubernetes Jobs.

    One object serves any number of concurrent runs, on one event loop or, after another, on several.
    """

    type = "claude_k8s"
    label = "Claude (Kubernetes)"
    session_codec = SESSION_CODEC
    supports_local_agent_jwt = True
    supports_instructions_bundle = True
    instructions_path_key = "instructionsFilePath"
    requires_materialized_runtime_skills = False
    runtime_tool_delivery = "environment"
    has_out_of_process_liveness = True

    def __init__(self, house: House | None = None, connect: Connect = connect) -> None:
        self._house = house or House(env=os.environ)
        self._connect = connect
        self._processes: WeakKeyDictionary[asyncio.AbstractEventLoop, Process] = WeakKeyDictionary()

    async def execute(self, ctx: ExecutionContext | Mapping[str, Any]) -> ExecutionResult:
        """Run one agent once. Expected failures are results; only cancellation and bugs escape."""
        return await execute(ctx, self._process())

    async def test_environment(self, ctx: CheckupContext | Mapping[str, Any]) -> Checkup:
        """Whether runs with this config would work here, and what would not: SPEC 10. Never raises."""
        return await test_environment(ctx, self._process())

    async def shutdown(self) -> None:
        """Close what runs share. Call it when no run is under way any more; Jobs are left alone."""
        process = self._processes.pop(asyncio.get_running_loop(), None)
        if process is not None:
            await process.close()

    def _process(self) -> Process:
        loop = asyncio.get_running_loop()
        if loop not in self._processes:
            self._processes[loop] = Process(self._house, self._connect)
        return self._processes[loop]
