"""MCP servers from outside the config: those of the host, and the baseline file on the shared volume."""

import asyncio
import inspect
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.base.json_readers import as_object, as_objects
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext, ResolvedContext, StoppableContext
from paperclip_claude_k8s.plan.mcp import MCP_BASELINE
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.volume.safefs import read_file

BASELINE_PATH = "PAPERCLIP_SHARED_MCP_BASELINE_PATH"
"""Environment variable with the path of another baseline file in the Pod; empty: no baseline."""
BASELINE_BYTES = 256 * 1024
"""Limit for reading the baseline file: agents can write to the shared volume."""
LIST_TIMEOUT = 10.0
"""Seconds the host may take to list its servers."""


async def resolve_servers(ctx: StoppableContext, narrator: Narrator) -> ResolvedContext:
    """Ask the host for its MCP servers.

    An error is a warning, and the run continues without them. The warning names only the type of the
    exception, because its text may contain a token.
    """
    if ctx.runtime_mcp is None:
        return ResolvedContext.of(ctx)
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            servers = [_as_mapping(server) for server in await _list_servers(ctx.runtime_mcp)]
    except Exception as error:  # noqa: BLE001  # a bug of the host must not end the run
        reason = type(error).__name__
        await narrator.warn(f"Could not get MCP servers from the host ({reason}); continuing without them")
        servers = []
    return ResolvedContext.of(ctx, runtime_mcp={"servers": as_objects(servers)})


async def _list_servers(source: Any) -> list[Any]:  # noqa: ANN401  # an object, a mapping or the list itself
    if isinstance(source, Mapping):
        getter = source.get("getServers") or source.get("get_servers")
        found = getter() if callable(getter) else source.get("servers")
    elif isinstance(source, (list, tuple)):
        found = source
    else:
        getter = getattr(source, "get_servers", None) or getattr(source, "getServers", None)
        found = getter() if callable(getter) else getattr(source, "servers", None)
    if inspect.isawaitable(found):
        found = await found
    return list(found or ())


def _as_mapping(server: object) -> Mapping[Any, Any]:
    """The server as a mapping: unchanged if it is one, else its attributes that are used."""
    if isinstance(server, Mapping):
        return server
    fields = {key: getattr(server, key, None) for key in ("name", "url", "token")}
    connection = getattr(server, "connection_id", None) or getattr(server, "connectionId", None)
    return {**fields, "connectionId": connection}


async def read_baseline(
    ctx: ExecutionContext, config: AdapterConfig, env: Mapping[str, str], volume: str | None
) -> Mapping[str, object]:
    """The servers of the baseline file by name; empty if the file cannot be read or is not needed.

    It is not needed if neither host nor config has servers: the CLI then reads the file itself. `volume`: the
    path of the shared volume in this process.
    """
    path = posixpath.normpath(env.get(BASELINE_PATH, f"{POD_HOME}/{MCP_BASELINE}").strip())
    wanted = config.mcp_servers or as_object(ctx.runtime_mcp).get("servers")
    if not wanted or volume is None or not path.startswith(f"{POD_HOME}/"):
        return {}
    here = f"{volume.rstrip('/')}/{path.removeprefix(f'{POD_HOME}/')}"
    return await asyncio.to_thread(_read_servers, here, volume)


def _read_servers(path: str, volume: str) -> Mapping[str, object]:
    try:
        content = json.loads(read_file(path, volume, BASELINE_BYTES))
    except (OSError, ValueError):
        return {}
    return as_object(as_object(content).get("mcpServers"))
