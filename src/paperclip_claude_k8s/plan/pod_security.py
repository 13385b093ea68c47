"""Checks a Pod template against the Pod Security Standard `restricted`, which includes `baseline`.

The controls of kubernetes.io/docs/concepts/security/pod-security-standards are functions, which take the Pod
and yield one short sentence per violation. By default the adapter's Pod meets all controls; with an overlay,
`enableDocker` or `runAsUser: 0` it may not. A namespace that enforces `restricted` rejects a violating Pod
when the Pod is created, so the violations are reported beforehand.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.json_readers import get_list, get_object, get_objects
from paperclip_claude_k8s.host.context import JsonMap


@dataclass(frozen=True, slots=True)
class Pod:
    """The parts of a Pod template that the rules examine."""

    annotations: JsonMap
    spec: JsonMap
    security_context: JsonMap
    """The security context of the Pod itself."""
    containers: Sequence[tuple[str, JsonMap, JsonMap]]
    """For each container: its name as the subject of a sentence, the container, its security context."""

    @classmethod
    def of(cls, template: JsonMap) -> "Pod":
        spec = get_object(template, "spec")
        annotations = get_object(get_object(template, "metadata"), "annotations")
        return cls(annotations, spec, get_object(spec, "securityContext"), tuple(_containers(spec)))

    @property
    def security_contexts(self) -> Iterator[tuple[str, JsonMap]]:
        """Subject of a sentence and security context, for the Pod itself and for each container."""
        yield "the Pod", self.security_context
        for subject, _, context in self.containers:
            yield subject, context

    def effective(self, key: str) -> Iterator[tuple[str, Any]]:
        """Subject and value for each container: the container's setting, else the Pod's."""
        for subject, _, context in self.containers:
            yield subject, context.get(key, self.security_context.get(key))


Rule: TypeAlias = Callable[[Pod], Iterable[str]]
"""Yields one short sentence per violation."""

_ALLOWED_VOLUME_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_ALLOWED_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_ALLOWED_SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_ALLOWED_APPARMOR_ANNOTATIONS = frozenset({"", "runtime/default"})
_ALLOWED_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_NETWORK_ACTIONS = ("httpGet", "tcpSocket")


def violations(template: JsonMap) -> tuple[str, ...]:
    """One sentence for each violation of `restricted`."""
    pod = Pod.of(template)
    return tuple(found for rule in RULES for found in rule(pod))


def _is_one_of(value: object, allowed: frozenset[str]) -> bool:
    """Whether the value is one of these texts; it may have any type, even one that cannot be hashed."""
    return isinstance(value, str) and value in allowed


# The Pod as a whole ------------------------------------------------------------------------------------


def _host_namespaces(pod: Pod) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield f"{key} is on"


def _volume_types(pod: Pod) -> Iterator[str]:
    for volume in get_objects(pod.spec, "volumes"):
        for kind in sorted({*volume} - _ALLOWED_VOLUME_TYPES - {"name"}):
            yield f"volume {volume.get('name')} is of type {kind}"


def _sysctls(pod: Pod) -> Iterator[str]:
    for sysctl in get_objects(pod.security_context, "sysctls"):
        if not _is_one_of(sysctl.get("name"), _ALLOWED_SYSCTLS):
            yield f"sysctl {sysctl.get('name')} is set"


def _apparmor_annotations(pod: Pod) -> Iterator[str]:
    for key, value in pod.annotations.items():
        allowed = _is_one_of(value, _ALLOWED_APPARMOR_ANNOTATIONS) or str(value).startswith("localhost/")
        if key.startswith(_APPARMOR_ANNOTATION) and not allowed:
            yield f"AppArmor profile of {key.removeprefix(_APPARMOR_ANNOTATION)} is {value}"


# Security contexts of Pod and containers ---------------------------------------------------------------


def _windows_host_process(pod: Pod) -> Iterator[str]:
    for subject, context in pod.security_contexts:
        if get_object(context, "windowsOptions").get("hostProcess"):
            yield f"{subject} is a Windows HostProcess"


def _selinux(pod: Pod) -> Iterator[str]:
    for subject, context in pod.security_contexts:
        options = get_object(context, "seLinuxOptions")
        if (
            not _is_one_of(options.get("type", ""), _ALLOWED_SELINUX_TYPES)
            or options.get("user")
            or options.get("role")
        ):
            yield f"{subject} sets SELinux options of its own"


def _apparmor(pod: Pod) -> Iterator[str]:
    for subject, context in pod.security_contexts:
        profile = get_object(context, "appArmorProfile").get("type")
        if profile is not None and not _is_one_of(profile, _ALLOWED_PROFILES):
            yield f"{subject} has AppArmor profile {profile}"


def _run_as_user(pod: Pod) -> Iterator[str]:
    for subject, context in pod.security_contexts:
        if context.get("runAsUser") == 0:
            yield f"{subject} runs as user 0"


def _run_as_non_root(pod: Pod) -> Iterator[str]:
    for subject, value in pod.effective("runAsNonRoot"):
        if value is not True:
            yield f"{subject} may run as root (runAsNonRoot is not true)"


def _seccomp(pod: Pod) -> Iterator[str]:
    for subject, profile in pod.effective("seccompProfile"):
        kind = profile.get("type") if isinstance(profile, Mapping) else None
        if not _is_one_of(kind, _ALLOWED_PROFILES):
            yield f"{subject} has seccomp profile {kind or 'none'}"


# Each container ----------------------------------------------------------------------------------------


def _privileged(pod: Pod) -> Iterator[str]:
    for subject, _, context in pod.containers:
        if context.get("privileged"):
            yield f"{subject} is privileged"


def _escalation(pod: Pod) -> Iterator[str]:
    for subject, _, context in pod.containers:
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{subject} may escalate privileges"


def _capabilities(pod: Pod) -> Iterator[str]:
    for subject, _, context in pod.containers:
        capabilities = get_object(context, "capabilities")
        if "ALL" not in get_list(capabilities, "drop"):
            yield f"{subject} does not drop ALL capabilities"
        for added in get_list(capabilities, "add"):
            if added != "NET_BIND_SERVICE":
                yield f"{subject} adds capability {added}"


def _proc_mount(pod: Pod) -> Iterator[str]:
    for subject, _, context in pod.containers:
        if context.get("procMount") and context["procMount"] != "Default":
            yield f"{subject} has procMount {context['procMount']}"


def _host_ports(pod: Pod) -> Iterator[str]:
    for subject, container, _ in pod.containers:
        for port in get_objects(container, "ports"):
            if port.get("hostPort"):
                yield f"{subject} takes host port {port['hostPort']}"


def _probed_hosts(pod: Pod) -> Iterator[str]:
    for subject, container, _ in pod.containers:
        handlers = [get_object(container, probe) for probe in _PROBES]
        handlers += [get_object(get_object(container, "lifecycle"), hook) for hook in _HOOKS]
        if any(
            get_object(handler, action).get("host") for handler in handlers for action in _NETWORK_ACTIONS
        ):
            yield f"{subject} has a probe or hook that names a host"


RULES: tuple[Rule, ...] = (
    _windows_host_process,
    _host_namespaces,
    _privileged,
    _capabilities,
    _volume_types,
    _host_ports,
    _probed_hosts,
    _apparmor_annotations,
    _apparmor,
    _selinux,
    _proc_mount,
    _seccomp,
    _sysctls,
    _escalation,
    _run_as_non_root,
    _run_as_user,
)


def _containers(spec: JsonMap) -> Iterator[tuple[str, JsonMap, JsonMap]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in get_objects(spec, kind):
            yield f"container {container.get('name')}", container, get_object(container, "securityContext")
