"""The environment of the agent: its three layers, values translated for the Pod, and routes for secrets.

The layers are the variables of the home pod, of the run and of the config.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.cluster.model import HomePod, JsonObject
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.redact import is_secret_name
from paperclip_claude_k8s.plan.environment import ENV_STRING_BYTES, Environment, layer_environment
from paperclip_claude_k8s.plan.paths import RUN_DIR
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.wake import read_wake_payload

API = "http://paperclip:3100"
TOKEN = "c4n4ry-auth-token"
IDENTITY = {
    "PAPERCLIP_AGENT_ID": "agent-1",
    "PAPERCLIP_COMPANY_ID": "company-1",
    "PAPERCLIP_RUN_ID": "run-1",
    "PAPERCLIP_TASK_ID": "issue-1",
    "PAPERCLIP_API_URL": API,
    "PAPERCLIP_API_KEY": TOKEN,
    "HOME": "/paperclip",
}


async def on_log(stream: str, text: str) -> None:
    pass


def environment(
    context: dict[str, Any] | None = None,
    env: dict[str, Any] | None = None,
    home: HomePod | None = None,
    *,
    process: dict[str, str] | None = None,
    **more: Any,
) -> Environment:
    """The environment of a run; `process` is that of this process, `more` are other keys of the context."""
    ctx = ExecutionContext.read(
        {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "company-1"},
            "context": {"issueId": "issue-1", **(context or {})},
            "authToken": TOKEN,
            "onLog": on_log,
            **more,
        }
    )
    given = {"PAPERCLIP_API_URL": API} if process is None else process
    wake = read_wake_payload(ctx.context.get("paperclipWake"))
    site = RunSite("ns", "image", home, given, "0123abcd")
    return layer_environment(ctx, wake, AdapterConfig(env=env or {}), site, "/paperclip/ws")


def home_pod(*env: JsonObject, claim: str = "claim", env_from: tuple[JsonObject, ...] = ()) -> HomePod:
    return HomePod("ns", "home", "image", env=env, env_from=env_from, claim_name=claim)


def literal(name: str, value: str) -> JsonObject:
    """An entry of the home pod with a plain value."""
    return {"name": name, "value": value}


def reference(name: str) -> JsonObject:
    """An entry of the home pod that refers to a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": name}}}


def values_of(env: Environment) -> dict[str, str]:
    """All variables with known values, plain or secret."""
    return {**env.literals, **env.secrets}


def test_run_with_a_task_alone_has_identity_variables() -> None:
    env = environment()
    assert values_of(env).items() >= IDENTITY.items()
    assert env.secrets["PAPERCLIP_API_KEY"] == TOKEN
    assert values_of(env)["ANTHROPIC_CUSTOM_HEADERS"] == "X-Anthropic-Agent-Id: agent-1"
    assert (env.value_from, env.env_from, env.files, env.dropped, env.overruled) == ((), (), {}, (), ())


def test_context_of_a_run_becomes_variables() -> None:
    env = environment(
        {
            "taskId": "task-1",
            "wakeReason": "issue_commented",
            "wakeCommentId": "c1",
            "approvalId": "a1",
            "approvalStatus": "approved",
            "issueIds": ["i1", " ", "i2"],
            "paperclipIssue": {"workMode": "planning"},
            "paperclipWake": {"issue": {"id": "i1"}, "unknown": 1},
            "paperclipWorkspace": {
                "cwd": "/data/ws",
                "source": "project",
                "strategy": "worktree",
                "workspaceId": "w1",
                "repoUrl": "https://github.com/a/b",
                "repoRef": "main",
                "branchName": "feat/x",
                "worktreePath": "/paperclip/wt",
                "agentHome": "/paperclip/agents/a",
            },
            "paperclipWorkspaces": [{"id": "w1", "cwd": "/paperclip/ws"}, {"id": "w2", "cwd": "/elsewhere"}],
            "paperclipRuntimeServiceIntents": [{"name": "db"}],
            "paperclipRuntimeServices": [{"name": "web"}],
            "paperclipRuntimePrimaryUrl": "http://web:80",
        },
        home=home_pod(),
    )
    variables = values_of(env)
    expected = {
        "TASK_ID": "task-1",
        "ISSUE_WORK_MODE": "planning",
        "WAKE_REASON": "issue_commented",
        "WAKE_COMMENT_ID": "c1",
        "APPROVAL_ID": "a1",
        "APPROVAL_STATUS": "approved",
        "LINKED_ISSUE_IDS": "i1,i2",
        "WORKSPACE_CWD": "/paperclip/ws",
        "WORKSPACE_SOURCE": "project",
        "WORKSPACE_STRATEGY": "worktree",
        "WORKSPACE_ID": "w1",
        "WORKSPACE_REPO_URL": "https://github.com/a/b",
        "WORKSPACE_REPO_REF": "main",
        "WORKSPACE_BRANCH": "feat/x",
        "WORKSPACE_WORKTREE_PATH": "/paperclip/wt",
        "WORKSPACES_JSON": '[{"id":"w1","cwd":"/paperclip/ws"},{"id":"w2"}]',
        "RUNTIME_SERVICE_INTENTS_JSON": '[{"name":"db"}]',
        "RUNTIME_SERVICES_JSON": '[{"name":"web"}]',
        "RUNTIME_PRIMARY_URL": "http://web:80",
    }
    assert variables.items() >= {f"PAPERCLIP_{name}": value for name, value in expected.items()}.items()
    assert variables["AGENT_HOME"] == "/paperclip/agents/a"
    assert "unknown" not in variables["PAPERCLIP_WAKE_PAYLOAD_JSON"]
    assert json.loads(variables["PAPERCLIP_WAKE_PAYLOAD_JSON"])["issue"]["id"] == "i1"


@pytest.mark.parametrize(
    ("context", "mode"),
    [
        (
            {"paperclipIssue": {"workMode": " planning "}, "paperclipWake": {"issue": {"workMode": "ask"}}},
            "planning",
        ),
        ({"paperclipIssue": {"workMode": ""}, "paperclipWake": {"issue": {"workMode": "ask"}}}, "ask"),
        ({"paperclipIssue": "x", "paperclipWake": []}, None),
        ({}, None),
    ],
)
def test_work_mode_is_that_of_the_issue_or_of_the_wake(context: dict[str, Any], mode: str | None) -> None:
    assert values_of(environment(context)).get("PAPERCLIP_ISSUE_WORK_MODE") == mode


def test_host_paths_are_left_out_without_shared_volume() -> None:
    workspace = {"worktreePath": "/paperclip/wt", "agentHome": "/paperclip/agents/a"}
    for home in (None, home_pod(claim="")):
        variables = values_of(environment({"paperclipWorkspace": workspace}, home=home))
        assert not variables.keys() & {"PAPERCLIP_WORKSPACE_WORKTREE_PATH", "AGENT_HOME"}


@pytest.mark.parametrize(
    "layers", [("home", "config"), ("config",), ("home",)], ids=["both", "config only", "home only"]
)
def test_later_layer_overrides_earlier_ones_except_the_run_id(layers: tuple[str, ...]) -> None:
    home = home_pod(literal("X", "home"), literal("PAPERCLIP_RUN_ID", "home"), literal("Y", "home"))
    env = environment(
        env={"X": "config", "PAPERCLIP_RUN_ID": "config"} if "config" in layers else {},
        home=home if "home" in layers else None,
    )
    assert values_of(env)["X"] == layers[-1]
    assert env.literals["PAPERCLIP_RUN_ID"] == "run-1"
    assert env.literals.get("Y") == ("home" if "home" in layers else None)


def test_config_may_set_all_but_the_identity_variables() -> None:
    env = environment(
        env={
            "PAPERCLIP_API_KEY": "stolen",
            "PAPERCLIP_AGENT_ID": "other",
            "PAPERCLIP_WAKE_PAYLOAD_FILE": "/x",
            "PAPERCLIP_WAKE_REASON": "because",
            "PAPERCLIP_MINE": "1",
            "HOME": "/root",
        }
    )
    assert (
        values_of(env).items()
        >= {**IDENTITY, "PAPERCLIP_WAKE_REASON": "because", "PAPERCLIP_MINE": "1"}.items()
    )
    assert env.overruled == ("HOME", "PAPERCLIP_AGENT_ID", "PAPERCLIP_API_KEY", "PAPERCLIP_WAKE_PAYLOAD_FILE")
    assert "stolen" not in values_of(env).values()


def test_api_key_never_comes_from_the_config() -> None:
    env = environment(env={"PAPERCLIP_API_KEY": "stolen"}, authToken=None)
    assert "PAPERCLIP_API_KEY" not in env.names
    assert env.overruled == ("PAPERCLIP_API_KEY",)


NAMES = st.sampled_from(
    [*IDENTITY, "PAPERCLIP_API_KEY", "API_TOKEN", "X", "TMPDIR", "1x", "a-b", "ANTHROPIC_CUSTOM_HEADERS"]
)
VALUES = st.text(max_size=20) | st.sampled_from([TOKEN, f"x{TOKEN}", "/tmp", "/paperclip/t"])  # noqa: S108


@given(
    st.dictionaries(NAMES, VALUES),
    st.lists(st.tuples(NAMES, VALUES)),
    st.dictionaries(st.text(), ANY_JSON, max_size=3),
)
def test_identity_is_fixed_and_secrets_are_never_literals(
    config: dict[str, str], home: list[tuple[str, str]], context: dict[str, Any]
) -> None:
    pod = home_pod(*(literal(*entry) for entry in home))
    env = environment({**context, "issueId": "issue-1", "taskId": None}, config, pod)
    assert values_of(env).items() >= IDENTITY.items()
    assert not [name for name in env.literals if is_secret_name(name)]
    assert not [value for value in env.literals.values() if TOKEN in value]
    assert not env.literals.keys() & env.secrets.keys()
    assert TOKEN not in repr(env)


@given(st.permutations(["B", "A_TOKEN", "C", "TMPDIR", "1bad", "PAPERCLIP_RUN_ID"]))
def test_order_of_config_env_does_not_matter(names: list[str]) -> None:
    def environment_in(order: list[str]) -> tuple[Any, ...]:
        env = environment(env=dict.fromkeys(order, "v"))
        return list(env.literals.items()), list(env.secrets.items()), env.dropped, env.overruled

    assert environment_in(names) == environment_in(sorted(names))


@pytest.mark.parametrize(
    ("name", "value", "pod_value"),
    [
        ("TMPDIR", "/var/folders/x", None),
        ("TMPDIR", "/tmp", "/tmp"),  # noqa: S108
        ("TEMP", "/tmp/", "/tmp/"),  # noqa: S108
        ("TMP", "/tmp/run-1", None),  # noqa: S108
        ("TMPDIR", "/paperclip/tmp", "/paperclip/tmp"),
        ("PAPERCLIP_TMPDIR", "/x", None),
        ("PAPERCLIP_SCRATCH_DIR", "/x", None),
        ("PAPERCLIP_RUN_SCRATCH_DIR", "/paperclip/s", "/paperclip/s"),
        ("GH_CONFIG_DIR", "/root/.config/gh", None),
        ("PAPERCLIP_GITHUB_LAUNCHER", "/host/bin/gh", None),
        ("PAPERCLIP_GITHUB_AUTH_MODE", "managed", "managed"),
        ("PAPERCLIP_GITHUB_BROKER_URL", "http://127.0.0.1:3100/b", f"{API}/b"),
        ("PAPERCLIP_GITHUB_BROKER_TOKEN", "t0ken", "t0ken"),
        ("PAPERCLIP_RUNNER_SOCKET", "/run/x.sock", None),
        ("PAPERCLIP_RUNNER_ID", "r", None),
        ("PAPERCLIP_RUNNER_URL", "http://localhost:3100/r", f"{API}/r"),
        ("PAPERCLIP_GIT_METADATA_ROOTS", "/paperclip/a:/paperclip/b", "/paperclip/a:/paperclip/b"),
        ("PAPERCLIP_GIT_METADATA_ROOTS", "/paperclip/a:/x", None),
        ("TMPDIRS", "/x", "/x"),  # not a variable of the host's machine
        ("MY_TMPDIR", "/x", "/x"),
    ],
)
@pytest.mark.parametrize("layer", ["config", "home"])
def test_values_that_only_fit_the_hosts_machine_are_translated_or_dropped(
    layer: str, name: str, value: str, pod_value: str | None
) -> None:
    if layer == "config":
        env = environment(env={name: value}, home=home_pod())
    else:
        env = environment(home=home_pod(literal(name, value)))
    assert values_of(env).get(name) == pod_value
    assert env.dropped == ((name,) if pod_value is None else ())


def test_paths_are_translated_from_configured_mount_point() -> None:
    ctx = ExecutionContext.read({"runId": "r", "agent": {"id": "a"}, "onLog": on_log})
    config = AdapterConfig(env={"TMPDIR": "/mnt/pc/tmp"}, shared_volume_dir="/mnt/pc")
    site = RunSite("ns", "image", home_pod(), {}, "0123abcd")
    env = layer_environment(ctx, read_wake_payload(None), config, site, "/paperclip")
    assert env.secrets["TMPDIR"] == "/paperclip/tmp"


@pytest.mark.parametrize("name", ["1X", "A B", "A=B", "", "A\nB", "ü", "A" * 300, "A.B"])
def test_illegal_names_are_dropped_and_reported(name: str) -> None:
    env = environment(env={name: "v", "OK": "v"})
    assert env.secrets["OK"] == "v"
    assert name not in values_of(env)
    (dropped_name,) = env.dropped
    assert dropped_name.isprintable()
    assert len(dropped_name) <= 90  # long names are cut for the report


def test_value_with_nul_is_dropped_and_surrogate_replaced() -> None:
    env = environment(env={"NUL": "a\0b", "HALF": "a\ud800"})
    assert env.dropped == ("NUL",)
    assert env.secrets["HALF"] == "a?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MY_KEY", "v"),
        ("DB_PASSWORD", ""),
        ("DSN", "postgres://u:pw@db/x"),
        ("CURL_ARGS", f"--header {TOKEN}"),
        ("SETTINGS_JSON", "{}"),
        ("ANTHROPIC_CUSTOM_HEADERS", "x-gateway: abc"),
        ("ECHO", "of my-s3cret-value!"),  # contains the value of OTHER_SECRET, see below
    ],
)
@pytest.mark.parametrize("layer", ["config", "home"])
def test_variables_that_may_be_secret_are_in_run_secret(layer: str, name: str, value: str) -> None:
    given = {name: value, "OTHER_SECRET": "my-s3cret-value"}
    if layer == "config":
        env = environment(env=given)
    else:
        env = environment(home=home_pod(*(literal(*entry) for entry in given.items())))
    assert env.secrets[name].startswith(value)
    assert name not in env.literals


def test_variable_home_is_always_set_by_the_adapter_and_never_secret() -> None:
    pod = home_pod(literal("HOME", "/root" * 30_000), literal("DB_PASSWORD", "paperclip"))
    env = environment(home=pod)  # the text of DB_PASSWORD occurs in the value of HOME
    assert env.literals["HOME"] == "/paperclip"
    assert "HOME" not in env.secrets
    assert env.files == {}


def test_wake_payload_is_secret() -> None:
    env = environment({"paperclipWake": {"comments": [{"body": "my password is c4n4ry"}]}})
    assert "c4n4ry" in env.secrets["PAPERCLIP_WAKE_PAYLOAD_JSON"]
    assert "c4n4ry" not in str(env.literals)


def test_long_wake_payload_becomes_a_file() -> None:
    env = environment({"paperclipWake": {"comments": [{"id": "c", "body": "ü" * 60_000}]}})
    assert "PAPERCLIP_WAKE_PAYLOAD_JSON" not in env.names
    assert env.literals["PAPERCLIP_WAKE_PAYLOAD_FILE"] == f"{RUN_DIR}/wake-payload.json"
    assert json.loads(env.files["wake-payload.json"])["comments"][0]["body"] == "ü" * 60_000
    assert env.oversized == ("PAPERCLIP_WAKE_PAYLOAD_JSON",)


@pytest.mark.parametrize("bytes_above_limit", [0, 1])
def test_variable_becomes_a_file_only_above_the_limit(bytes_above_limit: int) -> None:
    value = "x" * (ENV_STRING_BYTES - len("BIG=") + bytes_above_limit)
    env = environment(env={"BIG": value, "BIG_FILE": "mine"})
    assert env.oversized == (("BIG",) if bytes_above_limit else ())
    assert env.files == ({"env-BIG": value} if bytes_above_limit else {})
    assert values_of(env)["BIG_FILE"] == (f"{RUN_DIR}/env-BIG" if bytes_above_limit else "mine")
    assert ("BIG" in env.secrets) is not bool(bytes_above_limit)


@given(st.dictionaries(st.sampled_from("ABCD"), st.integers(90_000, 120_000), max_size=4))
def test_environment_strings_fit_the_limit_and_longer_ones_become_files(sizes: dict[str, int]) -> None:
    env = environment(env={name: "x" * size for name, size in sizes.items()})
    assert all(len(f"{name}={value}".encode()) <= ENV_STRING_BYTES for name, value in values_of(env).items())
    assert all(
        len(values_of(env).get(name) or env.files[f"env-{name}"]) == size for name, size in sizes.items()
    )


def test_references_of_the_home_pod_are_kept_unless_overridden() -> None:
    home = home_pod(
        reference("ANTHROPIC_API_KEY"),
        reference("MINE"),
        reference("PAPERCLIP_API_KEY"),
        env_from=({"secretRef": {}},),
    )
    env = environment(env={"MINE": "literal"}, home=home)
    assert [entry["name"] for entry in env.value_from] == ["ANTHROPIC_API_KEY"]
    assert env.env_from == ({"secretRef": {}},)
    assert env.names >= {"ANTHROPIC_API_KEY", "MINE", "PAPERCLIP_API_KEY"}
    assert env.secrets["MINE"] == "literal"


def test_secrets_of_the_host_never_reach_the_agent() -> None:
    home = home_pod(literal("DATABASE_URL", "postgres://u:p@db"), reference("BETTER_AUTH_SECRET"))
    env = environment(home=home)
    assert not env.names & {"DATABASE_URL", "BETTER_AUTH_SECRET"}
    assert env.dropped == ("BETTER_AUTH_SECRET", "DATABASE_URL")


def test_secrets_of_the_host_in_env_from_are_hidden_by_empty_values_unless_configured() -> None:
    env = environment(home=home_pod(env_from=({"secretRef": {"name": "all"}},)))
    assert env.secrets["BETTER_AUTH_SECRET"] == env.secrets["DATABASE_URL"] == ""
    assert not env.names & {"BETTER_AUTH_SECRET", "DATABASE_URL"}
    overridden = environment(
        env={"DATABASE_URL": "mine"}, home=home_pod(env_from=({"secretRef": {"name": "all"}},))
    )
    assert values_of(overridden)["DATABASE_URL"] == "mine"


def test_variables_of_another_run_are_not_inherited() -> None:
    home = home_pod(literal("PAPERCLIP_WAKE_COMMENT_ID", "stale"), reference("PAPERCLIP_APPROVAL_ID"))
    env = environment(home=home)
    assert not env.names & {"PAPERCLIP_WAKE_COMMENT_ID", "PAPERCLIP_APPROVAL_ID"}


def test_values_of_the_home_pod_are_expanded_as_kubernetes_does() -> None:
    env = environment(
        home=home_pod(
            literal("BASE", "http://a$$b"),
            literal("URL", "$(BASE)/x $(NOWHERE) $$(BASE) $HOME"),
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            literal("LISTEN", "$(BASE) $(POD_IP):80 $$5"),
        )
    )
    assert env.literals["BASE"] == "http://a$b"
    assert env.literals["URL"] == "http://a$b/x $(NOWHERE) $(BASE) $HOME"
    assert [entry["name"] for entry in env.value_from] == ["POD_IP", "LISTEN"]
    assert env.value_from[1] == {"name": "LISTEN", "value": "http://a$$b $(POD_IP):80 $$5"}


def test_last_of_two_home_pod_entries_with_one_name_wins() -> None:
    env = environment(home=home_pod(reference("X"), literal("X", "1"), literal("Y", "1"), reference("Y")))
    assert env.literals["X"] == "1"
    assert [entry["name"] for entry in env.value_from] == ["Y"]
    assert "Y" not in env.literals


LOOPBACK = {"PAPERCLIP_API_URL": "http://127.0.0.1:3100"}


@pytest.mark.parametrize(
    ("home", "env", "url"),
    [
        (home_pod(literal("PAPERCLIP_API_URL", API)), {}, API),
        (home_pod(literal("PAPERCLIP_API_URL", API)), {"PAPERCLIP_API_URL": "http://configured"}, API),
        (home_pod(reference("PAPERCLIP_API_URL")), {}, None),  # only the cluster knows the address
        (None, {"PAPERCLIP_API_URL": "http://configured"}, "http://configured"),
        (None, {}, "http://127.0.0.1:3100"),
    ],
)
def test_loopback_api_url_is_used_only_if_no_other_is_known(
    home: HomePod | None, env: dict[str, str], url: str | None
) -> None:
    found = environment(env=env, home=home, process=LOOPBACK)
    assert found.literals.get("PAPERCLIP_API_URL") == url
    assert (url is None) is bool(found.value_from)


TOOLS = {
    "version": 1,
    "guidance": "ask first",
    "mcpEndpoint": "http://127.0.0.1:3100/mcp",
    "rest": {
        "connectionsSearch": "/api/search",
        "connectionRequest": {"method": "POST", "url": f"{API}/request"},
    },
    "bearerToken": "c4n4ry-tools-token",
    "expiresAt": "2026-01-01T00:00:00Z",
    "tools": ["a", {"name": "b"}],
}


@pytest.mark.parametrize("given_as", ["runtimeTools", "context"])
def test_runtime_tools_become_variables(given_as: str) -> None:
    if given_as == "context":
        env = environment({"paperclipRuntimeTools": TOOLS}, env={"CMD": "use c4n4ry-tools-token"})
    else:
        env = environment(runtimeTools=TOOLS, env={"CMD": "use c4n4ry-tools-token"})
    variables = {
        name.removeprefix("PAPERCLIP_RUNTIME_TOOLS_"): value for name, value in values_of(env).items()
    }
    assert (
        variables.items()
        >= {
            "MCP_URL": f"{API}/mcp",
            "TOKEN": "c4n4ry-tools-token",
            "EXPIRES_AT": "2026-01-01T00:00:00Z",
            "CONNECTIONS_SEARCH_URL": f"{API}/api/search",
            "CONNECTION_REQUEST_URL": f"{API}/request",
            "AVAILABLE": "a,b",
            "GUIDANCE": "ask first",
        }.items()
    )
    assert "c4n4ry-tools-token" not in str(env.literals)


def test_runtime_tools_are_no_variables_if_an_mcp_server_has_their_token() -> None:
    server = {"name": "Paperclip connections", "url": f"{API}/mcp", "token": TOOLS["bearerToken"]}
    env = environment(runtimeTools=TOOLS, runtimeMcp={"servers": [server]})
    assert not [name for name in values_of(env) if name.startswith("PAPERCLIP_RUNTIME_TOOLS_")]
    assert "c4n4ry-tools-token" not in str(values_of(env))


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ("", "X-Anthropic-Agent-Id: agent-1"),
        ("x-a: 1\n", "x-a: 1\nX-Anthropic-Agent-Id: agent-1"),
        ("x-anthropic-AGENT-id : other", "x-anthropic-AGENT-id : other"),
    ],
)
def test_agent_header_is_added_unless_the_headers_have_one(headers: str, sent: str) -> None:
    assert (
        values_of(environment(env={"ANTHROPIC_CUSTOM_HEADERS": headers}))["ANTHROPIC_CUSTOM_HEADERS"] == sent
    )


@pytest.mark.parametrize(
    "home", [home_pod(reference("ANTHROPIC_CUSTOM_HEADERS")), home_pod(env_from=({"a": 1},))]
)
def test_agent_header_does_not_hide_unresolved_headers(home: HomePod) -> None:
    assert "ANTHROPIC_CUSTOM_HEADERS" not in values_of(environment(home=home))


def test_variable_with_an_mcp_token_is_secret() -> None:
    env = environment(
        env={"CMD": "x c4n4ry-mcp"}, runtimeMcp={"servers": [{"name": "s", "token": "c4n4ry-mcp"}]}
    )
    assert "CMD" in env.secrets


KEY = {"secretKeyRef": {"name": "claude-api-key", "key": "api-key"}}


def test_reference_of_the_config_replaces_values_and_entries_of_the_home_pod() -> None:
    inherited: list[JsonObject] = [
        {"name": "ANTHROPIC_API_KEY", "value": "k"},
        {"name": "MODEL_KEY", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "k"}}},
        {"name": "URL", "value": "https://$(MODEL_KEY)@x"},
        {"name": "TEXT", "value": "at $(MODEL_KEY)"},
    ]
    env = {"ANTHROPIC_API_KEY": {"valueFrom": KEY}, "MODEL_KEY": KEY}
    found = environment(env=env, home=home_pod(*inherited))
    assert found.value_from == (
        {"name": "ANTHROPIC_API_KEY", "valueFrom": KEY},
        {"name": "MODEL_KEY", "valueFrom": KEY},
        {"name": "TEXT", "value": "at $(MODEL_KEY)"},
    )
    assert not found.literals.keys() & env.keys()
    assert not found.secrets.keys() & env.keys()
    assert env.keys() < found.names


def test_references_cannot_set_identity_and_illegal_names() -> None:
    env = {"HOME": KEY, "PAPERCLIP_RUN_ID": KEY, "PAPERCLIP_API_KEY": KEY, "no-name": KEY, "FINE": KEY}
    found = environment(env=env)
    assert [entry["name"] for entry in found.value_from] == ["FINE"]
    assert found.overruled == ("HOME", "PAPERCLIP_API_KEY", "PAPERCLIP_RUN_ID")
    assert found.dropped == ("no-name",)
    assert {**found.literals, **found.secrets}["PAPERCLIP_RUN_ID"] == "run-1"


def test_reference_may_set_hidden_variables_and_the_headers() -> None:
    home = HomePod("ns", "host-0", "img", env_from=[{"secretRef": {"name": "host"}}])
    found = environment(env={"DATABASE_URL": KEY, "ANTHROPIC_CUSTOM_HEADERS": KEY}, home=home)
    assert not {"DATABASE_URL", "ANTHROPIC_CUSTOM_HEADERS"} & found.secrets.keys()
    assert {"DATABASE_URL", "ANTHROPIC_CUSTOM_HEADERS"} < found.names
