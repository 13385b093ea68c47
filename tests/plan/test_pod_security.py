"""The rules of the Pod Security Standard `restricted`, and the Pods of plans, which meet them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.plans import a_context, a_plan, the_job

from paperclip_claude_k8s.cluster.model import HomeMount, HomePod
from paperclip_claude_k8s.plan.environment import ENV_STRING_BYTES
from paperclip_claude_k8s.plan.pod_security import RULES, Pod, violations

Object = dict[str, Any]

SAFE: Object = {
    "metadata": {},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "c",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}


def violations_after(change: Callable[[Object, Object], object]) -> tuple[str, ...]:
    """The violations of the safe Pod after `change(spec, container)`."""
    template = copy.deepcopy(SAFE)
    spec = template["spec"]
    change(spec, spec["containers"][0])
    return violations(template)


def set_context(part: Object, **more: Any) -> None:
    """Set fields of the security context of a Pod's spec or of a container."""
    part["securityContext"] = {**part.get("securityContext", {}), **more}


HTTP = {"httpGet": {"host": "10.0.0.1", "port": 1}}
VIOLATING_CHANGES: dict[str, tuple[Callable[[Object, Object], object], str]] = {  # change(spec, container)
    "host process, Pod": (
        lambda s, _: set_context(s, windowsOptions={"hostProcess": True}),
        "the Pod is a Windows HostProcess",
    ),
    "host process": (
        lambda _, c: set_context(c, windowsOptions={"hostProcess": True}),
        "container c is a Windows HostProcess",
    ),
    "host network": (lambda s, _: s.update(hostNetwork=True), "hostNetwork is on"),
    "host pid": (lambda s, _: s.update(hostPID=True), "hostPID is on"),
    "host ipc": (lambda s, _: s.update(hostIPC=True), "hostIPC is on"),
    "privileged": (lambda _, c: set_context(c, privileged=True), "container c is privileged"),
    "capability": (
        lambda _, c: set_context(c, capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "NET_RAW"]}),
        "container c adds capability NET_RAW",
    ),
    "no drop": (
        lambda _, c: set_context(c, capabilities={"drop": ["NET_RAW"]}),
        "container c does not drop ALL capabilities",
    ),
    "host path": (
        lambda s, _: s["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
        "volume h is of type hostPath",
    ),
    "nfs": (lambda s, _: s["volumes"].append({"name": "n", "nfs": {}}), "volume n is of type nfs"),
    "host port": (
        lambda _, c: c.update(ports=[{"containerPort": 1, "hostPort": 80}]),
        "container c takes host port 80",
    ),
    "probe": (lambda _, c: c.update(livenessProbe=HTTP), "container c has a probe or hook that names a host"),
    "hook": (
        lambda _, c: c.update(lifecycle={"preStop": HTTP}),
        "container c has a probe or hook that names a host",
    ),
    "apparmor, Pod": (
        lambda s, _: set_context(s, appArmorProfile={"type": "Unconfined"}),
        "the Pod has AppArmor profile Unconfined",
    ),
    "apparmor": (
        lambda _, c: set_context(c, appArmorProfile={"type": "Unconfined"}),
        "container c has AppArmor profile Unconfined",
    ),
    "selinux type": (
        lambda s, _: set_context(s, seLinuxOptions={"type": "spc_t"}),
        "the Pod sets SELinux options of its own",
    ),
    "selinux user": (
        lambda _, c: set_context(c, seLinuxOptions={"user": "u"}),
        "container c sets SELinux options of its own",
    ),
    "selinux role": (
        lambda _, c: set_context(c, seLinuxOptions={"role": "r"}),
        "container c sets SELinux options of its own",
    ),
    "proc": (lambda _, c: set_context(c, procMount="Unmasked"), "container c has procMount Unmasked"),
    "seccomp": (
        lambda _, c: set_context(c, seccompProfile={"type": "Unconfined"}),
        "container c has seccomp profile Unconfined",
    ),
    "no seccomp": (
        lambda s, _: s["securityContext"].pop("seccompProfile"),
        "container c has seccomp profile none",
    ),
    "sysctl": (
        lambda s, _: set_context(s, sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
        "sysctl kernel.msgmax is set",
    ),
    "escalation": (
        lambda _, c: c["securityContext"].pop("allowPrivilegeEscalation"),
        "container c may escalate privileges",
    ),
    "root": (
        lambda s, _: s["securityContext"].pop("runAsNonRoot"),
        "container c may run as root (runAsNonRoot is not true)",
    ),
    "root in the container": (
        lambda _, c: set_context(c, runAsNonRoot=False),
        "container c may run as root (runAsNonRoot is not true)",
    ),
    "user 0, Pod": (lambda s, _: set_context(s, runAsUser=0), "the Pod runs as user 0"),
    "user 0": (lambda _, c: set_context(c, runAsUser=0), "container c runs as user 0"),
}


@pytest.mark.parametrize(("change", "violation"), VIOLATING_CHANGES.values(), ids=list(VIOLATING_CHANGES))
def test_each_violation_is_reported_alone(change: Callable[[Object, Object], object], violation: str) -> None:
    assert violations_after(change) == (violation,)


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_rules_cover_every_kind_of_container(kind: str) -> None:
    found = violations_after(
        lambda s, _: s.update({kind: [{"name": "x", "securityContext": {"privileged": True}}]})
    )
    assert found == (
        "container x is privileged",
        "container x does not drop ALL capabilities",
        "container x may escalate privileges",
    )


def test_unconfined_apparmor_annotation_is_reported() -> None:
    template = copy.deepcopy(SAFE)
    key = "container.apparmor.security.beta.kubernetes.io/c"
    template["metadata"]["annotations"] = {key: "unconfined", "other": "unconfined"}
    assert violations(template) == ("AppArmor profile of c is unconfined",)
    template["metadata"]["annotations"] = {key: "localhost/mine"}
    assert violations(template) == ()


def test_allowed_settings_are_not_reported() -> None:
    def make_allowed_changes(spec: Object, container: Object) -> None:
        set_context(spec, runAsUser=7, sysctls=[{"name": "net.ipv4.tcp_syncookies"}])
        set_context(
            container, capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, procMount="Default"
        )
        set_context(container, seLinuxOptions={"type": "container_t"}, seccompProfile={"type": "Localhost"})
        container.update(livenessProbe={"httpGet": {"port": 1}}, ports=[{"containerPort": 1, "hostPort": 0}])
        kinds = (
            "configMap",
            "csi",
            "downwardAPI",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        )
        spec["volumes"] += [{"name": kind, kind: {}} for kind in kinds]

    assert violations_after(make_allowed_changes) == ()


def test_every_rule_has_a_violating_case() -> None:
    untested = set(RULES)
    for change, _ in VIOLATING_CHANGES.values():
        template = copy.deepcopy(SAFE)
        change(template["spec"], template["spec"]["containers"][0])
        untested -= {rule for rule in RULES if list(rule(Pod.of(template)))}
    assert {rule.__name__ for rule in untested} == {"_apparmor_annotations"}  # tested separately


# The Pods of plans -------------------------------------------------------------------------------------

FULL_HOME = HomePod(
    namespace="ns",
    name="h",
    image="i",
    env=[{"name": "A_KEY", "value": "x"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
    env_from=[{"secretRef": {"name": "s"}}],
    claim_name="data",
    mounts=[HomeMount("/etc/s", {"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400}})],
    affinity={"nodeAffinity": {}},
)
VARIANTS: dict[str, Object] = {  # settings, and other arguments of `a_plan`
    "defaults": {},
    "without a home": {"home": None},
    "a full home": {"home": FULL_HOME},
    "init": {"promptDelivery": "init"},
    "init without a home": {"promptDelivery": "init", "home": None},
    "queue": {"queueName": "night"},
    "service account": {"serviceAccountName": "sa"},
    "shortened tool output": {"enableRtk": True},
    "mcp": {"mcpServers": {"a": {"url": "https://x.example", "headers": {"Authorization": "Bearer x"}}}},
    "other user": {"runAsUser": 4711},
    "classes": {"runtimeClassName": "gvisor", "priorityClassName": "high"},
    "limits": {"timeoutSec": 5, "logSizeLimit": "1Mi", "resources.limits.cpu": "1"},
    "run log": {"teeRunLog": True, "volume_here": "/paperclip"},
    "sidecar in podTemplate": {
        "podTemplate": {
            "spec": {
                "containers": [
                    {
                        "name": "proxy",
                        "image": "p",
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ]
            }
        }
    },
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=list(VARIANTS))
def test_pod_meets_standard_in_every_variant(config: Object) -> None:
    assert violations(the_job(**config)["spec"]["template"]) == ()
    assert not [note for note in a_plan(**config).notes if "Pod Security" in note]


HUGE_CONTEXT = a_context(
    context={
        "paperclipTaskMarkdown": "é$(X)$$" * 60_000,
        "paperclipWake": {"reason": "r", "comments": [{"id": "1", "body": "é$" * 100_000}]},
        "paperclipRuntimeServices": ["s" * 200_000],
    }
)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=list(VARIANTS))
def test_environment_strings_of_all_containers_fit_the_limit(config: Object) -> None:
    env = {
        "LONG": "x" * 300_000,
        "LONG_TOKEN": "y" * 300_000,
        "EDGE": "z" * (ENV_STRING_BYTES - len("EDGE=")),
    }
    spec = the_job(HUGE_CONTEXT, env=env, **config)["spec"]["template"]["spec"]
    strings = [
        f"{entry['name']}={entry.get('value', '')}"
        for container in (*spec.get("initContainers", ()), *spec["containers"])
        for entry in container.get("env", ())
    ]
    assert max(len(text.encode()) for text in strings) <= ENV_STRING_BYTES
    assert any(text.startswith("EDGE=") for text in strings)


def test_violations_by_settings_are_notes_of_the_plan() -> None:
    prefix = "Weaker than the Pod Security Standard `restricted`: "

    def reported(**config: Any) -> list[str]:
        return [note.removeprefix(prefix) for note in a_plan(**config).notes if note.startswith(prefix)]

    assert reported(runAsUser=0) == [
        "container claude may run as root (runAsNonRoot is not true)",
        "the Pod runs as user 0",
    ]
    assert reported(podTemplate={"spec": {"hostNetwork": True}}) == ["hostNetwork is on"]
    assert "container docker is privileged" in reported(enableDocker=True)


@pytest.mark.parametrize("odd", [7, "x", [["ALL"]], {"a": []}, True, [{}]])
def test_rules_do_not_fail_on_values_of_any_type(odd: Any) -> None:
    context = {"capabilities": {"add": odd, "drop": odd}, "procMount": odd, "seccompProfile": {"type": odd}}
    context |= {"seLinuxOptions": {"type": odd}, "appArmorProfile": {"type": odd}}
    annotations = {"container.apparmor.security.beta.kubernetes.io/claude": odd}
    spec = {"containers": [{"name": "claude", "securityContext": context}], "securityContext": context}
    spec |= {"volumes": [{"name": odd, "hostPath": odd}]}
    assert violations({"metadata": {"annotations": annotations}, "spec": spec})
    assert isinstance(violations({"spec": {"securityContext": {"sysctls": [{"name": odd}]}}}), tuple)
