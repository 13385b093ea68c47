"""The Pod Security Standard `restricted`, rule by rule, over a Pod's template.

Source: kubernetes.io/docs/concepts/security/pod-security-standards. Rules of `baseline` are part of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from paperclip_claude_k8s.host.context import JsonMap

Rule: TypeAlias = Callable[[JsonMap], Iterable[str]]
"""A Pod's template → one short sentence per violation."""

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
    return tuple(found for rule in RULES for found in rule(template))


# The Pod as a whole ------------------------------------------------------------------------------------


def _host_namespaces(template: JsonMap) -> Iterator[str]:
    spec = _map(template, "spec")
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{key} is on"


def _volume_types(template: JsonMap) -> Iterator[str]:
    for volume in _maps(_map(template, "spec"), "volumes"):
        for kind in sorted({*volume} - _VOLUMES - {"name"}):
            yield f"volume {volume.get('name')} is of type {kind}"


def _sysctls(template: JsonMap) -> Iterator[str]:
    for sysctl in _maps(_map(_map(template, "spec"), "securityContext"), "sysctls"):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"sysctl {sysctl.get('name')} is set"


def _apparmor_annotations(template: JsonMap) -> Iterator[str]:
    for key, value in _map(_map(template, "metadata"), "annotations").items():
        allowed = value in {"", "runtime/default"} or str(value).startswith("localhost/")
        if key.startswith(_APPARMOR_ANNOTATION) and not allowed:
            yield f"AppArmor profile of {key.removeprefix(_APPARMOR_ANNOTATION)} is {value}"


# Pod and containers ------------------------------------------------------------------------------------


def _windows(template: JsonMap) -> Iterator[str]:
    for who, context in _contexts(template):
        if _map(context, "windowsOptions").get("hostProcess"):
            yield f"{who} is a Windows HostProcess"


def _selinux(template: JsonMap) -> Iterator[str]:
    for who, context in _contexts(template):
        options = _map(context, "seLinuxOptions")
        if options.get("type", "") not in _SELINUX_TYPES or options.get("user") or options.get("role"):
            yield f"{who} sets SELinux options of its own"


def _apparmor(template: JsonMap) -> Iterator[str]:
    for who, context in _contexts(template):
        profile = _map(context, "appArmorProfile").get("type")
        if profile is not None and profile not in _PROFILES:
            yield f"{who} has AppArmor profile {profile}"


def _run_as_user(template: JsonMap) -> Iterator[str]:
    for who, context in _contexts(template):
        if context.get("runAsUser") == 0:
            yield f"{who} runs as user 0"


def _run_as_non_root(template: JsonMap) -> Iterator[str]:
    for who, value in _effective(template, "runAsNonRoot"):
        if value is not True:
            yield f"{who} may run as root (runAsNonRoot is not true)"


def _seccomp(template: JsonMap) -> Iterator[str]:
    for who, profile in _effective(template, "seccompProfile"):
        kind = profile.get("type") if isinstance(profile, Mapping) else None
        if kind not in _PROFILES:
            yield f"{who} has seccomp profile {kind or 'none'}"


# Containers --------------------------------------------------------------------------------------------


def _privileged(template: JsonMap) -> Iterator[str]:
    for who, _, context in _containers(template):
        if context.get("privileged"):
            yield f"{who} is privileged"


def _escalation(template: JsonMap) -> Iterator[str]:
    for who, _, context in _containers(template):
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{who} may escalate privileges"


def _capabilities(template: JsonMap) -> Iterator[str]:
    for who, _, context in _containers(template):
        capabilities = _map(context, "capabilities")
        if "ALL" not in (capabilities.get("drop") or ()):
            yield f"{who} does not drop ALL capabilities"
        for added in capabilities.get("add") or ():
            if added != "NET_BIND_SERVICE":
                yield f"{who} adds capability {added}"


def _proc_mount(template: JsonMap) -> Iterator[str]:
    for who, _, context in _containers(template):
        if context.get("procMount") not in {None, "", "Default"}:
            yield f"{who} has procMount {context['procMount']}"


def _host_ports(template: JsonMap) -> Iterator[str]:
    for who, container, _ in _containers(template):
        for port in _maps(container, "ports"):
            if port.get("hostPort"):
                yield f"{who} takes host port {port['hostPort']}"


def _probed_hosts(template: JsonMap) -> Iterator[str]:
    for who, container, _ in _containers(template):
        asking = [_map(container, probe) for probe in _PROBES]
        asking += [_map(_map(container, "lifecycle"), hook) for hook in _HOOKS]
        if any(_map(asked, action).get("host") for asked in asking for action in _ACTIONS):
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


def _containers(template: JsonMap) -> Iterator[tuple[str, JsonMap, JsonMap]]:
    """Who, the container, its security context."""
    spec = _map(template, "spec")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in _maps(spec, kind):
            yield f"container {container.get('name')}", container, _map(container, "securityContext")


def _contexts(template: JsonMap) -> Iterator[tuple[str, JsonMap]]:
    """Who and its security context: the Pod's and each container's."""
    yield "the Pod", _map(_map(template, "spec"), "securityContext")
    for who, _, context in _containers(template):
        yield who, context


def _effective(template: JsonMap, key: str) -> Iterator[tuple[str, Any]]:
    """What holds for each container: its own word, else the Pod's."""
    ours = _map(_map(template, "spec"), "securityContext").get(key)
    for who, _, context in _containers(template):
        yield who, context.get(key, ours)


def _map(source: Mapping[str, Any], key: str) -> JsonMap:
    value = source.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def _maps(source: Mapping[str, Any], key: str) -> list[JsonMap]:
    value = source.get(key)
    return [dict(item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
