"""The MCP servers of a run, merged into one file for the Claude CLI.

They come from the baseline file on the shared volume, then from the host, then from the config: a later
server replaces an earlier one of the same name. A file with tokens is delivered in the run Secret only. With
the file the CLI gets `--strict-mcp-config` and reads no other file, so the baseline is merged in here.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.json_readers import as_object, as_objects, as_trimmed
from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.host.redact import secret_texts
from paperclip_claude_k8s.plan.addresses import rebase
from paperclip_claude_k8s.plan.paths import RUN_DIR

MCP_FILE = "mcp.json"
MCP_BASELINE = ".mcp.json"
"""The file at the top of the shared volume with the servers that every agent gets."""

_CREDENTIAL_PARTS = ("env", "headers")
"""Parts of a server that hold credentials: their values may differ between two runs with the same server."""


@dataclass(frozen=True, slots=True)
class McpPlan:
    """The servers of a run. If there are none, there is no file, and the CLI looks for servers itself."""

    servers: Mapping[str, JsonMap] = field(default_factory=dict, repr=False)
    identity: str | None = None
    """Hash of the servers without tokens; a session is resumed only with the servers that it began with."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Values that may not be shown, and the last word of each, such as the token in a header.

    These are all variables and headers, and the parts of arguments and URLs that look secret.
    """

    @property
    def file(self) -> str | None:
        """The file's path in the Pod, for `--mcp-config`."""
        return f"{RUN_DIR}/{MCP_FILE}" if self.servers else None

    @property
    def files(self) -> Mapping[str, str]:
        """File name → text."""
        if not self.servers:
            return {}
        text = json.dumps({"mcpServers": dict(self.servers)}, ensure_ascii=False)
        return {MCP_FILE: encodable(text)}


def plan_mcp(
    ctx: ExecutionContext, config: AdapterConfig, baseline: Mapping[str, object], api_url: str
) -> McpPlan:
    """Merge the servers. A null in the config removes the server of that name.

    If neither host nor config names a server, the plan is empty, and the CLI reads the baseline itself.
    """
    host = host_servers(ctx, api_url)
    if not host and not config.mcp_servers:
        return McpPlan()
    merged = {**baseline, **host, **config.mcp_servers}
    servers = {name: server for name, server in merged.items() if server and isinstance(server, dict)}
    identity = _identity(servers, _connections(ctx)) if servers else None
    return McpPlan(servers, identity, _secrets(servers))


def _secrets(servers: Mapping[str, JsonMap]) -> frozenset[str]:
    values = [value for server in servers.values() for value in secret_texts(server)]
    return frozenset({*values, *(value.split()[-1] for value in values)})


def host_servers(ctx: ExecutionContext, api_url: str) -> dict[str, JsonMap]:
    """Name → MCP server of the host in the CLI's format, with addresses that Pods can reach."""
    return {
        name: {
            "type": "http",
            "url": rebase(url, api_url),
            **({"headers": {"Authorization": f"Bearer {token}"}} if token else {}),
        }
        for name, url, token, _ in _usable_servers(ctx)
    }


def _usable_servers(ctx: ExecutionContext) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Name, address, token and connection id of each server of the host that has a name and an address."""
    for server in as_objects(as_object(ctx.runtime_mcp).get("servers")):
        name, url = as_trimmed(server.get("name")), as_trimmed(server.get("url"))
        if name and url:
            connection = server.get("connectionId") or server.get("connection_id")
            yield name, url, as_trimmed(server.get("token")), as_trimmed(connection)


def _connections(ctx: ExecutionContext) -> Mapping[str, str]:
    return {name: connection for name, _, _, connection in _usable_servers(ctx) if connection}


def _identity(servers: Mapping[str, JsonMap], connections: Mapping[str, str]) -> str:
    """sha256 over all servers and their connection ids, without credentials: each run has new tokens."""
    described = {
        name: [_without_credentials(server), connections.get(name)] for name, server in servers.items()
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _without_credentials(server: JsonMap) -> JsonMap:
    """The server, with only the names of its variables and headers."""
    return {
        key: sorted(as_object(value)) if key in _CREDENTIAL_PARTS else value for key, value in server.items()
    }
