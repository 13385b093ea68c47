"""Gets the MCP servers that the host offers to a run."""

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.json_readers import as_objects
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.context import ResolvedContext, StoppableContext
from paperclip_claude_k8s.host.input_bounds import count_chars
from paperclip_claude_k8s.run.narrate import Narrator

LIST_TIMEOUT = 10.0
"""Seconds the host may take to list its servers."""


async def resolve_servers(ctx: StoppableContext, narrator: Narrator) -> ResolvedContext:
    """Get the MCP servers from the host.

    An error is a warning, and the run continues without these servers. The warning names only the type of the
    exception, because its text may contain a token.

    Raises:
        RunFailure: `k8s_config_invalid`, the servers have so much text that other runs would wait while it is
            searched for secrets.
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
    if count_chars(servers) > LIMITS.examined_chars:
        why = f"ctx.runtimeMcp has more than {LIMITS.examined_chars} characters; offer fewer servers"
        raise RunFailure(failures.config_invalid(why))
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
