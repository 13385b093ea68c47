"""The Pod Security Standard `restricted`, rule by rule, over a Pod's template.

Source: kubernetes.io/docs/concepts/security/pod-security-standards. Rules of `baseline` are part of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.json_readers import get_object, get_objects
from paperclip_claude_k8s.host.context import JsonMap


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod's template as the rules look at it."""

    annotations: JsonMap
    spec: JsonMap
    context: JsonMap
    """The Pod's own security context."""
    containers: Sequence[tuple[str, JsonMap, JsonMap]]
    """Who, the container, its security context."""

    @classmethod
    def of(cls, template: JsonMap) -> "Pod":
        spec = get_object(template, "spec")
        annotations = get_object(get_object(template, "metadata"), "annotations")
        return cls(annotations, spec, get_object(spec, "securityContext"), tuple(_containers(spec)))

    @property
    def contexts(self) -> Iterator[tuple[str, JsonMap]]:
        """Who and its security context: the Pod's and each container's."""
        yield "the Pod", self.context
        for who, _, context in self.containers:
            yield who, context

    def effective(self, key: str) -> Iterator[tuple[str, Any]]:
        """What holds for each container: its own word, else the Pod's."""
        for who, _, context in self.containers:
            yield who, context.get(key, self.context.get(key))


Rule: TypeAlias = Callable[[Pod], Iterable[str]]
"""One short sentence per violation."""

_VOLUMES = frozenset(
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
_SYSCTLS = frozenset(
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
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_ACTIONS = ("httpGet", "tcpSocket")


def weaknesses(template: JsonMap) -> tuple[str, ...]:
    """Every way in which this Pod falls short of `restricted`, in words; nothing for one that meets it."""
    pod = Pod.of(template)
    return tuple(found for rule in RULES for found in rule(pod))


# The Pod as a whole ------------------------------------------------------------------------------------


def _host_namespaces(pod: Pod) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield f"{key} is on"


def _volume_types(pod: Pod) -> Iterator[str]:
    for volume in get_objects(pod.spec, "volumes"):
        for kind in sorted({*volume} - _VOLUMES - {"name"}):
            yield f"volume {volume.get('name')} is of type {kind}"


def _sysctls(pod: Pod) -> Iterator[str]:
    for sysctl in get_objects(pod.context, "sysctls"):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"sysctl {sysctl.get('name')} is set"


def _apparmor_annotations(pod: Pod) -> Iterator[str]:
    for key, value in pod.annotations.items():
        allowed = value in {"", "runtime/default"} or str(value).startswith("localhost/")
        if key.startswith(_APPARMOR_ANNOTATION) and not allowed:
            yield f"AppArmor profile of {key.removeprefix(_APPARMOR_ANNOTATION)} is {value}"


# Pod and containers ------------------------------------------------------------------------------------


def _windows(pod: Pod) -> Iterator[str]:
    for who, context in pod.contexts:
        if get_object(context, "windowsOptions").get("hostProcess"):
            yield f"{who} is a Windows HostProcess"


def _selinux(pod: Pod) -> Iterator[str]:
    for who, context in pod.contexts:
        options = get_object(context, "seLinuxOptions")
        if options.get("type", "") not in _SELINUX_TYPES or options.get("user") or options.get("role"):
            yield f"{who} sets SELinux options of its own"


def _apparmor(pod: Pod) -> Iterator[str]:
    for who, context in pod.contexts:
        profile = get_object(context, "appArmorProfile").get("type")
        if profile is not None and profile not in _PROFILES:
            yield f"{who} has AppArmor profile {profile}"


def _run_as_user(pod: Pod) -> Iterator[str]:
    for who, context in pod.contexts:
        if context.get("runAsUser") == 0:
            yield f"{who} runs as user 0"


def _run_as_non_root(pod: Pod) -> Iterator[str]:
    for who, value in pod.effective("runAsNonRoot"):
        if value is not True:
            yield f"{who} may run as root (runAsNonRoot is not true)"


def _seccomp(pod: Pod) -> Iterator[str]:
    for who, profile in pod.effective("seccompProfile"):
        kind = profile.get("type") if isinstance(profile, Mapping) else None
        if kind not in _PROFILES:
            yield f"{who} has seccomp profile {kind or 'none'}"


# Containers --------------------------------------------------------------------------------------------


def _privileged(pod: Pod) -> Iterator[str]:
    for who, _, context in pod.containers:
        if context.get("privileged"):
            yield f"{who} is privileged"


def _escalation(pod: Pod) -> Iterator[str]:
    for who, _, context in pod.containers:
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{who} may escalate privileges"


def _capabilities(pod: Pod) -> Iterator[str]:
    for who, _, context in pod.containers:
        capabilities = get_object(context, "capabilities")
        if "ALL" not in (capabilities.get("drop") or ()):
            yield f"{who} does not drop ALL capabilities"
        for added in capabilities.get("add") or ():
            if added != "NET_BIND_SERVICE":
                yield f"{who} adds capability {added}"


def _proc_mount(pod: Pod) -> Iterator[str]:
    for who, _, context in pod.containers:
        if context.get("procMount") not in {None, "", "Default"}:
            yield f"{who} has procMount {context['procMount']}"


def _host_ports(pod: Pod) -> Iterator[str]:
    for who, container, _ in pod.containers:
        for port in get_objects(container, "ports"):
            if port.get("hostPort"):
                yield f"{who} takes host port {port['hostPort']}"


def _probed_hosts(pod: Pod) -> Iterator[str]:
    for who, container, _ in pod.containers:
        asking = [get_object(container, probe) for probe in _PROBES]
        asking += [get_object(get_object(container, "lifecycle"), hook) for hook in _HOOKS]
        if any(get_object(asked, action).get("host") for asked in asking for action in _ACTIONS):
            yield f"{who} has a probe or hook that names a host"


RULES: tuple[Rule, ...] = (
    _windows,
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
