"""The embedded development cluster: a Kubernetes API on 127.0.0.1 whose Pods are local processes.

It is for trying out and testing the adapter, and kubectl can inspect it. Pods are not isolated from this
machine. The cluster shares no code with the client that it tests, because no test would notice a bug in
shared code.
"""

from paperclip_claude_k8s.devcluster.dev_cluster import DevCluster

__all__ = ["DevCluster"]
