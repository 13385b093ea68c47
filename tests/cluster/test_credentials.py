"""Loading of credentials: valid and invalid kubeconfigs, plugins, tokens that expire."""

import asyncio
import base64
import json
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import DEFAULT_TIMINGS, SHORT_TIMEOUTS, serving, write_kubeconfig

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigRules
from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError


@asynccontextmanager
async def opened_gateway(
    kubeconfig: str | None, timings: Timings = DEFAULT_TIMINGS
) -> AsyncIterator[Gateway]:
    rules = KubeconfigRules(may_run=lambda _: True)
    gateway = Gateway(Credentials(kubeconfig, rules, timings=timings), timings)
    try:
        yield gateway
    finally:
        await gateway.close()


async def error_message(kubeconfig: str | None) -> str:
    """The message of the error for an unusable kubeconfig."""
    async with opened_gateway(kubeconfig) as gateway:
        with pytest.raises(ClusterError) as caught:
            await gateway.read_job("ns", "job")
    assert caught.value.status is None
    assert caught.value.reason == UNUSABLE_CREDENTIALS
    return caught.value.message


class OneTokenServer:
    """A server that accepts only the token in `token`, and records the Authorization headers it receives."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.received: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.received.append(request.headers.get("Authorization", ""))
        accepted = self.received[-1] == f"Bearer {self.token}"
        await asyncio.sleep(0.01)
        return web.json_response({"items": []}) if accepted else web.json_response({}, status=401)


def a_plugin_user(folder: Path, script: str) -> dict[str, Any]:
    """A kubeconfig user whose credentials come from a program with this shell script."""
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}


def script_that_prints_token(command: str) -> str:
    """A plugin's script that prints a credential, whose token is the output of `command`."""
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    head = json.dumps(credential)[:-1]
    return f"""printf '%s, "status": {{"token": "%s"}}}}' '{head}' "$({command})" """


async def test_no_kubeconfig_outside_of_a_cluster_names_the_setting() -> None:
    message = await error_message(None)
    assert "no kubeconfig is set and this is not a Pod" in message
    assert "set `kubeconfig`" in message


async def test_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    assert "nowhere does not exist" in await error_message(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [b", "is not YAML"),
        ("", "has no clusters"),
        ("just words", "it has no clusters"),
        ("clusters: [{name: a}]", "has no current-context"),
        ("{clusters: [{name: a}], current-context: b, contexts: [], users: []}", "cannot be used"),
        ("{clusters: 7, current-context: b}", "cannot be used"),
        ("{clusters: [7], current-context: b, contexts: [7], users: 7}", "cannot be used"),
    ],
)
async def test_malformed_kubeconfig_is_explained(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="utf-8")
    message = await error_message(str(path))
    assert str(path) in message
    assert why in message


async def test_kubeconfig_that_is_a_folder_is_rejected(tmp_path: Path) -> None:
    assert "cannot be read" in await error_message(str(tmp_path))


async def test_kubeconfig_context_without_cluster_is_explained(tmp_path: Path) -> None:
    message = await error_message(
        write_kubeconfig(tmp_path, contexts=[{"name": "here", "context": {"cluster": "x"}}])
    )
    assert "exactly one cluster named by its context" in message


async def test_kubeconfig_server_without_scheme_is_rejected(tmp_path: Path) -> None:
    assert "not http or https" in await error_message(write_kubeconfig(tmp_path, "api.example:6443"))


@pytest.mark.parametrize(
    "cluster",
    [
        {"certificate-authority-data": "not base64, not at all"},
        {"certificate-authority-data": base64.b64encode(b"no certificate").decode()},
        {"certificate-authority": "/nowhere/ca.crt"},
    ],
)
async def test_kubeconfig_with_an_invalid_certificate_is_named(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    message = await error_message(write_kubeconfig(tmp_path, "https://127.0.0.1:1", cluster=cluster))
    assert str(tmp_path / "kubeconfig") in message


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"args": ["canary"]}},
        {"auth-provider": {"name": "oidc", "config": {"refresh-token": "canary"}}},
        {"auth-provider": {"name": "oidc", "config": {"id-token": "canary"}}},
        {"client-certificate-data": base64.b64encode(b"canary").decode()},
    ],
)
async def test_kubeconfig_errors_never_quote_a_credential(user: dict[str, Any], tmp_path: Path) -> None:
    message = await error_message(write_kubeconfig(tmp_path, "https://127.0.0.1:1", user=user))
    assert "canary" not in message
    assert "Y2FuYXJ5" not in message  # "canary" in Base64


async def test_stderr_of_a_failing_plugin_is_in_the_error(tmp_path: Path) -> None:
    user = a_plugin_user(tmp_path, "echo please log in >&2; exit 3")
    message = await error_message(write_kubeconfig(tmp_path, user=user))
    assert "please log in" in message


async def test_missing_plugin_is_named(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}}
    assert "no-such-plugin" in await error_message(write_kubeconfig(tmp_path, user=user))


async def test_hanging_plugin_is_killed_with_its_process_group(tmp_path: Path) -> None:
    user = a_plugin_user(tmp_path, f"sleep 77 & echo $$ $! > {tmp_path}/pids; wait")
    timings = replace(SHORT_TIMEOUTS, exec_plugin=0.5, request=10.0)
    async with opened_gateway(write_kubeconfig(tmp_path, user=user), timings) as gateway:
        with pytest.raises(ClusterError, match="did not end in time and was killed"):
            await gateway.read_job("ns", "job")
    await wait_until_gone(tmp_path / "pids")


async def test_plugin_is_killed_when_its_request_is_cancelled(tmp_path: Path) -> None:
    user = a_plugin_user(tmp_path, f"sleep 77 & echo $$ $! > {tmp_path}/pids; wait")
    async with opened_gateway(write_kubeconfig(tmp_path, user=user)) as gateway:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await gateway.read_job("ns", "job")
    await wait_until_gone(tmp_path / "pids")


async def wait_until_gone(pids: Path) -> None:
    """Wait until none of the processes with the ids in this file is running."""
    numbers = (await asyncio.to_thread(pids.read_text, "utf-8")).split()
    assert len(numbers) == 2
    async with asyncio.timeout(10):
        while await asyncio.to_thread(lambda: any(map(_is_running, numbers))):  # noqa: ASYNC110  # other processes
            await asyncio.sleep(0.02)


def _is_running(pid: str) -> bool:
    """Whether the process exists and is no zombie; in a container there may be nobody who reaps it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("context", [{}, {"namespace": "agents"}])
async def test_default_namespace_is_the_namespace_of_the_context(
    context: dict[str, str], tmp_path: Path
) -> None:
    async with opened_gateway(write_kubeconfig(tmp_path, context=context)) as gateway:
        assert await gateway.default_namespace() == context.get("namespace")


async def test_expired_token_is_reloaded(tmp_path: Path) -> None:
    server = OneTokenServer("first")
    async with (
        serving(server) as url,
        opened_gateway(write_kubeconfig(tmp_path, url, user={"token": "first"})) as gateway,
    ):
        await gateway.list_jobs("ns", {})
        server.token = "second"
        write_kubeconfig(tmp_path, url, user={"token": "second"})
        await gateway.list_jobs("ns", {})
    assert server.received == ["Bearer first", "Bearer first", "Bearer second"]


async def test_second_401_is_raised(tmp_path: Path) -> None:
    server = OneTokenServer("another")
    async with (
        serving(server) as url,
        opened_gateway(write_kubeconfig(tmp_path, url, user={"token": "old"})) as gateway,
    ):
        with pytest.raises(ClusterError) as caught:
            await gateway.list_jobs("ns", {})
    assert caught.value.status == 401
    assert len(server.received) == 2


async def test_concurrent_401s_run_the_plugin_once_more(tmp_path: Path) -> None:
    runs, server = tmp_path / "runs", OneTokenServer("1")
    user = a_plugin_user(tmp_path, f"echo x >> {runs}\n" + script_that_prints_token(f"grep -c x {runs}"))
    async with serving(server) as url, opened_gateway(write_kubeconfig(tmp_path, url, user=user)) as gateway:
        await gateway.list_jobs("ns", {})
        server.token = "2"
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(gateway.list_jobs("ns", {}))
    assert runs.read_text(encoding="utf-8").count("x") == 2


async def test_untrusted_server_certificate_is_refused(tmp_path: Path) -> None:
    context = _server_tls(tmp_path)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened_gateway(write_kubeconfig(tmp_path, f"https://127.0.0.1:{port}")) as gateway:
            with pytest.raises(ClusterError, match="is not trusted") as caught:
                await gateway.read_job("ns", "job")
    assert (caught.value.status, caught.value.reason) == (None, "Certificate")


def _server_tls(folder: Path) -> Any:
    import ssl  # noqa: PLC0415  # for this test alone

    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]  # noqa: RUF005  # two lines
        + ["-keyout", str(folder / "key"), "-out", str(folder / "crt")],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context


async def test_kubeconfig_file_is_not_changed(tmp_path: Path) -> None:
    async with serving(OneTokenServer("first")) as url:
        path = write_kubeconfig(tmp_path, url, user={"token": "first"})
        before = await asyncio.to_thread(Path(path).read_bytes)
        async with opened_gateway(path) as gateway:
            await gateway.list_jobs("ns", {})
        assert await asyncio.to_thread(Path(path).read_bytes) == before
