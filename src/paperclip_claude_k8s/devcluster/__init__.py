"""The embedded development cluster: a Kubernetes API on 127.0.0.1 whose Pods are local processes.

It is for trying the adapter and for its tests, to be looked at with kubectl; it isolates nothing. It shares
no code with the client it tests: if both used one serializer, their bugs would agree.
"""

from paperclip_claude_k8s.devcluster.dev_cluster import DevCluster

__all__ = ["DevCluster"]
