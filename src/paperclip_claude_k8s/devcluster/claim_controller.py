"""PersistentVolumeClaims: what the API server accepts, and the controllers that bind and delete claims.

Every claim is bound at once, whatever its storage class. A deleted claim stays until no Pod uses it; then it
is removed together with its files. In a real cluster, the finalizer `kubernetes.io/pvc-protection` has the
same effect.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from paperclip_claude_k8s.devcluster.kinds import CLAIMS, PODS, Object
from paperclip_claude_k8s.devcluster.store import Store
from paperclip_claude_k8s.devcluster.valid_names import is_positive_quantity

PROTECTION = "kubernetes.io/pvc-protection"
DEFAULT_CLASS = "standard"
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def prepare_claim(claim: Object) -> None:
    """Fill in what the server adds to a new claim."""
    claim["metadata"]["finalizers"] = [PROTECTION]
    claim.setdefault("spec", {}).setdefault("storageClassName", DEFAULT_CLASS)
    claim["status"] = {"phase": "Pending"}


def claim_faults(spec: Object) -> Iterator[str]:
    """What is wrong with the spec of a claim: a field's path, and why."""
    modes = spec.get("accessModes") or []
    if not modes:
        yield "spec.accessModes: Required value: at least 1 access mode is required"
    for mode in modes:
        if mode not in _MODES:
            supported = ", ".join(f'"{known}"' for known in _MODES)
            yield f'spec.accessModes: Unsupported value: "{mode}": supported values: {supported}'
    if len(modes) > 1 and "ReadWriteOncePod" in modes:
        yield "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"
    size = spec.get("resources", {}).get("requests", {}).get("storage")
    if size is None:
        yield "spec.resources[storage]: Required value"
    elif not is_positive_quantity(size):
        yield f'spec.resources[storage]: Invalid value: "{size}": must be greater than zero'


def changed_spec_faults(old: Object, new: Object) -> Iterator[str]:
    """What is wrong with a change of a claim's spec: only its size may change, and the name of its volume."""
    old_rest, new_rest = ({**spec, "resources": None, "volumeName": None} for spec in (old, new))
    if old_rest != new_rest:
        why = "spec is immutable after creation except resources.requests for bound claims"
        yield f"spec: Forbidden: {why}"


def why_claims_unusable(store: Store, pod: Object) -> str | None:
    """Why a Pod cannot be scheduled because of its claims, in the scheduler's words; None if it can.

    Unlike in a real cluster, a Pod may name a claim that does not exist, and gets a folder of that name.
    """
    for name in sorted(_claims_of(pod)):
        claim = store.find(CLAIMS, pod["metadata"]["namespace"], name)
        if claim is not None and claim["metadata"].get("deletionTimestamp"):
            return f'persistentvolumeclaim "{name}" is being deleted'
    return None


class ClaimController:
    """Binds new claims, and removes deleted ones that no Pod uses. `folder`: where their files are."""

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    def reconcile_all(self) -> None:
        for claim in list(self._store.list(CLAIMS)):
            meta = claim["metadata"]
            if meta.get("deletionTimestamp"):
                self._remove_if_unused(claim)
            elif claim.get("status", {}).get("phase") == "Pending":
                self._store.update(CLAIMS, meta["namespace"], meta["name"], _bind)

    def _remove_if_unused(self, claim: Object) -> None:
        namespace, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
        pods = self._store.list(PODS, namespace)
        if any(name in _claims_of(pod) for pod in pods if not _has_ended(pod)):
            return
        self._store.remove(CLAIMS, namespace, name)
        if self._folder is not None:
            shutil.rmtree(self._folder / namespace / name, ignore_errors=True)


def _bind(claim: Object) -> None:
    uid = claim["metadata"]["uid"]
    claim["spec"]["volumeName"] = f"pvc-{uid}"
    claim["status"] = {
        "phase": "Bound",
        "accessModes": claim["spec"]["accessModes"],
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
    }
    claim["metadata"].setdefault("annotations", {})["pv.kubernetes.io/bind-completed"] = "yes"


def _has_ended(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def _claims_of(pod: Object) -> set[str]:
    volumes = pod["spec"].get("volumes") or []
    return {v["persistentVolumeClaim"].get("claimName", "") for v in volumes if "persistentVolumeClaim" in v}
