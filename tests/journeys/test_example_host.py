"""The host in `tests/example_host.py` loads the adapter by its entry point, and runs two agents at once."""

from tests.example_host import load_adapter, run_two
from tests.support.runs import SMALL_REQUESTS, Site


def test_adapter_is_found_by_its_entry_point() -> None:
    adapter = load_adapter()
    assert adapter.type == "claude_k8s"


async def test_example_host_runs_two_agents(site: Site) -> None:
    config = {
        **site.config,
        **SMALL_REQUESTS,
        "env": {"CLAUDE_CAPTURE": site.capture_ref("02"), "CLAUDE_LINE_DELAY": "0.1"},
    }
    if site.name == "real":
        config |= {"namespace": site.namespace, "image": "local/agent:1"}
    ada, grace = await run_two(config)
    for result in (ada, grace):
        assert result["exitCode"] == 0
        assert result["sessionId"]
    assert await site.leftovers() == []
