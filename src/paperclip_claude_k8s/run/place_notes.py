"""Notes in `onMeta` on where a run's Job is. Hosts store them, and `claude-k8s recover` compares them."""

NAMESPACE_NOTE = "Namespace: "
CLUSTER_NOTE = "Cluster: "


def namespace_note(namespace: str) -> str:
    return f"{NAMESPACE_NOTE}{namespace}"


def cluster_note(kubeconfig: str | None, context: str | None) -> str:
    """The same text for the same settings: it names the cluster only by what leads to it."""
    if kubeconfig is None:
        return f"{CLUSTER_NOTE}that of the host's service account"
    return (
        f"{CLUSTER_NOTE}{f'context {context}' if context else 'current context'} of kubeconfig {kubeconfig}"
    )
