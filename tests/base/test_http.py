"""Outgoing HTTP: the proxy is chosen by the rules of Go's clients, and one module opens all sessions."""

import re
from pathlib import Path

import pytest
from aiohttp import web
from tests.support.api_server import serving, silent

from paperclip_claude_k8s.base import http
from paperclip_claude_k8s.base.http import USER_AGENT, ProxyUnsupported, open_session, proxy_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("server", "env", "proxy"),
    [
        ("https://api.example", {}, None),
        ("https://api.example", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.example", {"https_proxy": PROXY}, PROXY),
        ("https://api.example", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://api.example", {"HTTP_PROXY": PROXY}, None),
        ("http://api.example", {"HTTP_PROXY": PROXY}, PROXY),
    ],
)
def test_proxy_for_reads_the_variable_of_the_scheme(
    server: str, env: dict[str, str], proxy: str | None
) -> None:
    assert proxy_for(server, env) == proxy


@pytest.mark.parametrize("server", ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"])
def test_proxy_for_loopback_is_none(server: str) -> None:
    assert proxy_for(server, {"HTTPS_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    ("server", "exempt"),
    [
        ("https://10.96.0.1", "10.0.0.0/8"),
        ("https://10.96.0.1", "example, 10.96.0.1"),
        ("https://[fd00::1]:6443", "fd00::/8"),
        ("https://[fd00::1]:6443", "[fd00::1]"),
        ("https://api.example", "api.example"),
        ("https://api.example", "example"),
        ("https://api.example", ".example"),
        ("https://api.example", "*.example"),
        ("https://api.example:6443", "api.example:6443"),
        ("https://api.example", "*"),
    ],
)
def test_no_proxy_exempts_names_addresses_and_networks(server: str, exempt: str) -> None:
    assert proxy_for(server, {"HTTPS_PROXY": PROXY, "NO_PROXY": exempt}) is None
    assert proxy_for(server, {"HTTPS_PROXY": PROXY, "no_proxy": exempt}) is None


@pytest.mark.parametrize(
    ("server", "exempt"),
    [
        ("https://11.96.0.1", "10.0.0.0/8"),
        ("https://10.96.0.1", "not/a/network"),
        ("https://api.example", "pi.example"),
        ("https://example", ".example"),
        ("https://api.example:6443", "api.example:443"),
        ("https://api.example", ""),
        ("https://api.example", ", ,"),
    ],
)
def test_no_proxy_exempts_nothing_else(server: str, exempt: str) -> None:
    assert proxy_for(server, {"HTTPS_PROXY": PROXY, "NO_PROXY": exempt}) == PROXY


async def test_session_uses_its_proxy_and_sends_no_cookie() -> None:
    received: list[web.Request] = []

    async def proxy(request: web.Request) -> web.Response:
        received.append(request)
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with serving(proxy) as url, open_session(url) as session:
        for _ in range(2):
            async with session.get("http://api.example/path"):
                pass
    assert [request.host for request in received] == ["api.example"] * 2
    assert {request.headers["User-Agent"] for request in received} == {USER_AGENT}
    assert "Cookie" not in received[1].headers


async def test_session_with_a_total_timeout_times_out() -> None:
    async with serving(silent) as url, open_session(total=0.2) as session:
        with pytest.raises(TimeoutError):
            await session.get(url)


def test_sessions_are_opened_in_one_module() -> None:
    modules = Path(http.__file__).parents[1].rglob("*.py")
    found = {path.name for path in modules if re.search(r"ClientSession\(", path.read_text(encoding="utf-8"))}
    assert found == {"http.py"}


@pytest.mark.parametrize(
    "proxy", ["socks5://user:canary@h:1", "socks5h://h", "ftp://h", "http://[canary", "a b"]
)
def test_error_of_an_unusable_proxy_names_the_variable_in_upper_case(proxy: str) -> None:
    with pytest.raises(ProxyUnsupported, match="^HTTPS_PROXY ") as caught:
        proxy_for("https://api.example", {"https_proxy": proxy})
    assert "canary" not in str(caught.value)


def test_unusable_proxy_is_ignored_for_an_exempt_server() -> None:
    env = {"HTTPS_PROXY": "socks5://h", "NO_PROXY": "api.example"}
    assert proxy_for("https://api.example", env) is None
    assert proxy_for("https://api.example", {"ALL_PROXY": "socks5://h"}) is None  # never read
