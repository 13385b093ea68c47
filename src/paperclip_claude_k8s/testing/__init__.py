"""A testing kit for programs that use the adapter: a cluster in memory, faults by name, captured output.

    async def test_an_eviction_is_tried_again(run_agent):
        run = await run_agent(fault="pod_evicted")
        assert run.result.error_code == "k8s_pod_disrupted"
        assert run.result.error_family == "transient_upstream"

`fake_cluster`, `fake_adapter`, `run_agent` and `dev_cluster` are fixtures of a plugin that pytest loads
automatically. They need the extra `testing`: `pip install 'paperclip-adapter-claude-k8s[testing]'`. Nothing
else here needs pytest.
`docs/building-hosts.md` explains more, with a test of a whole host.
"""

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing.capture_files import (
    CAPTURE_VERSIONS,
    capture,
    capture_facts,
    capture_names,
)
from paperclip_claude_k8s.testing.contexts import build_context
from paperclip_claude_k8s.testing.fake_cluster import NAMESPACE, Calls, FakeCluster
from paperclip_claude_k8s.testing.host_connection import HostConnection
from paperclip_claude_k8s.testing.host_log import STATUS_PREFIX, HostLog
from paperclip_claude_k8s.testing.in_memory_host import (
    AgentRunner,
    FinishedRun,
    create_adapter,
    virtual_now,
)
from paperclip_claude_k8s.testing.memory_faults import MemoryFaults, Refusal
from paperclip_claude_k8s.testing.named_faults import FAULTS, NamedFault, cause, inject
from paperclip_claude_k8s.testing.pod_script import PodScript

__all__ = [
    "CAPTURE_VERSIONS",
    "FAULTS",
    "NAMESPACE",
    "STATUS_PREFIX",
    "Adapter",
    "AgentRunner",
    "Calls",
    "DevCluster",
    "FakeCluster",
    "FinishedRun",
    "HostConnection",
    "HostLog",
    "MemoryFaults",
    "NamedFault",
    "PodScript",
    "ProcessSettings",
    "Refusal",
    "build_context",
    "capture",
    "capture_facts",
    "capture_names",
    "cause",
    "create_adapter",
    "inject",
    "virtual_now",
]
