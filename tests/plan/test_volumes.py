"""The volumes of the agent's Pod that come from the home pod, with their mounts."""

from typing import Any

from tests.support.plans import a_plan

from paperclip_claude_k8s.cluster.model import HomeMount, HomePod, NotInherited
from paperclip_claude_k8s.plan.paths import RUN_DIR
from paperclip_claude_k8s.plan.volumes import mounts, volumes

CLAIM: dict[str, Any] = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
KEYS: dict[str, Any] = {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}}
TOKEN_FOLDER = "/var/run/secrets/eks.amazonaws.com/serviceaccount"  # a path, not a secret


def home(*given: HomeMount, **more: Any) -> HomePod:
    return HomePod("ns", "h", "image", claim_name="data", mounts=given, **more)


def mounts_of(plan: Any, name: str) -> list[dict[str, Any]]:
    return [mount for mount in mounts(plan) if mount["name"] == name]


def test_shared_volume_keeps_its_sub_path() -> None:
    plan = a_plan(home=home(HomeMount("/paperclip", CLAIM, sub_path="team-a")))
    assert mounts_of(plan, "home") == [{"name": "home", "mountPath": "/paperclip", "subPath": "team-a"}]
    (volume,) = [v for v in volumes(plan) if "persistentVolumeClaim" in v]
    assert volume == {"name": "home", "persistentVolumeClaim": {"claimName": "data"}}


def test_each_mount_of_the_shared_claim_is_inherited() -> None:
    again: dict[str, Any] = {"name": "again", "persistentVolumeClaim": {"claimName": "data"}}
    plan = a_plan(
        home=home(
            HomeMount("/paperclip", CLAIM, sub_path="home"),
            HomeMount("/refs", again, sub_path="refs", read_only=True),
        )
    )
    assert mounts_of(plan, "home") == [
        {"name": "home", "mountPath": "/paperclip", "subPath": "home"},
        {"name": "home", "mountPath": "/refs", "subPath": "refs", "readOnly": True},
    ]
    assert len([v for v in volumes(plan) if "persistentVolumeClaim" in v]) == 1  # for both mounts


def test_volume_at_two_paths_is_one_volume_with_two_mounts() -> None:
    plan = a_plan(home=home(HomeMount("/a", KEYS), HomeMount("/b/id", KEYS, sub_path="id", read_only=True)))
    assert mounts_of(plan, "home-keys") == [
        {"name": "home-keys", "mountPath": "/a"},
        {"name": "home-keys", "mountPath": "/b/id", "subPath": "id", "readOnly": True},
    ]
    assert [v for v in volumes(plan) if v["name"] == "home-keys"] == [{**KEYS, "name": "home-keys"}]


def test_long_volume_names_stay_different() -> None:
    first, second = ({**KEYS, "name": "x" * 62 + end} for end in "ab")
    plan = a_plan(home=home(HomeMount("/a", first), HomeMount("/b", second)))
    names = {str(mount["name"]) for mount in mounts(plan) if mount["mountPath"] in {"/a", "/b"}}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)
    assert names < {volume["name"] for volume in volumes(plan)}


def test_mount_in_a_folder_of_the_adapter_is_left_out_and_reported() -> None:
    plan = a_plan(home=home(HomeMount(f"{RUN_DIR}/keys", KEYS)))
    assert "home-keys" not in {volume["name"] for volume in volumes(plan)}
    assert any(f"{RUN_DIR}/keys" in note for note in plan.notes)


def test_volumes_that_are_not_inherited_are_reported() -> None:
    plan = a_plan(home=home(not_inherited=[NotInherited("/cache", "cache", "emptyDir")]))
    assert "Volumes of the home pod that the agent does not get: /cache (emptyDir)" in plan.notes


# Variables that name files on volumes that are not inherited ------------------------------------


def home_with_cloud_identity() -> HomePod:
    """A home pod to which a webhook has given a cloud identity."""
    env = [
        {"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::1:role/host"},
        {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/token"},
        {"name": "AWS_REGION", "value": "eu-west-1"},
    ]
    return home(env=env, not_inherited=[NotInherited(TOKEN_FOLDER, "aws", "projected serviceAccountToken")])


def test_cloud_identity_of_the_host_is_dropped_and_reported() -> None:
    plan = a_plan(home=home_with_cloud_identity())
    assert plan.environment.literals["AWS_REGION"] == "eu-west-1"
    assert not {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} & plan.environment.names
    (note,) = [note for note in plan.notes if "cloud identity" in note]
    assert "AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE" in note
    assert "serviceAccountName" in note


def test_cloud_identity_is_dropped_without_a_note_if_the_job_has_its_own_account() -> None:
    plan = a_plan(home=home_with_cloud_identity(), serviceAccountName="agents")
    assert not {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} & plan.environment.names
    assert not [note for note in plan.notes if "cloud identity" in note]


def test_role_without_a_token_file_is_inherited() -> None:
    plan = a_plan(home=home(env=[{"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::1:role/r"}]))
    assert "AWS_ROLE_ARN" in plan.environment.names
    assert not [note for note in plan.notes if "cloud identity" in note]


def test_certificate_is_reported_only_if_its_volume_is_not_inherited() -> None:
    env = [{"name": "NODE_EXTRA_CA_CERTS", "value": "/certs/ca.pem"}]
    plan = a_plan(home=home(env=env, not_inherited=[NotInherited("/certs", "certs", "emptyDir")]))
    assert any(note.endswith("NODE_EXTRA_CA_CERTS") for note in plan.notes)
    ca: dict[str, Any] = {"name": "ca", "configMap": {"name": "company-ca"}}
    plan = a_plan(home=home(HomeMount("/certs", ca), env=env))
    assert not [note for note in plan.notes if "NODE_EXTRA_CA_CERTS" in note]
