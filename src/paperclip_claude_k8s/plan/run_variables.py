"""The PAPERCLIP_* variables of an agent and its run, as Paperclip hosts set them for agents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paperclip_claude_k8s.base.json_readers import as_object, as_objects, as_trimmed, as_trimmed_texts
from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.host.context import ExecutionContext, JsonMap
from paperclip_claude_k8s.plan.addresses import API_URL, rebase
from paperclip_claude_k8s.plan.paths import MAX_LISTED_PATHS
from paperclip_claude_k8s.plan.templates import compact_json
from paperclip_claude_k8s.plan.wake import WakePayload, stringify_wake_payload

API_KEY = "PAPERCLIP_API_KEY"
WAKE_PAYLOAD = "PAPERCLIP_WAKE_PAYLOAD_JSON"
WAKE_PAYLOAD_FILE = "PAPERCLIP_WAKE_PAYLOAD_FILE"
"""Holds the path of a file with the wake payload, if the payload is too long for an environment string."""

_TOOLS_PREFIX = "PAPERCLIP_RUNTIME_TOOLS_"


@dataclass(frozen=True, slots=True)
class PodView:
    """The agent's working directory, the host's API address, and a translation of host paths, for the Pod.

    `pod_path` returns None for a path that does not exist in the Pod.
    """

    workdir: str
    api_url: str
    pod_path: Callable[[str], str | None]


def run_variables(ctx: ExecutionContext, wake: WakePayload, pod: PodView) -> dict[str, str]:
    """Name → value of every variable that is not empty."""
    variables = {
        **_identity(ctx),
        **_task(ctx.context),
        WAKE_PAYLOAD: stringify_wake_payload(wake),
        **_workspace(ctx.context, pod),
        **_services(ctx.context),
        **_runtime_tools(_tools_without_server(ctx), pod.api_url),
        API_URL: pod.api_url,
        API_KEY: ctx.auth_token,
        "TRACEPARENT": ctx.traceparent,
        "TRACESTATE": ctx.tracestate,
    }
    return {name: encodable(value.replace("\0", "")) for name, value in variables.items() if value}


def bearer_tokens(ctx: ExecutionContext) -> frozenset[str]:
    """Every token that the host passed for this run; no plain variable may contain one of them."""
    servers = as_objects(as_object(ctx.runtime_mcp).get("servers"))
    tokens = [ctx.auth_token, _tools_of(ctx).get("bearerToken"), *(server.get("token") for server in servers)]
    return frozenset(token for token in tokens if isinstance(token, str) and token)


def _identity(ctx: ExecutionContext) -> Mapping[str, str | None]:
    return {
        "PAPERCLIP_AGENT_ID": ctx.agent.id,
        "PAPERCLIP_COMPANY_ID": ctx.agent.company_id,
        "PAPERCLIP_RUN_ID": ctx.run_id,
    }


def _task(context: JsonMap) -> Mapping[str, str | None]:
    return {
        "PAPERCLIP_TASK_ID": _first_trimmed(context, "taskId", "issueId"),
        "PAPERCLIP_ISSUE_WORK_MODE": _work_mode(context),
        "PAPERCLIP_WAKE_REASON": as_trimmed(context.get("wakeReason")),
        "PAPERCLIP_WAKE_COMMENT_ID": _first_trimmed(context, "wakeCommentId", "commentId"),
        "PAPERCLIP_APPROVAL_ID": as_trimmed(context.get("approvalId")),
        "PAPERCLIP_APPROVAL_STATUS": as_trimmed(context.get("approvalStatus")),
        "PAPERCLIP_LINKED_ISSUE_IDS": ",".join(as_trimmed_texts(context.get("issueIds"))),
    }


def _work_mode(context: JsonMap) -> str | None:
    """The issue's work mode, such as `planning`: from the context's issue, else from the wake payload's."""
    issues = (context.get("paperclipIssue"), as_object(context.get("paperclipWake")).get("issue"))
    return next((mode for issue in issues if (mode := as_trimmed(as_object(issue).get("workMode")))), None)


def _workspace(context: JsonMap, pod: PodView) -> Mapping[str, str | None]:
    workspace = as_object(context.get("paperclipWorkspace"))
    keys = {
        "SOURCE": "source",
        "STRATEGY": "strategy",
        "ID": "workspaceId",
        "REPO_URL": "repoUrl",
        "REPO_REF": "repoRef",
        "BRANCH": "branchName",
    }
    given = as_objects(context.get("paperclipWorkspaces"))[:MAX_LISTED_PATHS]
    hints = [_reachable_hint(hint, pod) for hint in given]
    return {
        "PAPERCLIP_WORKSPACE_CWD": pod.workdir,
        **{f"PAPERCLIP_WORKSPACE_{name}": as_trimmed(workspace.get(key)) for name, key in keys.items()},
        "PAPERCLIP_WORKSPACE_WORKTREE_PATH": _pod_path(workspace.get("worktreePath"), pod),
        "AGENT_HOME": _pod_path(workspace.get("agentHome"), pod),
        "PAPERCLIP_WORKSPACES_JSON": compact_json(hints) if hints else None,
    }


def _reachable_hint(hint: JsonMap, pod: PodView) -> JsonMap:
    """A workspace of the host, with its path in the Pod, or without any path if the Pod does not have it."""
    others = {key: value for key, value in hint.items() if key != "cwd"}
    cwd = _pod_path(hint.get("cwd"), pod)
    return {**others, "cwd": cwd} if cwd else others


def _services(context: JsonMap) -> Mapping[str, str | None]:
    intents, services = context.get("paperclipRuntimeServiceIntents"), context.get("paperclipRuntimeServices")
    return {
        "PAPERCLIP_RUNTIME_SERVICE_INTENTS_JSON": compact_json(intents) if intents else None,
        "PAPERCLIP_RUNTIME_SERVICES_JSON": compact_json(services) if services else None,
        "PAPERCLIP_RUNTIME_PRIMARY_URL": as_trimmed(context.get("paperclipRuntimePrimaryUrl")),
    }


def _tools_without_server(ctx: ExecutionContext) -> JsonMap:
    """The host's tools; empty if an MCP server of the host has their token, so that no variable needs it."""
    tools = _tools_of(ctx)
    servers = as_objects(as_object(ctx.runtime_mcp).get("servers"))
    tokens = {server.get("token") for server in servers if as_trimmed(server.get("url"))}
    return {} if tools.get("bearerToken") in tokens else tools


def _tools_of(ctx: ExecutionContext) -> JsonMap:
    return ctx.runtime_tools or as_object(ctx.context.get("paperclipRuntimeTools"))


def _runtime_tools(tools: JsonMap, api_url: str) -> Mapping[str, str | None]:
    """The host's tools, as variables; loopback addresses are replaced by the host's API address."""
    rest = as_object(tools.get("rest"))
    return {
        f"{_TOOLS_PREFIX}MCP_URL": _rebased_url(tools.get("mcpEndpoint"), api_url),
        f"{_TOOLS_PREFIX}TOKEN": as_trimmed(tools.get("bearerToken")),
        f"{_TOOLS_PREFIX}EXPIRES_AT": as_trimmed(tools.get("expiresAt")),
        f"{_TOOLS_PREFIX}CONNECTIONS_SEARCH_URL": _rebased_url(rest.get("connectionsSearch"), api_url),
        f"{_TOOLS_PREFIX}CONNECTION_REQUEST_URL": _rebased_url(rest.get("connectionRequest"), api_url),
        f"{_TOOLS_PREFIX}AVAILABLE": ",".join(_tool_names(tools.get("tools"))),
        f"{_TOOLS_PREFIX}GUIDANCE": as_trimmed(tools.get("guidance")),
    }


def _tool_names(tools: object) -> list[str]:
    named = [as_trimmed(tool.get("name")) for tool in as_objects(tools)]
    return as_trimmed_texts(tools) + [name for name in named if name]


def _rebased_url(value: object, api_url: str) -> str | None:
    url = as_trimmed(value) or as_trimmed(as_object(value).get("url"))
    return rebase(url, api_url) if url else None


def _pod_path(value: object, pod: PodView) -> str | None:
    path = as_trimmed(value)
    return pod.pod_path(path) if path else None


def _first_trimmed(context: JsonMap, *keys: str) -> str | None:
    return next((text for key in keys if (text := as_trimmed(context.get(key)))), None)
