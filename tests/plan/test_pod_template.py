"""`podTemplate`, here called overlay: merged into the Pod last, as `kubectl patch` merges.

Fields that the adapter requires keep their values.
"""

import json
from typing import Any

import pytest
from tests.support.plans import a_plan, the_job, the_secret

from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.plan.strategic_merge import merge

Object = dict[str, Any]


def template(overlay: Any, **config: Any) -> Object:
    """The Pod template of a Job with this `podTemplate`."""
    built: Object = the_job(podTemplate=overlay, **config)["spec"]["template"]
    return built


def agent(overlay: Any, **config: Any) -> Object:
    """The agent's container of a Job with this `podTemplate`."""
    (found,) = [c for c in template(overlay, **config)["spec"]["containers"] if c["name"] == "claude"]
    return dict(found)


def notes(overlay: Any) -> str:
    return "\n".join(a_plan(podTemplate=overlay).notes)


# Strategic merge ---------------------------------------------------------------------------------------

MERGES: dict[str, tuple[Object, Object, Object]] = {  # (old, patch, new)
    "maps merge": ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
    "scalars are replaced": ({"a": 1}, {"a": 2}, {"a": 2}),
    "null removes": ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    "a plain list is replaced": ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
    "tolerations are replaced": ({"tolerations": [{"key": "a"}]}, {"tolerations": []}, {"tolerations": []}),
    "named items merge in place": (
        {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]},
        {"containers": [{"name": "c"}, {"name": "a", "tty": True}]},
        {"containers": [{"name": "a", "image": "1", "tty": True}, {"name": "b"}, {"name": "c"}]},
    ),
    "mounts merge by path": (
        {"volumeMounts": [{"mountPath": "/a", "name": "x"}]},
        {"volumeMounts": [{"mountPath": "/a", "readOnly": True}, {"mountPath": "/b", "name": "x"}]},
        {
            "volumeMounts": [
                {"mountPath": "/a", "name": "x", "readOnly": True},
                {"mountPath": "/b", "name": "x"},
            ]
        },
    ),
    "an item is deleted": (
        {"volumes": [{"name": "a"}, {"name": "b"}]},
        {"volumes": [{"name": "a", "$patch": "delete"}]},
        {"volumes": [{"name": "b"}]},
    ),
    "a list is replaced by a directive": (
        {"env": [{"name": "a", "value": "1"}]},
        {"env": [{"$patch": "replace"}, {"name": "b", "value": "2"}]},
        {"env": [{"name": "b", "value": "2"}]},
    ),
    "a map is replaced by a directive": (
        {"nodeSelector": {"a": "1"}},
        {"nodeSelector": {"$patch": "replace", "b": "2"}},
        {"nodeSelector": {"b": "2"}},
    ),
    "a variable has one source": (
        {"env": [{"name": "a", "valueFrom": {"x": 1}}, {"name": "b", "value": "1"}]},
        {"env": [{"name": "a", "value": "2"}, {"name": "b", "valueFrom": {"y": 2}}]},
        {"env": [{"name": "a", "value": "2"}, {"name": "b", "valueFrom": {"y": 2}}]},
    ),
    "a volume has one source": (
        {"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "x"}}]},
        {"volumes": [{"name": "a", "emptyDir": {}}]},
        {"volumes": [{"name": "a", "emptyDir": {}}]},
    ),
    "the same source is refined": (
        {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}]},
        {"volumes": [{"name": "a", "emptyDir": {"medium": "Memory"}}]},
        {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}}]},
    ),
    "other directives do nothing": ({"a": 1}, {"$setElementOrder/env": [], "b": 2}, {"a": 1, "b": 2}),
}


@pytest.mark.parametrize(("old", "patch", "new"), MERGES.values(), ids=list(MERGES))
def test_merge_as_kubectl_does(old: Object, patch: Object, new: Object) -> None:
    before = json.dumps([old, patch])
    assert merge(old, patch) == new
    assert json.dumps([old, patch]) == before


# In the Pod --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda spec: {"spec": spec},
        lambda spec: spec,
        lambda spec: {"template": {"spec": spec}},
        lambda spec: json.dumps({"spec": spec}),
        lambda spec: {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {}, "spec": spec},
    ],
    ids=["template", "bare spec", "of a Job", "JSON", "manifest"],
)
def test_overlay_in_every_form_is_applied_after_the_other_settings(wrap: Any) -> None:
    overlay = {"nodeSelector": {"disk": "nvme"}, "containers": [{"name": "claude", "tty": True}]}
    spec = template(wrap(overlay), nodeSelector={"disk": "ssd", "zone": "a"})["spec"]
    assert spec["nodeSelector"] == {"disk": "nvme", "zone": "a"}
    assert spec["containers"][0]["tty"] is True
    assert notes(wrap(overlay)) == ""


def test_overlay_adds_labels_but_cannot_change_reserved_ones() -> None:
    labels = {"team": "blue", "paperclip.io/agent-id": "other", "app.kubernetes.io/component": "x"}
    overlay = {"metadata": {"labels": labels, "annotations": {"paperclip.io/relay-nonce": "y", "note": "z"}}}
    meta = template(overlay)["metadata"]
    assert meta["labels"]["team"] == "blue"
    assert meta["labels"]["paperclip.io/agent-id"] == "ada"
    assert meta["labels"]["app.kubernetes.io/component"] == "agent-job"
    assert meta["annotations"]["note"] == "z"
    assert meta["annotations"]["paperclip.io/relay-nonce"] == "0123abcd"
    assert "metadata.labels.paperclip.io/agent-id" in notes(overlay)


RESTART_AT_42 = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
RESTART_ALL = {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}

CHANGES_OF_REQUIRED_FIELDS: dict[str, Object] = {  # path of the field → overlay that changes it
    "spec.restartPolicy": {"restartPolicy": "Always"},
    "spec.containers.claude.command": {"containers": [{"name": "claude", "command": ["sleep"]}]},
    "spec.containers.claude.args": {"containers": [{"name": "claude", "args": ["x"]}]},
    "spec.containers.claude.terminationMessagePath": {
        "containers": [{"name": "claude", "terminationMessagePath": "/x"}]
    },
    "spec.containers.claude.restartPolicy": {
        "containers": [{"name": "claude", "restartPolicy": "OnFailure"}]
    },
    "spec.containers.claude.restartPolicyRules": {
        "containers": [{"name": "claude", "restartPolicyRules": [RESTART_AT_42]}]
    },
    "spec.containers.claude.env.PAPERCLIP_RUN_ID.value": {
        "containers": [{"name": "claude", "env": [{"name": "PAPERCLIP_RUN_ID", "value": "other"}]}]
    },
    "spec.containers.claude.env.PAPERCLIP_API_KEY.valueFrom": {
        "containers": [{"name": "claude", "env": [{"name": "PAPERCLIP_API_KEY", "value": ""}]}]
    },
    "spec.containers.claude.env.HOME.value": {
        "containers": [{"name": "claude", "env": [{"name": "HOME", "value": "/root"}]}]
    },
    "spec.containers.claude": {"containers": [{"name": "claude", "$patch": "delete"}]},
    "spec.volumes.run.emptyDir": {"volumes": [{"name": "run", "emptyDir": {}}]},
    "spec.volumes.run": {"volumes": [{"name": "run", "$patch": "delete"}]},
}


@pytest.mark.parametrize(
    ("path", "overlay"), CHANGES_OF_REQUIRED_FIELDS.items(), ids=list(CHANGES_OF_REQUIRED_FIELDS)
)
def test_required_fields_stay_and_are_reported(path: str, overlay: Object) -> None:
    assert _sorted_items(template(overlay)) == _sorted_items(template(None))
    assert "required fields were not overridden" in notes(overlay)
    assert path in notes(overlay)


def test_overlay_may_set_a_variable_whose_name_begins_with_home() -> None:
    mine = {"name": "HOMEBREW_PREFIX", "value": "/opt"}
    assert mine in agent({"containers": [{"name": "claude", "env": [mine]}]})["env"]


@pytest.mark.parametrize(
    ("name", "config"),
    [("docker", {"enableDocker": True}), ("write-prompt", {"promptDelivery": "init"})],
)
@pytest.mark.parametrize(
    "change",
    [
        {"restartPolicy": "Always", "restartPolicyRules": [RESTART_AT_42]},
        {"restartPolicy": None, "restartPolicyRules": [RESTART_ALL]},
        {"restartPolicy": "Never"},
    ],
)
def test_overlay_cannot_change_restarts_of_the_adapters_init_containers(
    name: str, config: Object, change: Object
) -> None:
    def restarts(overlay: Object | None) -> Object:
        (found,) = [c for c in template(overlay, **config)["spec"]["initContainers"] if c["name"] == name]
        return {key: value for key, value in found.items() if key.startswith("restart")}

    (ours,) = template(None, **config)["spec"]["initContainers"]
    assert ours["name"] == name
    assert restarts({"initContainers": [{"name": name, "tty": True, **change}]}) == restarts(None)


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_container_of_the_overlay_may_restart_only_itself(kind: str) -> None:
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

    def rules(*given: Object) -> Any:
        proxy = {"name": "proxy", "image": "x", "securityContext": safe, "restartPolicyRules": list(given)}
        overlay = {kind: [proxy]}
        (found,) = [c for c in template(overlay)["spec"][kind] if c["name"] == "proxy"]
        return found.get("restartPolicyRules"), notes(overlay)

    assert rules(RESTART_AT_42) == ([RESTART_AT_42], "")
    kept, reported = rules(RESTART_ALL, RESTART_AT_42)
    assert kept == [RESTART_AT_42]
    assert f"spec.{kind}.proxy.restartPolicyRules" in reported
    kept, reported = rules(RESTART_ALL)
    assert kept is None
    assert f"spec.{kind}.proxy.restartPolicyRules" in reported


def test_agent_is_not_restarted_on_resize() -> None:
    harmless = {"resourceName": "cpu", "restartPolicy": "NotRequired"}
    restarting = {"resourceName": "memory", "restartPolicy": "RestartContainer"}
    overlay = {"containers": [{"name": "claude", "resizePolicy": [harmless, restarting]}]}
    assert agent(overlay)["resizePolicy"] == [harmless]
    assert "spec.containers.claude.resizePolicy" in notes(overlay)


def test_overlay_may_set_probes_hooks_and_deadline() -> None:
    probe = {"exec": {"command": ["true"]}}
    mine = {"livenessProbe": probe, "startupProbe": probe, "lifecycle": {"preStop": probe}}
    overlay = {"activeDeadlineSeconds": 60, "containers": [{"name": "claude", **mine}]}
    spec = template(overlay)["spec"]
    assert spec["activeDeadlineSeconds"] == 60
    assert spec["restartPolicy"] == "Never"
    assert agent(overlay).items() >= mine.items()
    assert notes(overlay) == ""


def _sorted_items(value: Any) -> Any:
    """The value with named items in a fixed order."""
    if isinstance(value, list):
        items = [_sorted_items(item) for item in value]
        return sorted(items, key=json.dumps) if all(isinstance(item, dict) for item in items) else items
    return (
        {key: _sorted_items(item) for key, item in sorted(value.items())}
        if isinstance(value, dict)
        else value
    )


def test_overlay_may_change_env_image_and_resources() -> None:
    overlay = {
        "containers": [
            {
                "name": "claude",
                "image": "other:2",
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
                "env": [{"name": "MINE", "value": "1"}],
            }
        ]
    }
    found = agent(overlay)
    assert found["image"] == "other:2"
    assert found["resources"]["limits"] == {"cpu": "4000m", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert {"name": "MINE", "value": "1"} in found["env"]


def test_label_or_selector_named_like_a_merged_list_is_merged_as_text() -> None:
    overlay = {"metadata": {"labels": {"env": "prod"}}, "spec": {"nodeSelector": {"env": "prod"}}}
    assert template(overlay)["spec"]["nodeSelector"] == {"env": "prod"}


def test_secrets_of_the_overlay_are_in_run_secret() -> None:
    env = [{"name": "MY_TOKEN", "value": "c4n4ry-1"}, {"name": "URL", "value": "https://u:c4n4ry-2@x"}]
    overlay = {
        "containers": [{"name": "claude", "env": env}],
        "initContainers": [{"name": "setup", "image": "x", "env": env[:1]}],
    }
    job, secret = the_job(podTemplate=overlay), the_secret(podTemplate=overlay)
    assert "c4n4ry" not in json.dumps(job)
    assert secret["stringData"]["pod.claude.MY_TOKEN"] == "c4n4ry-1"
    assert secret["stringData"]["pod.claude.URL"] == "https://u:c4n4ry-2@x"
    assert secret["stringData"]["pod.setup.MY_TOKEN"] == "c4n4ry-1"
    (own,) = [entry for entry in agent(overlay)["env"] if entry["name"] == "MY_TOKEN"]
    assert own["valueFrom"]["secretKeyRef"]["key"] == "pod.claude.MY_TOKEN"
    assert "c4n4ry" not in repr(a_plan(podTemplate=overlay))


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        ("no JSON", "a Pod template"),
        ([], "a Pod template"),
        ({"spec": []}, "spec as an object"),
        ({"spec": {"containers": {"name": "claude"}}}, "spec.containers as a list"),
        ({"spec": {"containers": "claude"}}, "spec.containers as a list"),
        ({"spec": {"containers": ["claude"]}}, "spec.containers as a list of objects"),
        ({"spec": {"containers": [{"image": "c4n4ry"}]}}, "spec.containers with name in each item"),
        ({"spec": {"containers": [{"name": "c", "env": [{"value": "c4n4ry"}]}]}}, "containers.env with name"),
        ({"spec": {}, "status": {}}, r"not status"),
    ],
)
def test_invalid_overlay_is_refused_without_quoting_it(overlay: Any, expected: str) -> None:
    with pytest.raises(ConfigInvalid, match=expected) as bad:
        AdapterConfig.read({"podTemplate": overlay})
    assert "c4n4ry" not in str(bad.value)
