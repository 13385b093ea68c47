"""What host and shared volume tell of MCP servers, before anything is planned."""

import asyncio
import inspect
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.mcp import BASELINE
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.plan.tolerant_readers import as_object, as_objects
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.volume.safefs import read_file

BASELINE_PATH = "PAPERCLIP_SHARED_MCP_BASELINE_PATH"
"""Names another baseline file, as a path in the Pod; set to nothing it turns the baseline off."""
BASELINE_BYTES = 256 * 1024
"""Agents can write on the shared volume: what lies there is not read without a bound."""
PATIENCE = 10.0
"""Seconds the host may take to name its servers."""


async def ask_for_servers(ctx: ExecutionContext, say: Narrator) -> ExecutionContext:
    """The context with the host's servers in place of the object that is asked for them (HOST.md 3.3)."""
    if ctx.runtime_mcp is None:
        return ctx
    try:
        async with asyncio.timeout(PATIENCE):
            servers = [_plain(server) for server in await _asked(ctx.runtime_mcp)]
    except Exception as error:  # noqa: BLE001  # the host's bug must not end a run; its words may hold a token
        await say.warn(f"The host's MCP servers could not be asked for ({type(error).__name__}); left out")
        servers = []
    return ctx.model_copy(update={"runtime_mcp": {"servers": as_objects(servers)}})


async def _asked(source: Any) -> list[Any]:  # noqa: ANN401  # an object, a mapping or the list itself
    if isinstance(source, Mapping):
        ask = source.get("getServers") or source.get("get_servers")
        found = ask() if callable(ask) else source.get("servers")
    elif isinstance(source, (list, tuple)):
        found = source
    else:
        ask = getattr(source, "get_servers", None) or getattr(source, "getServers", None)
        found = ask() if callable(ask) else getattr(source, "servers", None)
    if inspect.isawaitable(found):
        found = await found
    return list(found or ())


def _plain(server: object) -> Mapping[Any, Any]:
    """A server as the host gave it; of an object its fields, under the wire's names."""
    if isinstance(server, Mapping):
        return server
    told = {key: getattr(server, key, None) for key in ("name", "url", "token")}
    connection = getattr(server, "connection_id", None) or getattr(server, "connectionId", None)
    return {**told, "connectionId": connection}


async def read_baseline(
    ctx: ExecutionContext, config: AdapterConfig, env: Mapping[str, str], volume: str | None
) -> Mapping[str, object]:
    """Name → server of the baseline file; none where nobody adds to it, or it cannot be read.

    `volume` is where the shared volume is mounted here.
    """
    path = posixpath.normpath(env.get(BASELINE_PATH, f"{POD_HOME}/{BASELINE}").strip())
    wanted = config.mcp_servers or as_object(ctx.runtime_mcp).get("servers")
    if not wanted or volume is None or not path.startswith(f"{POD_HOME}/"):
        return {}
    here = f"{volume.rstrip('/')}/{path.removeprefix(f'{POD_HOME}/')}"
    return await asyncio.to_thread(_servers_in, here, volume)


def _servers_in(path: str, volume: str) -> Mapping[str, object]:
    try:
        told = json.loads(read_file(path, volume, BASELINE_BYTES))
    except (OSError, ValueError):
        return {}
    return as_object(as_object(told).get("mcpServers"))
