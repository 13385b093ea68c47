"""The embedded development cluster: a Kubernetes API on 127.0.0.1 whose Pods are local processes.

It is for trying and testing the adapter, and kubectl can inspect it. It isolates nothing. It shares no code
with the client that it tests, so that a bug in the serialization cannot cancel itself out.
"""

from paperclip_claude_k8s.devcluster.dev_cluster import DevCluster

__all__ = ["DevCluster"]
