"""Plugin for pytest: the fixtures `fake_cluster`, `fake_adapter`, `run_agent` and `dev_cluster`.

pytest loads it by its entry point, in every project that has this package. So, until a fixture is used, it
imports only pytest, and pytest_asyncio where the extra `testing` is installed. That is why it is no part of
`paperclip_claude_k8s.testing`, which imports more. The fixtures need that extra. Tests that use
`fake_cluster` run on virtual time: a minute of waiting takes no time.
"""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from paperclip_claude_k8s.devcluster import DevCluster
    from paperclip_claude_k8s.testing import Adapter, AgentRunner, FakeCluster

VIRTUAL_STEP = 0.01
"""Largest step, in seconds, by which virtual time advances while a thread runs. With larger steps, virtual
time would jump to the next timer, and a test on a slow machine would not wait for the thread."""
AGENT_SECONDS = 60.0
"""Seconds of virtual time that the agent of `fake_cluster` works, unless a test replaces its script."""
_INSTALL = "this fixture needs more packages: pip install 'paperclip-adapter-claude-k8s[testing]'"
_HAS_EXTRA = all(find_spec(name) is not None for name in ("pytest_asyncio", "looptime"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests that use `fake_cluster` on virtual time, if looptime is installed."""
    if not config.pluginmanager.hasplugin("looptime_plugin"):
        return
    for item in items:
        if "fake_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.looptime(idle_step=VIRTUAL_STEP))


if _HAS_EXTRA:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def fake_cluster(tmp_path: Path) -> AsyncIterator["FakeCluster"]:
        """A cluster in memory. Its agent works for 60 s and succeeds; see `FakeCluster.pod_script`."""
        from paperclip_claude_k8s.testing import FakeCluster, PodScript  # noqa: PLC0415  # loaded on first use

        async with FakeCluster.start(tmp_path, PodScript.working(AGENT_SECONDS)) as cluster:
            yield cluster

    @pytest_asyncio.fixture
    async def fake_adapter(fake_cluster: "FakeCluster") -> AsyncIterator["Adapter"]:
        """An adapter on `fake_cluster`, to be passed to the host under test."""
        from paperclip_claude_k8s.testing import create_adapter  # noqa: PLC0415  # loaded on first use

        adapter = create_adapter(fake_cluster)
        yield adapter
        await adapter.shutdown()

    @pytest_asyncio.fixture
    async def run_agent(fake_cluster: "FakeCluster", fake_adapter: "Adapter") -> "AgentRunner":
        """A function that runs one agent on `fake_cluster`; see `AgentRunner`."""
        from paperclip_claude_k8s.testing import AgentRunner  # noqa: PLC0415  # loaded on first use

        return AgentRunner(fake_cluster, fake_adapter)

    @pytest_asyncio.fixture
    async def dev_cluster() -> AsyncIterator["DevCluster"]:
        """A development cluster: a Kubernetes API over HTTP, whose Pods are processes, on real time."""
        from paperclip_claude_k8s.devcluster import DevCluster  # noqa: PLC0415  # loaded on first use

        async with DevCluster.start() as cluster:
            yield cluster

else:

    @pytest.fixture
    def fake_cluster() -> Any:  # noqa: ANN401  # always fails
        """Fails, and says what to install."""
        pytest.fail(_INSTALL)

    @pytest.fixture
    def fake_adapter() -> Any:  # noqa: ANN401  # always fails
        """Fails, and says what to install."""
        pytest.fail(_INSTALL)

    @pytest.fixture
    def run_agent() -> Any:  # noqa: ANN401  # always fails
        """Fails, and says what to install."""
        pytest.fail(_INSTALL)

    @pytest.fixture
    def dev_cluster() -> Any:  # noqa: ANN401  # always fails
        """Fails, and says what to install."""
        pytest.fail(_INSTALL)
