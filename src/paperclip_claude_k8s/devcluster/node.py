"""The only node: its name, labels and capacity, and whether a Pod fits on it."""

from typing import Any

NODE = "devnode"
NODE_CPU, NODE_MEMORY = 64.0, 256 * 1024.0**3
"""Cores and bytes."""
NODE_LABELS = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
_BINARY = {f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_UNITS = _BINARY | _DECIMAL
"""Suffix of a quantity → factor."""


def why_unschedulable(spec: dict[str, Any]) -> str | None:
    """Why the Pod does not fit, in the scheduler's words; None if it fits."""
    selector = spec.get("nodeSelector") or {}
    if any(NODE_LABELS.get(key) != value for key, value in selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    requests = [(c.get("resources") or {}).get("requests") or {} for c in spec.get("containers") or []]
    if sum(amount(request.get("cpu", "0")) for request in requests) > NODE_CPU:
        return "Insufficient cpu"
    if sum(amount(request.get("memory", "0")) for request in requests) > NODE_MEMORY:
        return "Insufficient memory"
    return None


def amount(quantity: object) -> float:
    """A Kubernetes quantity, such as `500m` or `2Gi`, as a number."""
    text = str(quantity)
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)
