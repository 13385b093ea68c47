"""The object that a host registers."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pydantic.alias_generators import to_snake

from paperclip_claude_k8s.checks.run_checks import test_environment
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.execute import execute as execute_run
from paperclip_claude_k8s.host.anthropic import PUBLIC_API
from paperclip_claude_k8s.host.catalogue import Catalogue, skill_snapshot
from paperclip_claude_k8s.host.checkup import Checkup, CheckupContext
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.host.form import config_schema
from paperclip_claude_k8s.host.guide import agent_configuration_doc
from paperclip_claude_k8s.host.models import known_models
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.host.session import SESSION_CODEC, SESSION_MANAGEMENT
from paperclip_claude_k8s.instrumentation.event_hub import Subscription
from paperclip_claude_k8s.instrumentation.event_types import Event
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.process import Connect, Process, connect
from paperclip_claude_k8s.run.admit import volume_is_allowed


class Adapter:
    """Runs Claude Code agents as Kubernetes Jobs.

    One adapter serves any number of concurrent runs, on one event loop or on several. Every member is also
    available under its camelCase name. Hosts call `Adapter()` or `create_server_adapter()`, without arguments
    or with a `policy`; the other arguments are for tests. Only `execute` and `test_environment` need a
    cluster: the other methods never raise because a network, a login or a folder is missing.
    """

    type = ADAPTER_TYPE
    """Name under which a host registers the adapter."""
    label = "Claude (Kubernetes)"
    """Name that is shown to users."""
    session_codec = SESSION_CODEC
    """`deserialize`, `serialize` and `get_display_id` for the `sessionParams` that a host stores."""
    session_management = SESSION_MANAGEMENT
    """States that the host must not compact sessions, because Claude Code does that."""
    agent_configuration_doc = agent_configuration_doc()
    """Markdown for agents that configure agents: every setting with its type, default and meaning."""
    supports_local_agent_jwt = True
    """The host should create an `authToken` for each run."""
    supports_instructions_bundle = True
    """The host should write the agent's instructions to a file."""
    instructions_path_key = "instructionsFilePath"
    """Setting in which the host puts the path of that file."""
    requires_materialized_runtime_skills = False
    """The adapter copies skills from the host's library itself."""
    runtime_tool_delivery = "native_mcp"
    """The agent gets the host's tools from an MCP server, whose token is in the run's MCP file only."""
    has_out_of_process_liveness = True
    """Runs outlive the host process."""

    def __init__(
        self,
        settings: ProcessSettings | None = None,
        connect: Connect = connect,
        anthropic: str = PUBLIC_API,
        *,
        policy: Policy | Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = settings or ProcessSettings.read(os.environ, policy)
        self._connect = connect
        self._processes: WeakKeyDictionary[asyncio.AbstractEventLoop, Process] = WeakKeyDictionary()
        self._catalogue = Catalogue(self._settings.env, self._settings.timings, anthropic)

    async def execute(self, ctx: ExecutionContext | Mapping[str, Any]) -> ExecutionResult:
        """Run one agent once and wait for its end.

        `ctx` is an `ExecutionContext` or a mapping of its shape; `docs/host-protocol.md` describes it. An
        expected failure is a result with an `error_code`. To stop the agent, set `ctx.signal`. Cancelling the
        task that awaits this method leaves the agent running: the Job stays, and the next `execute` for the
        same agent and task adopts it.

        Raises:
            asyncio.CancelledError: the task was cancelled, or `shutdown` was called.
            Exception: a bug of the adapter. Callbacks that raise are logged and do not end the run.
        """
        process = self._process()
        with process.running():
            return await execute_run(ctx, process)

    async def test_environment(self, ctx: CheckupContext | Mapping[str, Any]) -> Checkup:
        """Examine whether runs with this config would work here. Never raises.

        `ctx` is `{"config": {...}, "probe": false}`; with `probe` it also runs a Job. Returns checks with
        a level each (`info`, `warn`, `error`), and the worst level as `status` (`pass`, `warn`, `fail`).
        """
        return await test_environment(ctx, self._process())

    def on_event(self, callback: Callable[[Event], object]) -> Subscription:
        """Call `callback(event)` for everything that happens from now on (`docs/observability.md`).

        It is an ordinary function, called in a thread of its own, one event at a time, so it may block.
        """
        return self._settings.events.subscribe(callback)

    async def shutdown(self) -> None:
        """Prepare for the end of the host process; call it on the event loop that awaits the runs.

        Cancels the runs of this event loop and reports that in each run's log; their Jobs stay, and the next
        process adopts them. Then releases all Leases, within two seconds, and closes all connections.
        """
        process = self._processes.pop(asyncio.get_running_loop(), None)
        if process is not None:
            await process.shut_down()

    @property
    def models(self) -> list[JsonMap]:
        """`[{id, label}]`: the fixed list of models for the host's environment."""
        return self._catalogue.models

    async def list_models(self) -> list[JsonMap]:
        """Return `[{id, label}]`, cached for a minute.

        With an ANTHROPIC_API_KEY, the list includes the models that the Anthropic API offers.
        """
        return await self._catalogue.list_models()

    async def refresh_models(self) -> list[JsonMap]:
        """Return the same as `list_models`, without the cache."""
        return await self._catalogue.refresh_models()

    async def detect_model(self) -> JsonMap | None:
        """Return `{model, provider, source, candidates}`, or None if the environment names no model."""
        return self._catalogue.detect_model()

    def get_config_schema(self) -> JsonMap:
        """Return the form: `{fields: [{key, label, type, hint, group, default?, options?}]}`."""
        return config_schema(known_models(self._settings.env), self._settings.policy)

    async def get_quota_windows(self) -> JsonMap:
        """Return how much of a Claude subscription's limits is used.

        `{provider, ok, windows: [{label, usedPercent, resetsAt, valueLabel, detail?}], source?, error?,
        errorFamily?}`, with `usedPercent` from 0 to 100 or null and `resetsAt` as ISO 8601 or null. The login
        is that of the host's HOME, or CLAUDE_CODE_OAUTH_TOKEN. After a failure `ok` is false and `error` set.
        """
        return await self._catalogue.quota_windows()

    async def list_skills(self, ctx: Mapping[str, Any]) -> JsonMap:
        """Return the skills page of an agent: `{desiredSkills, entries, warnings, mode, ...}`.

        `ctx` is `{"config": {...}}`, the config holding `paperclipRuntimeSkills` and `paperclipSkillSync`.
        """
        return await _skills_page(self._settings, ctx)

    async def sync_skills(self, ctx: Mapping[str, Any], desired: Iterable[Any]) -> JsonMap:
        """Return the skills page with this selection: keys, or objects `{key, versionId}`.

        Nothing is stored; the host stores the selection, and the agent gets the skills with its next run.
        """
        return await _skills_page(self._settings, ctx, desired)

    def _process(self) -> Process:
        loop = asyncio.get_running_loop()
        if loop not in self._processes:
            self._processes[loop] = Process(self._settings, self._connect)
        return self._processes[loop]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # any member
            """Look up a camelCase name as its snake_case member."""
            member = to_snake(name)
            if name.startswith("_") or member == name:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self, member)


async def _skills_page(
    settings: ProcessSettings, ctx: Mapping[str, Any], desired: Iterable[Any] | None = None
) -> JsonMap:
    """The skills page for a config; `desired`: the selection to show in place of the config's own."""
    given = ctx.get("config")
    config = given if isinstance(given, Mapping) else {}
    volume = config.get("sharedVolumeDir") or config.get("shared_volume_dir")
    mount = volume.strip() if isinstance(volume, str) else POD_HOME
    if not await volume_is_allowed(mount, settings):
        mount = POD_HOME
    return await skill_snapshot(ADAPTER_TYPE, config, mount, desired)
