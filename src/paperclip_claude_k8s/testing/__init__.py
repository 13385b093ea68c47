"""A testing kit for programs that use the adapter: a cluster in memory, a recording host, captured output."""

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
from paperclip_claude_k8s.testing.memory_faults import MemoryFaults, Refusal
from paperclip_claude_k8s.testing.pod_script import PodScript

__all__ = [
    "CAPTURE_VERSIONS",
    "NAMESPACE",
    "STATUS_PREFIX",
    "Calls",
    "FakeCluster",
    "HostConnection",
    "HostLog",
    "MemoryFaults",
    "PodScript",
    "Refusal",
    "build_context",
    "capture",
    "capture_facts",
    "capture_names",
]
