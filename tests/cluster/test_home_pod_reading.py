"""What Jobs inherit from the home pod, in which the host runs: image, environment and shared volumes."""

import json
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.cluster.home_pod_reading import TOKEN_MOUNT, read_home_pod
from paperclip_claude_k8s.cluster.model import HomeMount, HomePod, NotInherited

RECORDED = Path(__file__).parents[2] / "fixtures" / "kubernetes" / "pod-home.json"
CLAIM: dict[str, Any] = {"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}}
KEYS: dict[str, Any] = {
    "name": "keys",
    "secret": {"secretName": "keys", "items": [{"key": "id", "path": "id_rsa"}]},
}
COMPANY_CA: dict[str, Any] = {"name": "ca", "configMap": {"name": "company-ca"}}


def home(volumes: list[Any], mounts: list[Any], env: list[Any] | None = None) -> HomePod:
    """The home pod `paperclip-0` in namespace `ns` with these volumes and mounts."""
    container = {"name": "paperclip", "volumeMounts": mounts, "env": env or []}
    meta = {"name": "paperclip-0", "namespace": "ns"}
    return read_home_pod(
        {"metadata": meta, "spec": {"containers": [container], "volumes": volumes}}, "paperclip"
    )


def test_recorded_home_pod_has_what_jobs_inherit_without_its_token() -> None:
    recorded = read_home_pod(json.loads(RECORDED.read_text(encoding="utf-8")), "paperclip")
    assert (recorded.namespace, recorded.name, recorded.image) == (
        "paperclip",
        "paperclip-0",
        "local/agent:1",
    )
    names = [entry["name"] for entry in recorded.env]
    assert names == ["PAPERCLIP_API_URL", "ANTHROPIC_API_KEY", "DEPLOY_ENV"]
    assert recorded.claim_name == "paperclip-data"
    assert [mount.path for mount in recorded.mounts] == ["/paperclip", "/etc/provider"]
    assert recorded.not_inherited == ()
    assert recorded.dns_policy == "ClusterFirst"
    assert recorded.affinity is None


def test_home_pod_without_the_named_container_is_read_from_its_first_one() -> None:
    pod = {"spec": {"containers": [{"name": "web", "image": "a"}, {"name": "db", "image": "b"}]}}
    assert read_home_pod(pod, "paperclip").image == "a"
    assert read_home_pod(pod, "db").image == "b"
    assert read_home_pod({}, "paperclip").image == ""


def test_sub_path_and_read_only_of_each_mount_are_kept() -> None:
    pod = home(
        [CLAIM, KEYS, COMPANY_CA],
        [
            {"name": "data", "mountPath": "/paperclip", "subPath": "team-a"},
            {"name": "keys", "mountPath": "/a"},
            {"name": "keys", "mountPath": "/b", "readOnly": True},
            {"name": "ca", "mountPath": "/etc/ssl/ca.pem", "subPath": "ca.pem"},
        ],
    )
    assert pod.claim_name == "paperclip-data"
    assert pod.mounts == (
        HomeMount("/paperclip", CLAIM, "team-a"),
        HomeMount("/a", KEYS),
        HomeMount("/b", KEYS, read_only=True),
        HomeMount("/etc/ssl/ca.pem", COMPANY_CA, "ca.pem"),
    )


def test_claim_that_is_mounted_twice_is_found() -> None:
    again: dict[str, Any] = {"name": "again", "persistentVolumeClaim": {"claimName": "paperclip-data"}}
    pod = home(
        [CLAIM, again],
        [
            {"name": "data", "mountPath": "/paperclip/", "subPath": "home"},
            {"name": "data", "mountPath": "/data", "subPath": "data"},
            {"name": "again", "mountPath": "/all"},
        ],
    )
    assert pod.claim_name == "paperclip-data"
    assert [(m.path, m.sub_path) for m in pod.mounts] == [
        ("/paperclip", "home"),
        ("/data", "data"),
        ("/all", ""),
    ]


def test_sub_path_expression_is_resolved_with_the_home_pods_values() -> None:
    env = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TEAM", "value": "team-a"},
        {"name": "DIR", "value": "$(TEAM)/x"},
    ]
    pod = home([CLAIM], [{"name": "data", "mountPath": "/paperclip", "subPathExpr": "$(DIR)/$(POD)"}], env)
    assert pod.mounts == (HomeMount("/paperclip", CLAIM, "team-a/x/paperclip-0"),)


def test_claim_whose_sub_path_expression_has_an_unknown_value_is_not_inherited() -> None:
    env = [{"name": "TEAM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "team"}}}]
    pod = home([CLAIM], [{"name": "data", "mountPath": "/paperclip", "subPathExpr": "$(TEAM)"}], env)
    assert (pod.claim_name, pod.mounts) == ("", ())
    (refused,) = pod.not_inherited
    assert (refused.path, "TEAM" in refused.why) == ("/paperclip", True)


def test_volumes_that_another_pod_cannot_share_are_listed() -> None:
    token = {"serviceAccountToken": {"path": "token", "audience": "sts.amazonaws.com"}}
    projected = {"name": "aws", "projected": {"sources": [token]}}
    mixed = {
        "name": "mixed",
        "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]},
    }
    own_token = {"name": "kube-api-access-x", "projected": {"sources": [token]}}  # each Pod gets its own
    pod = home(
        [
            CLAIM,
            projected,
            mixed,
            own_token,
            {"name": "cache", "emptyDir": {}},
            {"name": "node", "hostPath": {"path": "/"}},
            {"name": "db", "persistentVolumeClaim": {"claimName": "postgres"}},
        ],
        [
            {"name": "data", "mountPath": "/paperclip"},
            {"name": "aws", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount"},
            {"name": "mixed", "mountPath": "/etc/mixed"},
            {"name": "kube-api-access-x", "mountPath": TOKEN_MOUNT},
            {"name": "cache", "mountPath": "/cache"},
            {"name": "node", "mountPath": "/node"},
            {"name": "db", "mountPath": "/var/lib/postgresql"},
        ],
    )
    assert [mount.path for mount in pod.mounts] == ["/paperclip", "/etc/mixed"]
    assert pod.not_inherited == (
        NotInherited(
            "/var/run/secrets/eks.amazonaws.com/serviceaccount", "aws", "projected serviceAccountToken"
        ),
        NotInherited("/cache", "cache", "emptyDir"),
        NotInherited("/node", "node", "hostPath"),
        NotInherited("/var/lib/postgresql", "db", "a claim that is not mounted at /paperclip"),
    )
