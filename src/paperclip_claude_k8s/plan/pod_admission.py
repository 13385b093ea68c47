"""Which parts of a planned Job the administrator's policy does not allow.

`host/config_admission.py` has examined the settings before. Here the merged Pod is examined, because with
`podTemplate` one can also remove what the adapter sets. `own` is the Pod without `podTemplate`: whatever it
has is the adapter's choice, and allowed. `pod` is the merged Pod.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_list, get_object, get_objects
from paperclip_claude_k8s.host.config_admission import TEMPLATE, field_refusal, why_refused
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.policy import Policy, Refusal
from paperclip_claude_k8s.host.quantity import parse_bytes, parse_cpu
from paperclip_claude_k8s.host.sensitive_fields import SensitiveField, sensitive_fields
from paperclip_claude_k8s.plan.manifest import pod_template
from paperclip_claude_k8s.plan.paths import is_in_any
from paperclip_claude_k8s.plan.pod_security import Pod
from paperclip_claude_k8s.plan.pod_template import CONTAINERS, apply_overlay
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.session_volume import CLAIM_PREFIX
from paperclip_claude_k8s.relay.git import PUSH_CONTAINER
from paperclip_claude_k8s.relay.upload_scripts import RETURN_CONTAINER

_REACHED = {
    "secrets": "podTemplate lets the agent's Pod use Secrets that are not of this run: {}",
    "claims": "podTemplate lets the agent's Pod use volume claims: {}",
    "nodeNames": "podTemplate puts the Pod on node {}, without the scheduler",
}
"""Field of the policy → note about what is in use."""
_WORKSPACE_CONTAINERS = frozenset({PUSH_CONTAINER, RETURN_CONTAINER})
_OBJECTS = frozenset({"secrets", "configMaps", "claims"})
"""Fields of the policy that name objects whose content a volume can show."""
_RUNTIME_CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""The capabilities that most container runtimes give to a container that does not drop them."""


def plan_refusals(plan: RunPlan, policy: Policy) -> tuple[Refusal, ...]:
    """What the policy does not allow in the plan's namespace and Pod."""
    own = pod_template(plan)
    pod = apply_overlay(own, plan.overlay)
    chosen = _without_workspace_containers(own, pod)
    return tuple(
        refusal
        for refusals in (
            _namespace_refusals(plan, policy),
            _added_field_refusals(plan, policy),
            _token_refusals(own, pod, policy),
            _root_refusals(own, pod, policy),
            _seccomp_refusals(own, pod, policy),
            _capability_refusals(own, pod, policy),
            _grace_refusals(own, pod, policy),
            _company_refusals(plan, own, pod, policy),
            _resource_refusals(chosen, policy, "cpu", "maxCpu", parse_cpu),
            _resource_refusals(chosen, policy, "memory", "maxMemory", parse_bytes),
        )
        for refusal in refusals
    )


def added_fields(plan: RunPlan) -> tuple[SensitiveField, ...]:
    """The sensitive fields that the Pod has because of `podTemplate`, not counting the run Secret."""
    if not plan.overlay.template:
        return ()
    own = pod_template(plan)
    pod = apply_overlay(own, plan.overlay)
    already_there = set(sensitive_fields(own))
    added = [field for field in sensitive_fields(pod) if field not in already_there]
    added += _wider_mounts(own, pod)
    return tuple(
        field for field in added if (field.policy_field, field.name) != ("secrets", plan.secret_name)
    )


def reach_notes(plan: RunPlan) -> Iterator[str]:
    """What this agent can reach although agents normally cannot; `pod_security.py` finds other weaknesses."""
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


def _namespace_refusals(plan: RunPlan, policy: Policy) -> Iterator[Refusal]:
    if plan.config.namespace is None and not policy.allows("namespaces", plan.namespace):
        why = why_refused("namespaces", plan.namespace, policy)
        yield Refusal("namespace", f"without this setting, {why}", "namespaces")


def _added_field_refusals(plan: RunPlan, policy: Policy) -> Iterator[Refusal]:
    for field in added_fields(plan):
        refusal = field_refusal(field, policy, f"{TEMPLATE}.{field.path}")
        if refusal is not None:
            yield refusal


def _token_refusals(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    key = "automountServiceAccountToken"
    removed = own["spec"].get(key) is False and pod["spec"].get(key) is not False
    if removed and not policy.service_account_tokens:
        path = f"{TEMPLATE}.spec.{key}"
        yield Refusal(
            path,
            "podTemplate removes it, so the Pod gets a token: serviceAccountTokens is false",
            "serviceAccountTokens",
        )


def _seccomp_refusals(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    """Containers that lose their seccomp profile: most container runtimes then apply none at all."""
    if policy.privileged:
        return
    known = set(_without_seccomp(own))
    for subject in _without_seccomp(pod):
        if subject not in known:
            why = f"{subject} has no seccomp profile: privileged is false"
            yield Refusal(f"{TEMPLATE}.spec", why, "privileged")


def _without_seccomp(template: JsonMap) -> Iterator[str]:
    for subject, profile in Pod.of(template).effective("seccompProfile"):
        if not (isinstance(profile, Mapping) and profile.get("type")):
            yield subject


def _capability_refusals(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    """Containers of the adapter that keep the container runtime's capabilities because of `podTemplate`."""
    refused = next((name for name in _RUNTIME_CAPABILITIES if not policy.allows("capabilities", name)), None)
    if refused is None:
        return
    dropping = {subject for subject, drops in _capability_drops(own) if drops}
    for subject, drops in _capability_drops(pod):
        if subject in dropping and not drops:
            why = f"{subject} no longer drops ALL: {why_refused('capabilities', refused, policy)}"
            yield Refusal(f"{TEMPLATE}.spec", why, "capabilities")


def _capability_drops(template: JsonMap) -> Iterator[tuple[str, bool]]:
    """Each container, and whether it drops all capabilities."""
    for subject, _, context in Pod.of(template).containers:
        yield subject, "ALL" in get_list(get_object(context, "capabilities"), "drop")


def _grace_refusals(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    """A grace period above `maxTimeoutSec`: an agent that ignores SIGTERM works until the period is over."""
    key, most = "terminationGracePeriodSeconds", policy.max_timeout_sec
    grace = pod["spec"].get(key)
    if (
        most is not None
        and grace != own["spec"].get(key)
        and isinstance(grace, (int, float))
        and grace > most
    ):
        why = f"it is too much: maxTimeoutSec is {policy.to_wire()['maxTimeoutSec']}"
        yield Refusal(f"{TEMPLATE}.spec.{key}", why, "maxTimeoutSec")


def _wider_mounts(own: JsonMap, pod: JsonMap) -> Iterator[SensitiveField]:
    """Mounts in `pod` that show more of a volume of `own`, or let more of it be changed, than those in `own`.

    The home pod may mount only a part of a Secret or of a claim, and Jobs inherit only that part.
    """
    own_extents: dict[str, list[tuple[str | None, bool]]] = {}
    for _, mount in _mounts(own):
        own_extents.setdefault(str(mount.get("name")), []).append(_extent(mount))
    objects = {  # examined once for each volume, not for each mount
        str(volume.get("name")): {
            (field.policy_field, field.name)
            for field in sensitive_fields({"volumes": [volume]})
            if field.policy_field in _OBJECTS
        }
        for volume in get_objects(pod["spec"], "volumes")
    }
    for container, mount in _mounts(pod):
        name = str(mount.get("name"))
        extents = own_extents.get(name, ())
        if extents and not any(_covers(ours, _extent(mount)) for ours in extents):
            path = f"spec.containers[{container}].volumeMounts[{mount.get('mountPath')}]"
            for policy_field, object_name in sorted(objects.get(name, ())):
                yield SensitiveField(path, policy_field, object_name)


def _extent(mount: JsonMap) -> tuple[str | None, bool]:
    """The `subPath` of a mount (None if Kubernetes computes it), and whether the mount is read-only."""
    sub_path = None if "subPathExpr" in mount else str(mount.get("subPath") or "")
    return sub_path, mount.get("readOnly") is True


def _covers(ours: tuple[str | None, bool], theirs: tuple[str | None, bool]) -> bool:
    """Whether a mount of extent `theirs` shows and lets change no more than one of extent `ours`."""
    (part, read_only), (other, other_read_only) = ours, theirs
    if part is None or (read_only and not other_read_only):
        return False
    return not part or (other is not None and ".." not in other.split("/") and is_in_any(other, [part]))


def _mounts(template: JsonMap) -> Iterator[tuple[str, JsonMap]]:
    """Name of the container and mount, for each mount of each container."""
    for kind in CONTAINERS:
        for container in get_objects(template["spec"], kind):
            for mount in get_objects(container, "volumeMounts"):
                yield str(container.get("name")), mount


def _company_refusals(plan: RunPlan, own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    """Mounts that `podTemplate` adds, if they show other folders than the company's, or others' sessions.

    If the home pod does not show which claim the companies share, it can be any claim that `claims` allows.
    """
    if not policy.company_volumes:
        return
    claim = plan.home.claim_name if plan.home is not None and plan.config.claim_name is None else ""
    if not claim and "*" not in policy.claims:
        return
    ours = {mounted for _, mounted in _mounts_of_claims(own)}
    for container, mounted in _mounts_of_claims(pod):
        mounted_claim, _ = mounted
        if mounted not in ours and claim in {"", mounted_claim}:
            why = f"{container} mounts more than its company's folder: companyVolumes is true"
            which = "" if claim else "; list in claims those that companies do not share"
            yield Refusal(f"{TEMPLATE}.spec", f"{why}{which}", "companyVolumes" if claim else "claims")
        elif mounted not in ours and _holds_sessions(mounted_claim, plan):
            why = f"{container} mounts sessions of others on claim {mounted_claim}: companyVolumes is true"
            yield Refusal(f"{TEMPLATE}.spec", why, "companyVolumes")


def _holds_sessions(claim: str, plan: RunPlan) -> bool:
    return claim.startswith(CLAIM_PREFIX) or claim == plan.session_volume.claim_name


def _mounts_of_claims(template: JsonMap) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Container, claim and `subPath` of each mount of a claim, or of a new volume that copies a claim.

    `subPath` is None if Kubernetes computes it.
    """
    shared = [
        (volume.get("name"), field.name)
        for volume in get_objects(template["spec"], "volumes")
        for field in sensitive_fields({"volumes": [volume]})
        if field.policy_field == "claims"
    ]
    for container, mount in _mounts(template):
        for volume, name in shared:
            if mount.get("name") == volume:
                yield container, (name, _extent(mount)[0])


def _root_refusals(own: JsonMap, pod: JsonMap, policy: Policy) -> Iterator[Refusal]:
    """Containers that, because of `podTemplate`, may run as root or become root."""
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


def _without_workspace_containers(own: JsonMap, pod: JsonMap) -> JsonMap:
    """The Pod without the containers that push or return a workspace, if they have the adapter's limits.

    If they counted, and `maxMemory` was just the limit of the agent, no such workspace would be allowed.
    """
    fixed = [
        container["resources"]
        for container in get_objects(own["spec"], "containers")
        if container["name"] in _WORKSPACE_CONTAINERS
    ]
    counted = [
        container
        for container in get_objects(pod["spec"], "containers")
        if container.get("name") not in _WORKSPACE_CONTAINERS or container.get("resources") not in fixed
    ]
    return {**pod, "spec": {**pod["spec"], "containers": counted}}


def _resource_refusals(
    pod: JsonMap, policy: Policy, resource: str, policy_field: str, parse: Callable[[object], Decimal | int]
) -> Iterator[Refusal]:
    """Containers without a limit for the resource, and limits above the policy's.

    Limits of containers that run at the same time are added up; an init container runs alone.
    """
    most = policy.to_wire()[policy_field]
    if most is None:
        return
    total: Decimal | int = 0
    for kind in CONTAINERS:
        for container in get_objects(pod["spec"], kind):
            path = f"spec.{kind}[{container.get('name')}].resources.limits.{resource}"
            limit = _limit(container, resource, parse)
            runs_alone = kind == "initContainers" and container.get("restartPolicy") != "Always"
            if not limit:
                trouble = "it is not set" if limit is None else "0 means no limit"
                yield Refusal(f"{TEMPLATE}.{path}", f"{trouble}: {policy_field} is {most}", policy_field)
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
