"""The object a host registers: SPEC 1, HOST.md 2."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from paperclip_claude_k8s.execute import execute
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
        process = self._process()
        with process.running():
            return await execute(ctx, process)

    async def shutdown(self) -> None:
        """The host goes down: runs under way are cancelled, their Jobs stay for the next process to adopt.

        Says so to each run's host, gives all Leases back within two seconds, and closes what runs share.
        """
        process = self._processes.pop(asyncio.get_running_loop(), None)
        if process is not None:
            await process.shut_down()

    def _process(self) -> Process:
        loop = asyncio.get_running_loop()
        if loop not in self._processes:
            self._processes[loop] = Process(self._house, self._connect)
        return self._processes[loop]
