"""MCP servers: merged by name into one file for the CLI, with their tokens in the run Secret only.

The baseline is a file on the shared volume with servers for all agents.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.plans import HOME, a_context, the_job, the_secret

from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.plan.identity import identify
from paperclip_claude_k8s.plan.mcp import McpPlan, plan_mcp
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite

API = "https://pc.example"
PROJECTS = {
    "name": "Paperclip projects",
    "url": "http://127.0.0.1:3100/api/mcp",
    "token": "c4n4ry-host-mcp",
    "connectionId": "con-1",
}
SESSION = "11111111-2222-3333-4444-555555555555"


def mcp_plan(
    *servers: Mapping[str, Any], baseline: Mapping[str, object] | None = None, **configured: Any
) -> McpPlan:
    ctx = a_context(runtimeMcp={"servers": list(servers)})
    config = AdapterConfig.read({"mcpServers": configured} if configured else {})
    return plan_mcp(ctx, config, baseline or {}, API)


def test_host_server_becomes_http_server_with_rebased_url() -> None:
    assert mcp_plan(PROJECTS).servers == {
        "Paperclip projects": {
            "type": "http",
            "url": f"{API}/api/mcp",
            "headers": {"Authorization": "Bearer c4n4ry-host-mcp"},
        }
    }


def test_config_overrides_host_and_host_overrides_baseline() -> None:
    baseline_servers = {"a": {"command": "base"}, "b": {"command": "base"}, "c": {"command": "base"}}
    host = [{"name": name, "url": "https://x.example"} for name in ("b", "c")]
    merged = mcp_plan(*host, baseline=baseline_servers, c={"command": "mine"}).servers
    assert {name: server.get("command", server.get("url")) for name, server in merged.items()} == {
        "a": "base",
        "b": "https://x.example",
        "c": "mine",
    }


def test_null_in_config_removes_a_server() -> None:
    assert mcp_plan(baseline={"a": {"command": "x"}}, a=None, b={"command": "y"}).servers == {
        "b": {"command": "y"}
    }


def test_baseline_alone_is_not_planned_because_the_cli_reads_it() -> None:
    assert mcp_plan(baseline={"a": {"command": "x"}}) == McpPlan()


def test_invalid_servers_of_host_and_baseline_are_left_out() -> None:
    host: list[dict[str, Any]] = [{"name": "a"}, {"url": "u"}, {"name": " ", "url": "u"}, {"name": 1}]
    assert mcp_plan(*host).servers == {}
    assert mcp_plan(PROJECTS, baseline={"odd": "text"}).servers.keys() == {"Paperclip projects"}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({**PROJECTS, "token": "fresh"}, True),
        ({**PROJECTS, "connectionId": "con-2"}, False),
        ({**PROJECTS, "url": "https://elsewhere.example"}, False),
        ({**PROJECTS, "name": "Other"}, False),
    ],
)
def test_identity_depends_on_names_addresses_and_connections(other: dict[str, Any], same: bool) -> None:  # noqa: FBT001
    assert (mcp_plan(PROJECTS).identity == mcp_plan(other).identity) is same


def test_identity_ignores_values_of_headers_and_variables() -> None:
    first = mcp_plan(a={"command": "x", "args": ["1"], "env": {"KEY": "old"}}).identity
    assert mcp_plan(a={"command": "x", "args": ["1"], "env": {"KEY": "new"}}).identity == first
    assert mcp_plan(a={"command": "x", "args": ["2"], "env": {"KEY": "old"}}).identity != first


@pytest.mark.parametrize(
    "servers",
    ["no JSON", [], {"a": "text"}, {"a": {}}, {"a": {"args": ["c4n4ry"]}}, {"mcpServers": {"a": 1}}],
)
def test_invalid_servers_in_config_are_refused_without_quoting_them(servers: Any) -> None:
    with pytest.raises(ConfigInvalid, match="mcpServers: expected an object of MCP servers by name") as bad:
        AdapterConfig.read({"mcpServers": servers})
    assert "c4n4ry" not in str(bad.value)


@pytest.mark.parametrize("wrap", [lambda s: s, json.dumps, lambda s: {"mcpServers": s}])
def test_mcp_servers_accept_object_json_and_whole_file(wrap: Any) -> None:
    servers = {"a": {"url": "https://x.example"}}
    assert AdapterConfig.read({"mcpServers": wrap(servers)}).mcp_servers == servers


# In the Job and its Secret ----------------------------------------------------------------------------


def config_with_token(**more: Any) -> dict[str, Any]:
    headers = {"Authorization": "Bearer c4n4ry-header"}
    return {"mcpServers": {"mine": {"type": "http", "url": "https://x.example", "headers": headers}}, **more}


def test_cli_gets_mcp_file_and_strict_flag() -> None:
    (container,) = the_job(**config_with_token())["spec"]["template"]["spec"]["containers"]
    assert container["command"][-3:] == [
        "--mcp-config",
        "/var/run/paperclip/run/mcp.json",
        "--strict-mcp-config",
    ]


def test_strict_flag_is_missing_without_servers() -> None:
    assert "--strict-mcp-config" not in json.dumps(the_job())


def test_mcp_tokens_are_in_run_secret_only() -> None:
    job, secret = the_job(**config_with_token()), the_secret(**config_with_token())
    assert "c4n4ry" not in json.dumps(job)
    file = json.loads(secret["stringData"]["mcp.json"])
    assert file["mcpServers"]["mine"]["headers"] == {"Authorization": "Bearer c4n4ry-header"}
    (run,) = [volume for volume in job["spec"]["template"]["spec"]["volumes"] if volume["name"] == "run"]
    assert {"key": "mcp.json", "path": "mcp.json"} in run["secret"]["items"]
    assert run["secret"]["defaultMode"] & ~0o440 == 0  # at most readable by owner and group


# Sessions --------------------------------------------------------------------------------------------


def plan_of(session_params: Mapping[str, Any], home: HomePod | None = HOME, **config: Any) -> RunPlan:
    ctx = a_context(runtime={"sessionParams": session_params})
    identity = identify(ctx)
    assert identity is not None
    site = RunSite("ns", "i", home, {}, "0123abcd")
    return Planner(ctx, identity, AdapterConfig.read(config), site).plan()


def test_session_is_resumed_only_with_the_same_servers() -> None:
    stored_params = plan_of({}, **config_with_token()).session_params
    assert stored_params["mcpServerIdentity"]
    stored = {"sessionId": SESSION, **stored_params}
    assert plan_of(stored, **config_with_token()).resume == SESSION
    without_servers = plan_of(stored)
    assert without_servers.resume is None
    assert "Starting a fresh session: the set of MCP servers changed" in without_servers.notes
    assert "mcpServerIdentity" not in without_servers.session_params
    # a session that was stored with its folder, but without servers
    assert plan_of({"sessionId": SESSION, "cwd": "/paperclip"}, **config_with_token()).resume is None
    # a session of which only the id is known
    assert plan_of({"sessionId": SESSION}, **config_with_token()).resume == SESSION


def test_servers_are_named_in_the_notes() -> None:
    assert "MCP servers (1): mine" in plan_of({}, **config_with_token()).notes
