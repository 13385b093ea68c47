"""Requests through a proxy, and what is reported when the proxy does not pass them on."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import serving, write_kubeconfig
from tests.support.certificates import a_certificate, server_tls
from tests.support.clusters import open_gateway
from tests.support.http_proxy import http_proxy, refusal

from paperclip_claude_k8s.cluster.port import (
    PROXY_REFUSED,
    UNUSABLE_CREDENTIALS,
    ClusterError,
    LogRequest,
)

PAGE = "<html><head><title>Blocked by ACME</title></head><body>canary</body></html>"


async def no_items(_: web.Request) -> web.Response:
    return web.json_response({"items": []})


async def error_with(kubeconfig: str) -> ClusterError:
    async with open_gateway(kubeconfig) as gateway:
        with pytest.raises(ClusterError) as caught:
            await gateway.list_jobs("ns", {})
    assert "canary" not in str(caught.value)
    assert caught.value.status is None
    return caught.value


@contextmanager
def environment_variables(**values: str) -> Iterator[None]:
    """Set environment environment_variables of this process, in which no other test runs meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_request_through_a_proxy_sends_the_password_of_the_proxy(
    scheme: str, proxy_scheme: str, tmp_path: Path
) -> None:
    certificate = a_certificate(tmp_path)
    tls = server_tls(certificate)
    async with (
        serving(no_items, tls=tls if scheme == "https" else None) as url,
        http_proxy(tls=tls if proxy_scheme == "https" else None) as proxy,
    ):
        address = f"{proxy_scheme}://user:p%40ss@127.0.0.1:{proxy.port}"
        cluster = {"proxy-url": address, "certificate-authority": str(certificate.crt)}
        async with open_gateway(write_kubeconfig(tmp_path, url, cluster=cluster)) as gateway:
            assert (await gateway.list_jobs("ns", {})).items == ()
    assert proxy.heads[0].startswith("CONNECT " if scheme == "https" else "GET http://")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in proxy.heads[0]


async def test_https_proxy_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    async with http_proxy(tls=server_tls(a_certificate(tmp_path))) as proxy:
        cluster = {"proxy-url": f"https://user:canary@127.0.0.1:{proxy.port}"}
        error = await error_with(write_kubeconfig(tmp_path, "https://10.0.0.1:6443", cluster=cluster))
    assert error.reason == "Certificate"
    assert f"certificate of 127.0.0.1:{proxy.port} is not trusted" in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("401 Unauthorized", "put a valid name and password into proxy-url"),
        ("403 Forbidden", "have the proxy allow connections"),
        ("407 Proxy Authentication Required", "put a valid name and password into proxy-url"),
        ("404 Not Found", "have the proxy allow connections"),
    ],
)
async def test_refusal_by_a_proxy_is_permanent_and_names_the_proxy(
    scheme: str, status: str, step: str, tmp_path: Path
) -> None:
    async with http_proxy(refusal(status, body=PAGE)) as proxy:
        cluster = {"proxy-url": f"http://user:canary@127.0.0.1:{proxy.port}"}
        error = await error_with(write_kubeconfig(tmp_path, f"{scheme}://10.0.0.1:6443", cluster=cluster))
    assert error.reason == PROXY_REFUSED
    assert (error.retryable, error.foreign) == (False, True)
    assert f"the proxy 127.0.0.1:{proxy.port} (proxy-url) answered {status}; {step}" in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
async def test_fault_of_a_proxy_is_retried_and_names_the_proxy(
    scheme: str, status: str, tmp_path: Path
) -> None:
    async with http_proxy(refusal(status, body=PAGE)) as proxy:
        cluster = {"proxy-url": f"http://user:canary@127.0.0.1:{proxy.port}"}
        error = await error_with(write_kubeconfig(tmp_path, f"{scheme}://10.0.0.1:6443", cluster=cluster))
    assert error.retryable
    assert f"the proxy 127.0.0.1:{proxy.port} (proxy-url) answered {status}" in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_password_and_token_that_a_proxy_quotes_are_hidden(scheme: str, tmp_path: Path) -> None:
    password = base64.b64encode(b"user:canary-password").decode()
    answer = refusal(f"407 no {password} canary-token", "Proxy-Authenticate: canary-token", body=PAGE)
    async with http_proxy(answer) as proxy:
        cluster = {"proxy-url": f"http://user:canary-password@127.0.0.1:{proxy.port}"}
        url, user = f"{scheme}://10.0.0.1:6443", {"token": "canary-token"}
        # with https the proxy gets only its own password, so the token of the request is not hidden
        hidden = password if scheme == "https" else "canary"
        async with open_gateway(write_kubeconfig(tmp_path, url, cluster=cluster, user=user)) as gateway:
            with pytest.raises(ClusterError) as caught:
                await gateway.list_jobs("ns", {})
    assert hidden not in str(caught.value)
    assert password not in str(caught.value)
    assert "***" in str(caught.value)


async def test_unsupported_login_schemes_of_a_proxy_are_named(tmp_path: Path) -> None:
    logins = ("Proxy-Authenticate: Negotiate", "Proxy-Authenticate: NTLM realm=x")
    async with http_proxy(refusal("407 Proxy Authentication Required", *logins)) as proxy:
        cluster = {"proxy-url": f"http://127.0.0.1:{proxy.port}"}
        error = await error_with(write_kubeconfig(tmp_path, "https://10.0.0.1:6443", cluster=cluster))
    assert "asks for a login by negotiate, ntlm, but only Basic is supported" in error.message


async def test_status_object_that_a_proxy_passes_on_is_not_an_error_of_the_proxy(tmp_path: Path) -> None:
    status = '{"kind": "Status", "reason": "Forbidden", "message": "jobs is forbidden"}'
    answer = refusal("403 Forbidden", body=status, content_type="application/json")
    async with http_proxy(answer) as proxy:
        cluster = {"proxy-url": f"http://127.0.0.1:{proxy.port}"}
        async with open_gateway(write_kubeconfig(tmp_path, "http://10.0.0.1:1", cluster=cluster)) as gateway:
            with pytest.raises(ClusterError, match="jobs is forbidden") as caught:
                await gateway.list_jobs("ns", {})
    assert caught.value.forbidden


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_proxy_that_cannot_be_reached_is_named(host: str, tmp_path: Path) -> None:
    cluster = {"proxy-url": f"http://user:canary@{host}:1"}
    error = await error_with(write_kubeconfig(tmp_path, "https://10.0.0.1:6443", cluster=cluster))
    assert error.retryable
    # the system's words go on with "ion refused" or " call failed"
    assert f"no connection to the proxy {host}:1 (proxy-url): Connect" in error.message


@pytest.mark.parametrize("proxy", ["socks5://user:canary@h:1080", "socks5h://h", "SOCKS4://h", "socks://h"])
async def test_socks_proxy_is_refused_at_once_with_a_next_step(proxy: str, tmp_path: Path) -> None:
    error = await error_with(write_kubeconfig(tmp_path, "https://10.0.0.1", cluster={"proxy-url": proxy}))
    assert error.reason == UNUSABLE_CREDENTIALS
    assert "its proxy-url names a SOCKS proxy" in error.message
    assert "`ssh -L`" in error.message


@pytest.mark.parametrize(
    "proxy",
    ["ftp://user:canary@h", "http://", "http://user:can#ary@h:1", "http://user:canary@h:x", "h:99999:1"],
)
async def test_invalid_proxy_address_is_refused_without_being_quoted(proxy: str, tmp_path: Path) -> None:
    error = await error_with(write_kubeconfig(tmp_path, "https://10.0.0.1", cluster={"proxy-url": proxy}))
    assert error.reason == UNUSABLE_CREDENTIALS
    assert "proxy-url is not the address of an http or https proxy" in error.message
    assert "ary@h" not in error.message  # the end of "canary" and "can#ary", and the host


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_socks_proxy_in_a_variable_is_refused_and_names_the_variable(
    scheme: str, tmp_path: Path
) -> None:
    name = f"{scheme.upper()}_PROXY"
    with environment_variables(**{name: "socks5://user:canary@10.0.0.2:1080"}):
        error = await error_with(write_kubeconfig(tmp_path, f"{scheme}://10.0.0.1:6443"))
    assert not error.retryable
    assert f"{name} names a SOCKS proxy" in error.message
    assert "NO_PROXY" in error.message


async def test_all_proxy_is_ignored_as_kubectl_ignores_it(tmp_path: Path) -> None:
    async with serving(no_items) as url:
        with environment_variables(ALL_PROXY="socks5://user:canary@10.0.0.2:1080", HTTP_PROXY=""):
            async with open_gateway(write_kubeconfig(tmp_path, url)) as gateway:
                assert (await gateway.list_jobs("ns", {})).items == ()


async def test_error_of_a_proxy_in_a_variable_names_the_variable(tmp_path: Path) -> None:
    async with http_proxy(refusal("407 Proxy Authentication Required")) as proxy:
        with environment_variables(HTTPS_PROXY=f"http://user:canary@127.0.0.1:{proxy.port}"):
            error = await error_with(write_kubeconfig(tmp_path, "https://10.0.0.1:6443"))
    assert f"the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY) answered 407" in error.message
    assert "put a valid name and password into HTTPS_PROXY" in error.message


async def test_refusal_by_a_proxy_is_reported_for_logs_too(tmp_path: Path) -> None:
    async with http_proxy(refusal("403 Forbidden", body=PAGE)) as proxy:
        cluster: dict[str, Any] = {"proxy-url": f"http://user:canary@127.0.0.1:{proxy.port}"}
        kubeconfig = write_kubeconfig(tmp_path, "https://10.0.0.1:6443", cluster=cluster)
        async with open_gateway(kubeconfig) as gateway:
            with pytest.raises(ClusterError, match="the proxy .* answered 403"):
                async with gateway.log(LogRequest("ns", "pod", "claude")):
                    pass
