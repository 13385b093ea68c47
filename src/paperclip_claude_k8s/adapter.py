"""The object a host registers: SPEC 1, HOST.md 2."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pydantic.alias_generators import to_snake

from paperclip_claude_k8s.checks.run_checks import test_environment
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.execute import execute
from paperclip_claude_k8s.host.anthropic import PUBLIC_API
from paperclip_claude_k8s.host.catalogue import Catalogue, skill_snapshot
from paperclip_claude_k8s.host.checkup import Checkup, CheckupContext
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.host.form import config_schema
from paperclip_claude_k8s.host.guide import agent_configuration_doc
from paperclip_claude_k8s.host.models import known_models
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.host.session import SESSION_CODEC, SESSION_MANAGEMENT
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Connect, Process, connect


class Adapter:
    """Runs Claude Code agents as Kubernetes Jobs.

    One object serves any number of concurrent runs, on one event loop or, after another, on several. What
    answers the host outside of a run never raises for want of a network, a login or a readable folder.
    """

    type = ADAPTER_TYPE
    label = "Claude (Kubernetes)"
    session_codec = SESSION_CODEC
    session_management = SESSION_MANAGEMENT
    agent_configuration_doc = agent_configuration_doc()
    supports_local_agent_jwt = True
    supports_instructions_bundle = True
    instructions_path_key = "instructionsFilePath"
    requires_materialized_runtime_skills = False
    runtime_tool_delivery = "environment"
    has_out_of_process_liveness = True

    def __init__(
        self, settings: ProcessSettings | None = None, connect: Connect = connect, anthropic: str = PUBLIC_API
    ) -> None:
        self._house = settings or ProcessSettings(env=os.environ)
        self._connect = connect
        self._processes: WeakKeyDictionary[asyncio.AbstractEventLoop, Process] = WeakKeyDictionary()
        self._catalogue = Catalogue(self._house.env, self._house.timings, anthropic)

    async def execute(self, ctx: ExecutionContext | Mapping[str, Any]) -> ExecutionResult:
        """Run one agent once. Expected failures are results; only cancellation and bugs escape."""
        process = self._process()
        with process.running():
            return await execute(ctx, process)

    async def test_environment(self, ctx: CheckupContext | Mapping[str, Any]) -> Checkup:
        """Whether runs with this config would work here, and what would not: SPEC 10. Never raises."""
        return await test_environment(ctx, self._process())

    async def shutdown(self) -> None:
        """The host goes down: runs under way are cancelled, their Jobs stay for the next process to adopt.

        Says so to each run's host, gives all Leases back within two seconds, and closes what runs share.
        """
        process = self._processes.pop(asyncio.get_running_loop(), None)
        if process is not None:
            await process.shut_down()

    @property
    def models(self) -> list[JsonMap]:
        """`[{id, label}]`: the fixed list for this environment."""
        return self._catalogue.models

    async def list_models(self) -> list[JsonMap]:
        """`[{id, label}]`, with an API key what the API lists; believed for a minute."""
        return await self._catalogue.list_models()

    async def refresh_models(self) -> list[JsonMap]:
        """The same, asked for now."""
        return await self._catalogue.refresh_models()

    async def detect_model(self) -> JsonMap | None:
        """`{model, provider, source, candidates}` where the environment names a model."""
        return self._catalogue.detect_model()

    def get_config_schema(self) -> JsonMap:
        """`{fields: […]}`: the form of SPEC 13's settings."""
        return config_schema(known_models(self._house.env))

    async def get_quota_windows(self) -> JsonMap:
        """`{provider, ok, windows, …}`: how far a subscription's limits are used up."""
        return await self._catalogue.quota_windows()

    async def list_skills(self, ctx: Mapping[str, Any]) -> JsonMap:
        """The snapshot of `{agentId, companyId, adapterType, config}`."""
        return await self._skills(ctx)

    async def sync_skills(self, ctx: Mapping[str, Any], desired: Iterable[Any]) -> JsonMap:
        """The snapshot with these skills wanted; the next run's bundle brings them, nothing is kept here."""
        return await self._skills(ctx, desired)

    async def _skills(self, ctx: Mapping[str, Any], desired: Iterable[Any] | None = None) -> JsonMap:
        given = ctx.get("config")
        config = given if isinstance(given, Mapping) else {}
        volume = config.get("sharedVolumeDir") or config.get("shared_volume_dir")
        home = volume.strip() if isinstance(volume, str) else POD_HOME
        return await skill_snapshot(self.type, config, home, desired)

    def _process(self) -> Process:
        loop = asyncio.get_running_loop()
        if loop not in self._processes:
            self._processes[loop] = Process(self._house, self._connect)
        return self._processes[loop]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # any member
            """The wire's camelCase names lead to the same members."""
            member = to_snake(name)
            if name.startswith("_") or member == name:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self, member)
