"""The fixtures of this package's pytest plugin, which authors of hosts use in their tests."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from paperclip_claude_k8s.testing import (
    FAULTS,
    AgentRunner,
    DevCluster,
    FakeCluster,
    HostConnection,
    HostLog,
    PodScript,
    build_context,
    capture,
    cause,
    create_adapter,
)

DEFAULT_OUTPUT = capture("02-tools-multiblock")
"""What an agent of the fixtures prints unless a test gives it another script."""


async def test_agent_of_the_fixture_succeeds_on_virtual_time(run_agent: AgentRunner) -> None:
    result, host_log = await run_agent()
    assert result.error_code is None
    assert host_log.stdout.encode() == DEFAULT_OUTPUT
    assert asyncio.get_running_loop().time() > 60


@pytest.mark.parametrize("fault", FAULTS)
async def test_run_with_a_fault_has_the_error_code_of_the_fault(fault: str, run_agent: AgentRunner) -> None:
    run = await run_agent(fault=fault)
    assert run.result.error_code == FAULTS[fault].error_code
    if run.result.error_code is None:
        assert run.result.result_json is not None
        assert run.result.result_json["log"]["complete"] is True
        assert run.host_log.stdout.encode() == DEFAULT_OUTPUT


async def test_unknown_fault_is_an_error_that_lists_the_known_ones(run_agent: AgentRunner) -> None:
    with pytest.raises(ValueError, match="unknown fault 'flood'; known are pod_deleted"):
        await run_agent(fault="flood")


@pytest.mark.parametrize(
    ("after", "text"),
    [(0.0, "no Pod exists at this time"), (1000.0, "the block ended before pod_deleted was caused")],
)
async def test_fault_that_does_not_happen_is_an_error(
    after: float, text: str, run_agent: AgentRunner
) -> None:
    with pytest.raises(LookupError, match=text):
        await run_agent(fault="pod_deleted", after=after)


async def test_script_of_the_fixture_can_be_replaced(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = PodScript.replaying(b"no key\n", exit_code=3)
    result, _ = await run_agent()
    assert result.error_message is not None
    assert result.error_message.startswith("Claude exited with code 3: no key")


async def test_second_process_takes_over_the_agent_of_the_first(fake_cluster: FakeCluster) -> None:
    first, second = (create_adapter(fake_cluster, name) for name in ("one", "two"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(first.execute(build_context(HostLog())))
        await asyncio.sleep(20)
        await first.shutdown()
    assert running.cancelled()
    host_log = HostLog()
    result = await second.execute(build_context(host_log, runId="run-2"))
    await second.shutdown()
    assert result.error_code is None
    assert fake_cluster.calls.count("create", "jobs") == 1
    assert host_log.stdout.encode() == DEFAULT_OUTPUT


@pytest.mark.parametrize("heavy", ["aiohttp", "pydantic", "kubernetes_asyncio"])
def test_plugin_loads_no_heavy_module_before_a_fixture_is_used(heavy: str) -> None:
    check = f"import paperclip_claude_k8s.pytest_plugin, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


FOREIGN_TEST = """
import pytest

@pytest.mark.looptime
def test_foreign(request):
    assert [mark.kwargs for mark in request.node.iter_markers("looptime")] == [{}]
"""


def test_plugin_leaves_tests_without_its_fixtures_alone(tmp_path: Path) -> None:
    (tmp_path / "test_foreign.py").write_text(FOREIGN_TEST)
    plugin = ["-p", "paperclip_claude_k8s.pytest_plugin"]  # for installations without its entry point
    command = [sys.executable, "-m", "pytest", "-q", *plugin, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


async def test_development_cluster_serves_its_api(dev_cluster: DevCluster) -> None:
    assert dev_cluster.kubeconfig.is_file()
    assert dev_cluster.server_url.startswith("http")


async def test_cut_connection_of_one_process_does_not_affect_another(fake_cluster: FakeCluster) -> None:
    connection = HostConnection(fake_cluster)
    cut, other = create_adapter(fake_cluster, "cut", connection=connection), create_adapter(fake_cluster)
    connection.cut()
    config = {"scheduleTimeoutSec": 30}
    refused = await cut.execute(build_context(HostLog(), agent={"id": "ada"}, config=config))
    served = await other.execute(build_context(HostLog(), agent={"id": "grace"}))
    connection.restore()
    await cut.shutdown()
    await other.shutdown()
    assert (refused.error_family, served.error_code) == ("transient_upstream", None)


@pytest.mark.parametrize(
    ("verb", "resource", "unknown"),
    [("post", "jobs", "unknown verb 'post'"), ("create", "job", "unknown resource 'job'")],
)
async def test_refusing_an_unknown_verb_or_resource_is_an_error(
    verb: str, resource: str, unknown: str, fake_cluster: FakeCluster
) -> None:
    with pytest.raises(ValueError, match=f"{unknown}; known are .*(create|jobs)"):
        fake_cluster.faults.refuse(verb, resource, 403)


async def test_fault_after_the_agent_has_ended_is_an_error(
    run_agent: AgentRunner, fake_cluster: FakeCluster
) -> None:
    await run_agent()
    with pytest.raises(LookupError, match="no Pod exists at this time: cause the fault while an agent runs"):
        cause(fake_cluster, "pod_evicted")
