"""Fields of a kubeconfig have the effect that they have with kubectl, against servers on loopback."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import serving, write_kubeconfig
from tests.support.certificates import Certificate, a_certificate, server_tls
from tests.support.flaky_proxy import FlakyProxy
from tests.support.http_proxy import http_proxy

from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigRules
from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError

API_VERSION = "client.authentication.k8s.io/v1"


class Server:
    """An API server that accepts only the token `token`, or every request if `token` is None."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.authorizations: list[str] = []
        self.paths: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization", ""))
        self.paths.append(request.path)
        if self.token is not None and self.authorizations[-1] != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "reason": "Unauthorized"}, status=401)
        return web.json_response({"items": []})


@asynccontextmanager
async def gateway_with(kubeconfig: str) -> AsyncIterator[Gateway]:
    rules = KubeconfigRules(may_run=lambda _: True, trusted=True)
    gateway = Gateway(Credentials(kubeconfig, rules))
    try:
        yield gateway
    finally:
        await gateway.close()


async def list_with(kubeconfig: str) -> None:
    async with gateway_with(kubeconfig) as gateway:
        assert (await gateway.list_jobs("ns", {})).items == ()


async def error_with(kubeconfig: str) -> ClusterError:
    async with gateway_with(kubeconfig) as gateway:
        with pytest.raises(ClusterError) as caught:
            await gateway.list_jobs("ns", {})
    return caught.value


def as_data(path: Path) -> str:
    """The file's content as in a `...-data` field of a kubeconfig."""
    return base64.b64encode(path.read_bytes()).decode()


def trusted(certificate: Certificate, **more: Any) -> dict[str, Any]:
    """Fields of a cluster whose server has this certificate."""
    return {"certificate-authority": str(certificate.crt), **more}


# Servers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_server_with_tls_is_reached_by_its_address(host: str, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    async with serving(Server(), host, server_tls(certificate)) as url:
        await list_with(write_kubeconfig(tmp_path, url, cluster=trusted(certificate)))


async def test_ipv6_server_that_does_not_answer_is_named_in_brackets(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as unused:
        unused.bind(("::1", 0))
        port = unused.getsockname()[1]
        error = await error_with(write_kubeconfig(tmp_path, f"https://[::1]:{port}"))
    assert f"no connection to [::1]:{port}: Connection refused" in error.message


async def test_server_behind_a_path_prefix_gets_the_prefix(tmp_path: Path) -> None:
    server = Server()
    async with serving(server) as url:
        await list_with(write_kubeconfig(tmp_path, f"{url}/k8s/clusters/c-m-abc/"))
    assert server.paths == ["/k8s/clusters/c-m-abc/apis/batch/v1/namespaces/ns/jobs"]


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "through-a-proxy"])
async def test_tls_server_name_is_checked_in_place_of_the_address(
    through_proxy: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    certificate = a_certificate(tmp_path, "server", "DNS:api.internal")
    async with serving(Server(), tls=server_tls(certificate)) as url, http_proxy() as proxy:
        more = {"proxy-url": f"http://127.0.0.1:{proxy.port}"} if through_proxy else {}
        named = trusted(certificate, **more, **{"tls-server-name": "api.internal"})
        await list_with(write_kubeconfig(tmp_path, url, cluster=named))
        unnamed = write_kubeconfig(tmp_path, url, cluster=trusted(certificate, **more))
        assert (await error_with(unnamed)).reason == "Certificate"
        other = trusted(certificate, **more, **{"tls-server-name": "other.internal"})
        assert (await error_with(write_kubeconfig(tmp_path, url, cluster=other))).reason == "Certificate"
    assert len(proxy.heads) == (3 if through_proxy else 0)


async def test_unknown_authority_is_accepted_only_without_verification(tmp_path: Path) -> None:
    async with serving(Server(), tls=server_tls(a_certificate(tmp_path))) as url:
        assert (await error_with(write_kubeconfig(tmp_path, url))).reason == "Certificate"
        await list_with(write_kubeconfig(tmp_path, url, cluster={"insecure-skip-tls-verify": True}))


@asynccontextmanager
async def switchable_address(first: str) -> AsyncIterator[tuple[FlakyProxy, str]]:
    """An address that leads to the server `first` until `FlakyProxy.port` is set to another port."""
    proxy = FlakyProxy("127.0.0.1", int(first.rpartition(":")[2]))
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        proxy.cut()
        await asyncio.sleep(0.05)


async def test_authority_that_rotates_in_its_file_is_read_again(tmp_path: Path) -> None:
    first, second = a_certificate(tmp_path, "first"), a_certificate(tmp_path, "second")
    authority = tmp_path / "ca.crt"
    authority.write_bytes(first.crt.read_bytes())
    async with (
        serving(Server(), tls=server_tls(first)) as before,
        serving(Server(), tls=server_tls(second)) as after,
        switchable_address(before) as (switch, url),
        gateway_with(write_kubeconfig(tmp_path, url, cluster={"certificate-authority": "ca.crt"})) as gateway,
    ):
        await gateway.list_jobs("ns", {})
        switch.port = int(after.rpartition(":")[2])
        switch.cut()
        with pytest.raises(ClusterError, match="is not trusted"):
            await gateway.list_jobs("ns", {})
        authority.write_bytes(second.crt.read_bytes())
        await gateway.list_jobs("ns", {})


# Client certificates ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["files", "data", "relative", "mixed"])
async def test_client_certificate_is_sent_from_data_or_files(form: str, tmp_path: Path) -> None:
    of_server, client = a_certificate(tmp_path), a_certificate(tmp_path, "client")
    user = {
        "files": {"client-certificate": str(client.crt), "client-key": str(client.key)},
        "data": {"client-certificate-data": as_data(client.crt), "client-key-data": as_data(client.key)},
        "relative": {"client-certificate": "client.crt", "client-key": "./client.key"},
        "mixed": {"client-certificate": "client.crt", "client-key-data": as_data(client.key)},
    }[form]
    async with serving(Server(), tls=server_tls(of_server, client)) as url:
        await list_with(write_kubeconfig(tmp_path, url, cluster=trusted(of_server), user=user))
        uncertified = await error_with(write_kubeconfig(tmp_path, url, cluster=trusted(of_server)))
    assert uncertified.status is None  # the TLS handshake failed


async def test_client_certificate_that_rotates_in_its_file_is_read_again(tmp_path: Path) -> None:
    of_server, old, new = (a_certificate(tmp_path, name) for name in ("server", "old", "new"))
    path = tmp_path / "client.pem"

    def write_pem(client: Certificate) -> None:
        path.write_bytes(client.crt.read_bytes() + client.key.read_bytes())

    write_pem(old)
    user = {"client-certificate": "client.pem", "client-key": "client.pem"}
    async with (
        serving(Server(), tls=server_tls(of_server, old)) as before,
        serving(Server(), tls=server_tls(of_server, new)) as after,
        switchable_address(before) as (switch, url),
        gateway_with(write_kubeconfig(tmp_path, url, cluster=trusted(of_server), user=user)) as gateway,
    ):
        await gateway.list_jobs("ns", {})
        switch.port = int(after.rpartition(":")[2])
        switch.cut()
        with pytest.raises(ClusterError):
            await gateway.list_jobs("ns", {})
        write_pem(new)
        for _ in range(2):  # the certificate that was read again stays in use
            await gateway.list_jobs("ns", {})


# Tokens -------------------------------------------------------------------------------------------


async def test_token_file_that_rotates_is_read_again_after_a_401(tmp_path: Path) -> None:
    server, token = Server("first"), tmp_path / "token"
    token.write_text("first\n", encoding="utf-8")
    async with (
        serving(server) as url,
        gateway_with(write_kubeconfig(tmp_path, url, user={"tokenFile": "token"})) as gateway,
    ):
        await gateway.list_jobs("ns", {})
        server.token = "second"
        token.write_text("second\n", encoding="utf-8")
        await gateway.list_jobs("ns", {})
    assert server.authorizations == ["Bearer first", "Bearer first", "Bearer second"]


def a_plugin(folder: Path, **more: Any) -> dict[str, Any]:
    """Write a plugin that prints the token "plugin" and saves its input in `info`; return a user with it."""
    credential = json.dumps({"apiVersion": API_VERSION, "status": {"token": "plugin"}})
    program = folder / "plugin"
    script = f"""printf '%s' "$KUBERNETES_EXEC_INFO" > '{folder}/info'; echo '{credential}'"""
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return {"exec": {"apiVersion": API_VERSION, "command": "./plugin", "interactiveMode": "Never", **more}}


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({"token": "inline"}, "Bearer inline"),
        ({"token": "inline", "tokenFile": "token"}, "Bearer file"),
        ({"token": "inline", "tokenFile": "missing"}, "Bearer inline"),
        ({"tokenFile": "token", "username": "u", "password": "p"}, "Bearer file"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({}, "Bearer plugin"),
    ],
)
async def test_token_precedes_password_and_plugin_as_with_kubectl(
    fields: dict[str, str], header: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("file", encoding="utf-8")
    user = {**fields, **a_plugin(tmp_path)}
    server = Server()
    async with serving(server) as url:
        await list_with(write_kubeconfig(tmp_path, url, user=user))
    assert server.authorizations == [header]
    assert (tmp_path / "info").exists() is (header == "Bearer plugin")


# Exec plugins -------------------------------------------------------------------------------------


async def test_plugin_gets_the_cluster_only_with_provide_cluster_info(tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    async with serving(Server(), tls=server_tls(certificate)) as url:
        cluster = trusted(certificate, extensions=[extension], **{"tls-server-name": "127.0.0.1"})
        for provided in (False, True):
            user = a_plugin(tmp_path, provideClusterInfo=provided)
            await list_with(write_kubeconfig(tmp_path, url, user=user, cluster=cluster))
            info = json.loads(await asyncio.to_thread((tmp_path / "info").read_text, "utf-8"))
            expected = {
                "server": url,
                "tls-server-name": "127.0.0.1",
                "certificate-authority-data": as_data(certificate.crt),
                "config": {"audience": "a"},
            }
            assert info["spec"] == {"interactive": False, **({"cluster": expected} if provided else {})}


async def test_missing_plugin_is_reported_with_its_install_hint(tmp_path: Path) -> None:
    hint = "Install it:\n  brew install \x1b[31mkubelogin" + "x" * 1000
    user = {"exec": {"apiVersion": API_VERSION, "command": "no-such-plugin", "installHint": hint}}
    error = await error_with(write_kubeconfig(tmp_path, user=user))
    assert "is not an executable program on this host: Install it: brew install " in error.message
    assert "\x1b" not in error.message
    assert len(error.message) < 1000  # the hint is cut


async def test_plugin_that_needs_a_terminal_is_refused_and_not_run(tmp_path: Path) -> None:
    error = await error_with(write_kubeconfig(tmp_path, user=a_plugin(tmp_path, interactiveMode="Always")))
    assert error.reason == UNUSABLE_CREDENTIALS
    assert "asks a person (interactiveMode Always), but there is no terminal here" in error.message
    assert not (tmp_path / "info").exists()


@pytest.mark.parametrize("mode", ["Never", "IfAvailable"])
async def test_plugin_that_needs_no_terminal_is_run(mode: str, tmp_path: Path) -> None:
    server = Server("plugin")
    async with serving(server) as url:
        await list_with(write_kubeconfig(tmp_path, url, user=a_plugin(tmp_path, interactiveMode=mode)))
    assert server.authorizations == ["Bearer plugin"]
