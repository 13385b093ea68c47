"""Which parts of a planned Job the administrator's policy does not allow.

The settings were admitted before; here the merged Pod is examined, because `podTemplate` can also remove what
the adapter sets. What the Pod would have without `podTemplate` is the adapter's choice, and allowed.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.host.config_admission import TEMPLATE, field_refusal, refused_name
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.policy import Policy, Refusal
from paperclip_claude_k8s.host.quantity import parse_bytes, parse_cpu
from paperclip_claude_k8s.host.sensitive_fields import SensitiveField, sensitive_fields
from paperclip_claude_k8s.plan.manifest import pod_template
from paperclip_claude_k8s.plan.pod_security import Pod
from paperclip_claude_k8s.plan.pod_template import CONTAINERS, apply_overlay
from paperclip_claude_k8s.plan.run_plan import RunPlan

_REACHED = {
    "secrets": "podTemplate lets the agent's Pod use Secrets that are not of this run: {}",
    "claims": "podTemplate lets the agent's Pod use volume claims: {}",
    "nodeNames": "podTemplate puts the Pod on node {}, without the scheduler",
}
"""Field of the policy → note about what is in use."""


def plan_refusals(plan: RunPlan, policy: Policy) -> tuple[Refusal, ...]:
    """What the policy does not allow in the plan's namespace and Pod."""
    own = pod_template(plan)
    pod = apply_overlay(own, plan.overlay)
    return tuple(
        refusal
        for refusals in (
            _namespace(plan, policy),
            _added_fields(plan, policy),
            _token(own, pod, policy),
            _root(own, pod, policy),
            _other_companies(plan, own, pod),
            _resources(pod, policy, "cpu", "maxCpu", parse_cpu),
            _resources(pod, policy, "memory", "maxMemory", parse_bytes),
        )
        for refusal in refusals
    )


def added_fields(plan: RunPlan) -> tuple[SensitiveField, ...]:
    """The sensitive fields that the Pod has because of `podTemplate`, not counting the run Secret."""
    if not plan.overlay.template:
        return ()
    own = pod_template(plan)
    before = set(sensitive_fields(own))
    added = (field for field in sensitive_fields(apply_overlay(own, plan.overlay)) if field not in before)
    return tuple(
        field for field in added if (field.policy_field, field.name) != ("secrets", plan.secret_name)
    )


def reach_notes(plan: RunPlan) -> Iterator[str]:
    """What this agent can reach but an ordinary one cannot. `pod_security` reports weaknesses of the Pod."""
    found: dict[str, list[str]] = {}
    for field in added_fields(plan):
        found.setdefault(field.policy_field, []).append(field.name)
    account = plan.config.service_account_name
    if account is not None:
        yield f"The agent gets a token of service account {account}, with all its rights"
    elif "serviceAccountTokens" in found:
        yield "podTemplate gives the agent a token of its service account, with all its rights"
    for policy_field, text in _REACHED.items():
        if policy_field in found:
            yield text.format(", ".join(sorted(set(found[policy_field]))))


def _namespace(plan: RunPlan, policy: Policy) -> Iterator[Refusal]:
    if plan.config.namespace is None and not policy.allows("namespaces", plan.namespace):
        why = refused_name("namespaces", plan.namespace, policy)
        yield Refusal("namespace", f"without this setting, {why}", "namespaces")


def _added_fields(plan: RunPlan, policy: Policy) -> Iterator[Refusal]:
    for field in added_fields(plan):
        refusal = field_refusal(field, policy, f"{TEMPLATE}.{field.path}")
        if refusal is not None:
            yield refusal


def _token(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    key = "automountServiceAccountToken"
    removed = own["spec"].get(key) is False and pod["spec"].get(key) is not False
    if removed and not policy.service_account_tokens:
        path = f"{TEMPLATE}.spec.{key}"
        yield Refusal(
            path,
            "podTemplate removes it, so the Pod gets a token: serviceAccountTokens is false",
            "serviceAccountTokens",
        )


def _other_companies(plan: RunPlan, own: JsonMap, pod: JsonMap) -> Iterator[Refusal]:
    """Mounts by `podTemplate` that show more of the shared volume than the company's folder."""
    claim = plan.home.claim_name if plan.home is not None else ""
    if not (claim and plan.company_folder):
        return
    ours = {sub_path for _, sub_path in _mounts_of_claim(own, claim)}
    for container, sub_path in _mounts_of_claim(pod, claim):
        if sub_path not in ours:
            why = f"{container} mounts more than its company's folder: companyVolumes is true"
            yield Refusal(f"{TEMPLATE}.spec", why, "companyVolumes")


def _mounts_of_claim(template: JsonMap, claim: str) -> Iterator[tuple[str, str | None]]:
    """Container and `subPath` of each mount of this claim; None for a computed `subPath`."""
    shared = {
        volume.get("name")
        for volume in get_objects(template["spec"], "volumes")
        if get_object(volume, "persistentVolumeClaim").get("claimName") == claim
    }
    for kind in CONTAINERS:
        for container in get_objects(template["spec"], kind):
            for mount in get_objects(container, "volumeMounts"):
                if mount.get("name") in shared:
                    fixed = "subPathExpr" not in mount
                    yield str(container.get("name")), str(mount.get("subPath", "")) if fixed else None


def _root(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    """Containers that may run as root or become root, but not the adapter's own Docker daemon."""
    if policy.root_user:
        return
    known = set(_possible_roots(own))
    for subject in _possible_roots(pod):
        if subject not in known:
            why = f"{subject} may be or become root: rootUser is false"
            yield Refusal(f"{TEMPLATE}.spec", why, "rootUser")


def _possible_roots(template: JsonMap) -> Iterator[str]:
    pod = Pod.of(template)
    users, non_root = dict(pod.effective("runAsUser")), dict(pod.effective("runAsNonRoot"))
    for subject, _, context in pod.containers:
        user = users[subject]
        starts_as_root = non_root[subject] is not True and not (isinstance(user, int) and user > 0)
        if starts_as_root or context.get("allowPrivilegeEscalation") is not False:
            yield subject


def _resources(
    pod: JsonMap, policy: Policy, resource: str, policy_field: str, parse: Callable[[object], Decimal | int]
) -> Iterator[Refusal]:
    """Limits of containers that run at the same time are added up; an init container runs alone."""
    most = policy.to_wire()[policy_field]
    if most is None:
        return
    total: Decimal | int = 0
    for kind in CONTAINERS:
        for container in get_objects(pod["spec"], kind):
            path = f"spec.{kind}[{container.get('name')}].resources.limits.{resource}"
            limit = _limit(container, resource, parse)
            runs_alone = kind == "initContainers" and container.get("restartPolicy") != "Always"
            if limit is None:
                yield Refusal(f"{TEMPLATE}.{path}", f"it is not set: {policy_field} is {most}", policy_field)
            elif runs_alone and limit > parse(most):
                yield Refusal(f"{TEMPLATE}.{path}", f"it is too much: {policy_field} is {most}", policy_field)
            elif not runs_alone:
                total += limit
    if total > parse(most):
        why = f"the limits of all containers together are too much: {policy_field} is {most}"
        yield Refusal(f"resources.limits.{resource}", why, policy_field)


def _limit(
    container: Mapping[str, Any], resource: str, parse: Callable[[object], Decimal | int]
) -> Decimal | int | None:
    try:
        return parse(get_object(get_object(container, "resources"), "limits").get(resource))
    except ValueError:
        return None
