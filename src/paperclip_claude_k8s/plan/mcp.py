"""The MCP servers of a run: baseline file, the host's, the config's, one file for the CLI (SPEC 3).

The file holds tokens, so it travels in the run Secret only. `--strict-mcp-config` makes it the whole truth:
what the CLI would have found by itself is left out, so the baseline file is merged in here.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.json_readers import as_label, as_object, as_objects
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.plan.addresses import rebase
from paperclip_claude_k8s.plan.paths import RUN_DIR
from paperclip_claude_k8s.plan.templates import encodable

FILE = "mcp.json"
BASELINE = ".mcp.json"
"""The file at the shared volume's top with the servers every agent gets."""

_HIDING = ("env", "headers")
"""Parts of a server whose values are credentials, and change while the server stays the same."""


@dataclass(frozen=True, slots=True)
class McpPlan:
    """What the CLI is told of MCP servers; `servers` is empty where it shall look for itself.

    `identity` names the set without its tokens: a session is only resumed with the set it was started with.
    """

    servers: Mapping[str, JsonMap] = field(default_factory=dict, repr=False)
    identity: str | None = None

    @property
    def file(self) -> str | None:
        """Its path in the Pod, for `--mcp-config`."""
        return f"{RUN_DIR}/{FILE}" if self.servers else None

    @property
    def files(self) -> Mapping[str, str]:
        """File name → text, for the run Secret."""
        if not self.servers:
            return {}
        return {FILE: encodable(json.dumps({"mcpServers": dict(self.servers)}, ensure_ascii=False, indent=1))}

    @property
    def secrets(self) -> frozenset[str]:
        """Values that may be shown nowhere: headers, whole and without their scheme, and variables."""
        values = [
            value
            for server in self.servers.values()
            for part in _HIDING
            for value in as_object(server.get(part)).values()
            if isinstance(value, str) and value.strip()
        ]
        return frozenset({*values, *(value.split()[-1] for value in values)})


def plan_mcp(
    ctx: ExecutionContext, config: AdapterConfig, baseline: Mapping[str, object], api_url: str
) -> McpPlan:
    """Later ones win by name: baseline, host, config; a server that the config sets to null is left out.

    Without any of the host's or the config's the CLI reads the baseline itself, as it reads the project's.
    """
    heard = host_servers(ctx, api_url)
    if not heard and not config.mcp_servers:
        return McpPlan()
    told = {name: server for name, server in baseline.items() if isinstance(server, dict)}
    merged = {name: server for name, server in {**told, **heard, **config.mcp_servers}.items() if server}
    servers = {name: server for name, server in merged.items() if isinstance(server, dict)}
    return McpPlan(servers, _identity(servers, _connections(ctx)) if servers else None)


def host_servers(ctx: ExecutionContext, api_url: str) -> dict[str, JsonMap]:
    """The host's connections in the CLI's form; their addresses are the host's own, as Pods reach it."""
    return {
        name: {
            "type": "http",
            "url": rebase(url, api_url),
            **({"headers": {"Authorization": f"Bearer {token}"}} if token else {}),
        }
        for name, url, token, _ in _told(ctx)
    }


def _told(ctx: ExecutionContext) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Name, address, token and connection of each usable server."""
    for server in as_objects(as_object(ctx.runtime_mcp).get("servers")):
        name, url = as_label(server.get("name")), as_label(server.get("url"))
        if name and url:
            connection = server.get("connectionId") or server.get("connection_id")
            yield name, url, as_label(server.get("token")), as_label(connection)


def _connections(ctx: ExecutionContext) -> Mapping[str, str]:
    return {name: connection for name, _, _, connection in _told(ctx) if connection}


def _identity(servers: Mapping[str, JsonMap], connections: Mapping[str, str]) -> str:
    """sha256 over names, addresses, connections and commands; tokens are new with every run (HOST.md 6.2)."""
    known = {name: [_lasting(server), connections.get(name)] for name, server in servers.items()}
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def _lasting(server: JsonMap) -> JsonMap:
    return {key: sorted(as_object(value)) if key in _HIDING else value for key, value in server.items()}
