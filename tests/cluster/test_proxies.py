"""The same way out as kubectl takes."""

import pytest

from paperclip_claude_k8s.cluster.proxies import proxy_for

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
def test_the_scheme_picks_the_variable(server: str, env: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(server, env) == proxy


@pytest.mark.parametrize("server", ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"])
def test_loopback_never_goes_through_a_proxy(server: str) -> None:
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
