"""The secrets of a run reach the run Secret and the agent's Pod, and nothing else.

A canary is a recognizable secret; there is one for each place in which a Paperclip host keeps secrets.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import claude_k8s
from tests.support.home_pod import Home, home_on_dev, home_on_real
from tests.support.programs import as_admin
from tests.support.real_namespace import HOST_POD, NAMESPACE
from tests.support.runs import SMALL_REQUESTS

from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import EVENTS, JOBS, LEASES, PODS, Kind
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.testing import HostLog, Refusal

AUTH = "c4n4ry-auth-0123456789"
CANARIES = {
    "auth token": AUTH,
    "config env": "c4n4ry-config-0123456789",
    "config env, by shape": "c4n4ry-dsn-0123456789",
    "config env, ordinary name": "c4n4ry-ordinary-0123456789",
    "config env, quoted": "c4n4ry-quoted-0123456789",
    "header argument": "c4n4ry-hdrarg-0123456789",
    "settings argument": "c4n4ry-settings-0123456789",
    "MCP argument": "c4n4ry-mcparg-0123456789",
    "pod template argument": "c4n4ry-sidearg-0123456789",
    "pod template annotation": "ghp_c4n4ryannotation0123456789",
    "home pod env": "c4n4ry-home-0123456789",
    "MCP header": "c4n4ry-header-0123456789",
    "MCP env": "c4n4ry-mcpenv-0123456789",
    "host's MCP token": "c4n4ry-runtime-0123456789",
    "runtime tools": "c4n4ry-tools-0123456789",
    "pod template": "c4n4ry-template-0123456789",
    "prompt": "sk-c4n4ry-prompt-0123456789",
    "argument": "c4n4ry-argument-0123456789",
}
FAILED_RESULT = json.dumps(
    {
        "type": "result",
        "subtype": "error_during_execution",
        "is_error": True,
        "result": "no",
        "session_id": "s",
    }
)
HOME_ENV = [{"name": "HOME_SECRET", "value": CANARIES["home pod env"]}]


def context_with_canaries(script: str, **config: Any) -> dict[str, Any]:
    """The context of a run that contains every canary."""
    header = {"Authorization": f"Bearer {CANARIES['MCP header']}"}
    tools = {
        "version": 1,
        "bearerToken": CANARIES["runtime tools"],
        "mcpEndpoint": "http://127.0.0.1:3100/mcp",
    }
    server = {"name": "projects", "url": "http://127.0.0.1:3100/mcp", "token": CANARIES["host's MCP token"]}
    template_env = [{"name": "TEMPLATE_KEY", "value": CANARIES["pod template"]}]
    prompt = f"Use {CANARIES['prompt']} and, if that fails, {AUTH}."
    return {
        "runId": str(uuid.uuid4()),
        "agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co", "name": "Ada"},
        "config": {
            **SMALL_REQUESTS,
            "env": {
                "CLAUDE_SCRIPT": script,
                "MY_TOKEN": CANARIES["config env"],
                "FOO": CANARIES["config env, ordinary name"],
                "BAR": CANARIES["config env, quoted"],
                "DATABASE": f"postgres://u:{CANARIES['config env, by shape']}@db/x",
            },
            "mcpServers": {
                "web": {"type": "http", "url": "https://x.example", "headers": header},
                "local": {
                    "command": "x",
                    "args": ["--api-key", CANARIES["MCP argument"]],
                    "env": {"ANYTHING": CANARIES["MCP env"]},
                },
            },
            "extraArgs": [
                "--api-key",
                CANARIES["argument"],
                f"--header=Bearer {AUTH}",
                "--header",
                f"X-Gateway: {CANARIES['header argument']}",
                "--settings",
                json.dumps({"env": {"ANYTHING": CANARIES["settings argument"]}}),
                f"--quoted={CANARIES['config env, quoted']}",
                "--plain",
                "$(HOME) $$",
            ],
            "podTemplate": {
                "metadata": {"annotations": {"note": CANARIES["pod template annotation"]}},
                "spec": {
                    "containers": [
                        {"name": "claude", "env": template_env},
                        {
                            "name": "side",
                            "image": "local/agent:1",
                            "command": ["true", "--pass", CANARIES["pod template argument"]],
                        },
                    ]
                },
            },
            **config,
        },
        "context": {"taskId": "t", "paperclipTaskMarkdown": prompt, "paperclipRuntimeTools": tools},
        "authToken": AUTH,
        "runtimeMcp": {"servers": [server]},
        "runtimeTools": tools,
    }


@dataclass(slots=True)
class Seen:
    """Everything of a run in which a canary could appear: objects of the cluster, callbacks, result, log."""

    objects: dict[str, str] = field(default_factory=dict)
    host_log: HostLog = field(default_factory=HostLog)
    outputs: list[str] = field(default_factory=list)

    def leaks(self) -> dict[str, list[str]]:
        """Canary → where it was found."""
        places = {
            **self.objects,
            "onLog": json.dumps(self.host_log.chunks),
            "onMeta": json.dumps(self.host_log.meta),
            "onSpawn": json.dumps(self.host_log.spawned),
            "result and log": "\n".join(self.outputs),
        }
        found = {
            name: [where for where, text in places.items() if canary in text]
            for name, canary in CANARIES.items()
        }
        return {name: where for name, where in found.items() if where}


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    if request.param == "real":
        async with home_on_real() as real:
            yield real
        return
    async with home_on_dev(tmp_path, HOME_ENV) as dev:
        yield dev


@pytest.fixture
async def on_dev(tmp_path: Path) -> AsyncIterator[Home]:
    async with home_on_dev(tmp_path, HOME_ENV) as dev:
        yield dev


WATCHED_KINDS = (JOBS, PODS, LEASES, EVENTS)
WATCH_SECONDS = 2
"""How long a watch of the real server is read. It sends past changes at once."""


@asynccontextmanager
async def watched(home: Home, seen: Seen) -> AsyncIterator[None]:
    """Add to `seen` every version of each Job, Pod, Lease and Event of the block, except the home Pod."""
    history = _dev_history(home.dev) if home.dev is not None else await _real_history()
    yield
    for obj in await history():
        meta = obj["metadata"]
        if meta["name"] != HOST_POD:
            seen.objects[f"{obj['kind']} {meta['name']} {meta['resourceVersion']}"] = json.dumps(obj)


History = Callable[[], Awaitable[list[dict[str, Any]]]]
"""Returns every version of the watched objects since this function was made."""


def _dev_history(dev: DevCluster) -> History:
    begin = dev.store.version

    async def history() -> list[dict[str, Any]]:
        changes = dev.store.changes_after(begin)
        return [change.object for change in changes if change.kind in WATCHED_KINDS]

    return history


async def _real_history() -> History:
    begin = {kind: json.loads(await _get_raw(kind))["metadata"]["resourceVersion"] for kind in WATCHED_KINDS}

    async def history() -> list[dict[str, Any]]:
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(_get_raw(kind, _watch_query(begin[kind]))) for kind in WATCHED_KINDS]
        return [json.loads(line)["object"] for watch in watches for line in watch.result().splitlines()]

    return history


def _watch_query(begin: str) -> str:
    return f"watch=1&resourceVersion={begin}&timeoutSeconds={WATCH_SECONDS}"


async def _get_raw(kind: Kind, query: str = "limit=1") -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return await as_admin("get", "--raw", f"{root}/namespaces/{NAMESPACE}/{kind.plural}?{query}")


def denied(*rights: tuple[str, str]) -> Callable[[Home], None]:
    """A function that makes the server forbid calls with these rights, each a verb and a resource."""

    def deny(home: Home) -> None:
        assert home.dev is not None
        home.dev.faults.denied |= set(rights)

    return deny


def refused(verb: str, resource: str, code: int) -> Callable[[Home], None]:
    """A function that makes the server refuse calls with an error that quotes the request."""

    def refuse(home: Home) -> None:
        assert home.dev is not None
        refusal = Refusal(verb, resource, code, times=9, message=f"Invalid value: {AUTH!r}")
        home.dev.faults.request_hooks.append(refusal.check)

    return refuse


RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "good": ('sleep 3; printf %s "$PAPERCLIP_API_KEY$MY_TOKEN$TEMPLATE_KEY" | wc -c', {}),
    "prompt by init container": (
        'sleep 3; printf %s "$PAPERCLIP_API_KEY" | wc -c',
        {"promptDelivery": "init"},
    ),
    "an error": (f"printf '%s\\n' '{FAILED_RESULT}'; exit 1", {}),
    "cut short": ('echo \'{"type":"system","subtype":"init"}\'; kill -9 $$', {}),
    "timed out": ("sleep 60", {"timeoutSec": 1}),
    "never started": ("true", {"image": "missing/image:1", "imagePullTimeoutSec": 2}),
    "a wrong setting": ("true", {"extraArgs": {"a": AUTH}}),
    "another wrong setting": ("true", {"mcpServers": {"a": AUTH}}),
}
"""Name of a run → the agent's script, and config."""
ONLY_RECOGNISABLE: dict[str, Any] = {
    "env": {"CLAUDE_SCRIPT": "sleep 1", "MY_TOKEN": AUTH},
    "extraArgs": ["--api-key", CANARIES["argument"], f"--repeated={AUTH}"],
}
"""A config in which every secret can be recognised by its name, its shape or its value."""
ON_A_STRICT_SERVER: dict[str, tuple[str, dict[str, Any], Callable[[Home], None]]] = {
    # Without the right to create Secrets, values that do not look like secrets are in the Job.
    # This config has none.
    "secrets forbidden": ("", ONLY_RECOGNISABLE, denied(("create", "secrets"))),
    "a secret refused": ("true", {}, refused("create", "secrets", 422)),
    "leases forbidden": ("sleep 1", {}, denied(("create", "leases"))),
}
"""As `RUNS`, with a function that restricts the server."""


EXPECTED_CODES = {
    "an error": "claude_failed",
    "timed out": "timeout",
    "never started": "k8s_pod_schedule_failed",
    "a wrong setting": "k8s_config_invalid",
    "another wrong setting": "k8s_config_invalid",
    "a secret refused": "k8s_prompt_secret_create_failed",
}
"""Name of a run → its error code. Agents of other runs print no result event: `claude_no_result`."""


@pytest.mark.parametrize("name", list(RUNS))
async def test_run_shows_no_canary(home: Home, name: str, caplog: pytest.LogCaptureFixture) -> None:
    await assert_no_leak(home, name, RUNS[name], caplog)


@pytest.mark.parametrize("name", list(ON_A_STRICT_SERVER))
async def test_run_on_a_server_that_refuses_calls_shows_no_canary(
    on_dev: Home, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    script, config, restrict = ON_A_STRICT_SERVER[name]
    restrict(on_dev)
    await assert_no_leak(on_dev, name, (script, config), caplog)


async def assert_no_leak(
    home: Home, name: str, run: tuple[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    script, config = run
    caplog.set_level(logging.DEBUG)
    seen, context_fields = Seen(), context_with_canaries(script, **config)
    context_fields |= {"config": {**home.site.config, **context_fields["config"]}}
    callbacks = {
        "onLog": seen.host_log.on_log,
        "onMeta": seen.host_log.on_meta,
        "onSpawn": seen.host_log.on_spawn,
    }
    async with watched(home, seen):
        result = await home.site.adapter.execute({**context_fields, **callbacks})
    seen.outputs += [json.dumps(result.to_wire()), repr(result), caplog.text]
    assert seen.leaks() == {}
    assert result.error_code == EXPECTED_CODES.get(name, "claude_no_result")
    if name in {"good", "prompt by init container", "timed out"}:
        assert {label.split(" ")[0] for label in seen.objects} >= {"Job", "Pod", "Lease"}
        assert seen.host_log.meta
    if name == "good":
        received = ("auth token", "config env", "pod template")
        assert seen.host_log.stdout.strip() == str(sum(len(CANARIES[canary]) for canary in received))


async def test_repr_of_context_and_config_shows_no_canary(home: Home) -> None:
    context_fields = context_with_canaries("true", **home.site.config)
    shown = repr(ExecutionContext.read({**context_fields, "onLog": HostLog().on_log})) + repr(
        AdapterConfig.read(context_fields["config"])
    )
    assert [name for name, canary in CANARIES.items() if canary in shown] == []


async def test_environment_test_shows_no_canary(home: Home) -> None:
    context_fields = context_with_canaries("true")
    checkup = await home.site.adapter.test_environment(
        {"config": {**home.site.config, **context_fields["config"]}, "probe": True}
    )
    shown = json.dumps(checkup.to_wire())
    assert "k8s_job_dry_run" in shown
    assert [name for name, canary in CANARIES.items() if canary in shown] == []


@pytest.mark.parametrize(
    ("script", "config"),
    [
        ("true", {}),
        ("exit 3", {}),
        ("true", {"extraArgs": {"a": AUTH}}),
        ("true", {"image": "missing/image:1", "imagePullTimeoutSec": 1}),
    ],
    ids=["no result", "exit code 3", "wrong setting", "never started"],
)
async def test_command_line_prints_no_canary(tmp_path: Path, script: str, config: dict[str, Any]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**context_with_canaries(script)["config"], **config}))
    args = ("run", "--devcluster", "--config", str(file), "--prompt", "Say hello.")
    _, out, err = await claude_k8s(*args, env={"ANTHROPIC_API_KEY": AUTH, "PAPERCLIP_API_KEY": AUTH})
    assert json.loads(out)["status"] == "failed"
    assert [name for name, canary in CANARIES.items() if canary in out + err] == []
