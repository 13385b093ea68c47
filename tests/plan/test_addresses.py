"""The address at which Pods reach the Paperclip host's API, chosen from several settings, and moved URLs."""

import pytest

from paperclip_claude_k8s.plan.addresses import choose_api_url, names_own_machine, rebase

LOCAL, REACHABLE, OTHER = "http://localhost:3100", "http://paperclip:3100", "https://pc.example"


@pytest.mark.parametrize(
    ("process_env", "home_pod_env", "configured_url", "chosen"),
    [
        ({"PAPERCLIP_API_URL": REACHABLE}, {"PAPERCLIP_API_URL": OTHER}, "", REACHABLE),
        ({"PAPERCLIP_API_URL": LOCAL}, {"PAPERCLIP_API_URL": OTHER}, "", OTHER),
        ({}, {"PAPERCLIP_API_URL": OTHER}, "", OTHER),
        ({"PAPERCLIP_API_URL": LOCAL, "PAPERCLIP_RUNTIME_API_URL": REACHABLE}, {}, "", REACHABLE),
        ({"PAPERCLIP_API_URL": LOCAL}, {"PAPERCLIP_API_URL": "http://127.0.0.1:1"}, OTHER, OTHER),
        ({"PAPERCLIP_API_URL": REACHABLE}, {}, OTHER, REACHABLE),
        ({"PAPERCLIP_API_URL": LOCAL}, {}, "", LOCAL),
        ({"PAPERCLIP_API_URL": "  "}, {}, "", "http://localhost:3100"),
        ({}, {}, "", "http://localhost:3100"),
        ({"HOST": "0.0.0.0", "PORT": "80"}, {}, "", "http://localhost:80"),  # noqa: S104
        ({"PAPERCLIP_LISTEN_HOST": "::", "PORT": "80"}, {}, "", "http://localhost:80"),
        ({"PAPERCLIP_LISTEN_HOST": "fd00::1", "HOST": "x"}, {}, "", "http://[fd00::1]:3100"),
        ({"PAPERCLIP_LISTEN_PORT": "8", "HOST": "pc"}, {}, "", "http://pc:8"),
        # HOST counts only if no URL is set
        ({"PAPERCLIP_API_URL": LOCAL, "HOST": "somewhere"}, {}, "", LOCAL),
    ],
)
def test_api_url_prefers_addresses_that_pods_reach(
    process_env: dict[str, str], home_pod_env: dict[str, str], configured_url: str, chosen: str
) -> None:
    assert choose_api_url(process_env, home_pod_env, configured_url) == chosen


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (LOCAL, True),
        ("http://LOCALHOST", True),
        ("http://pc.localhost:1", True),
        ("http://127.0.0.53:1/x", True),
        ("http://[::1]:3100", True),
        ("http://0.0.0.0:3100", True),
        ("http://[::]:3100", True),
        (REACHABLE, False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        ("http://[broken", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_names_own_machine_is_true_for_local_addresses_only(url: str, expected: bool) -> None:  # noqa: FBT001
    assert names_own_machine(url) is expected


@pytest.mark.parametrize(
    ("url", "api", "moved"),
    [
        ("http://127.0.0.1:3100/api/mcp?x=1", OTHER, "https://pc.example/api/mcp?x=1"),
        ("/api/mcp", f"{OTHER}/", "https://pc.example/api/mcp"),
        ("https://broker.example/x", OTHER, "https://broker.example/x"),
        ("http://localhost:1/x", LOCAL, "http://localhost:1/x"),
        ("not a url", OTHER, "not a url"),
    ],
)
def test_rebase_moves_loopback_and_relative_urls_to_a_reachable_api(url: str, api: str, moved: str) -> None:
    assert rebase(url, api) == moved
