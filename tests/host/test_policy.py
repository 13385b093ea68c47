"""The fields of a policy, how a policy is read, and which folders it allows."""

from pathlib import Path
from typing import Any

import pytest

from paperclip_claude_k8s import create_server_adapter
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.policy import Policy, PolicyInvalid
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS
from paperclip_claude_k8s.host.policy_file import POLICY_BYTES, read_policy
from paperclip_claude_k8s.host.policy_folders import HostFolders
from paperclip_claude_k8s.ports import ProcessSettings

HOME = {"HOME": "/home/me"}
INSTANCE = "/home/me/.paperclip/instances/default"
"""Where the Paperclip server of this user keeps its files."""


def folders(env: dict[str, str] = HOME, **policy: Any) -> HostFolders:
    return HostFolders(Policy(**policy), env, "/paperclip")


def test_every_field_is_documented_once() -> None:
    assert sorted(field.name for field in POLICY_FIELDS) == sorted(Policy.model_fields)
    settings = [name for field in POLICY_FIELDS for name in field.settings]
    assert set(settings) <= set(AdapterConfig.model_fields)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"imagez": []}, "imagez is not a field"),
        ({"images": "x"}, "images: expected a list of names or patterns"),
        ({"images": [""]}, "images: expected a list"),
        ({"images": [1]}, "images: expected a list"),
        ({"docker": "no"}, "docker: expected true or false"),
        ({"kubeconfigs": ["relative"]}, "kubeconfigs: expected a list of paths"),
        ({"instructionRoots": ["$HOME/x"]}, "instructionRoots: expected a list of paths"),
        ({"maxCpu": "many"}, "maxCpu: expected a Kubernetes quantity"),
        ({"maxTimeoutSec": -1}, "maxTimeoutSec: expected a number of seconds"),
        ([], "expected one object"),
        ("x", "expected one object"),
        (None, "expected one object"),
    ],
)
def test_invalid_policy_names_field_and_expectation(policy: Any, message: str) -> None:
    with pytest.raises(PolicyInvalid, match=message):
        Policy.read(policy)


def test_policy_file_is_json_or_yaml(tmp_path: Path) -> None:
    for text in ('{"docker": false}', '{\n\t"docker":\tfalse\n}', "docker: false\n"):
        (tmp_path / "policy").write_text(text)
        assert read_policy({"CLAUDE_K8S_POLICY": str(tmp_path / "policy")}) == Policy(docker=False)


@pytest.mark.parametrize(
    "text",
    [
        "podTemplate: false\nimages: []\npodTemplate: true\n",
        '"podTemplate": false\npodTemplate: true\n',
        "podTemplate: false\npod_template: true\n",
        '{"podTemplate": false, "podTemplate": true}',
        '{"podTemplate": false, "pod_template": true}',
    ],
)
def test_policy_file_with_a_field_twice_is_invalid(tmp_path: Path, text: str) -> None:
    """One of the two values would have no effect."""
    (tmp_path / "policy").write_text(text)
    with pytest.raises(PolicyInvalid, match="podTemplate is there twice: leave one out"):
        read_policy({"CLAUDE_K8S_POLICY": str(tmp_path / "policy")})


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_blank_policy_variable_is_an_error(blank: str) -> None:
    """A template of a deployment with an empty value must not give every config the default policy."""
    with pytest.raises(PolicyInvalid, match="set it to the path of a file, or unset it"):
        read_policy({"CLAUDE_K8S_POLICY": blank})
    assert ProcessSettings.read({"CLAUDE_K8S_POLICY": blank}).policy_error is not None


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("a[bc]", "a[bc]", True),
        ("a[bc]", "ab", False),
        ("a[!x]*", "a[!x]y", True),
        ("a[!x]*", "aby", False),
        ("a]?", "a]b", True),
        ("[", "[", True),
    ],
)
def test_brackets_in_patterns_stand_for_themselves(pattern: str, name: str, allowed: bool) -> None:  # noqa: FBT001
    assert Policy(images=[pattern]).allows("images", name) is allowed


def test_policy_file_must_be_a_regular_file_of_bounded_size(tmp_path: Path) -> None:
    (tmp_path / "large").write_text(" " * (POLICY_BYTES + 1))
    for path in (tmp_path / "large", tmp_path, "/dev/zero", "/proc/self/environ"):
        with pytest.raises(PolicyInvalid, match=str(path)):
            read_policy({"CLAUDE_K8S_POLICY": str(path)})


def test_policy_can_be_passed_to_the_adapter() -> None:
    adapter = create_server_adapter(policy={"docker": False})
    hints = {field["key"]: field["hint"] for field in adapter.get_config_schema()["fields"]}
    assert hints["enableDocker"].startswith("Not allowed by this host's policy.")
    with pytest.raises(ValueError, match="imagez"):
        Adapter(policy={"imagez": []})


def test_unusable_policy_file_does_not_prevent_the_start_of_the_host(tmp_path: Path) -> None:
    settings = ProcessSettings.read({"CLAUDE_K8S_POLICY": str(tmp_path / "nowhere")})
    assert settings.policy_error is not None
    assert Adapter(settings).get_config_schema()["fields"]


SYSTEM_FOLDERS = """
    / // /. /home /home/ /home/me /home/me/.ssh /home/me/work/.git /etc /etc/x /root /root/x /usr/lib /var
    /var/lib/kubelet /run/secrets /boot /bin /lib64 /sbin /proc /proc/1/root /sys /dev /dev/shm //etc
    /tmp/../etc /paperclip/x
"""


@pytest.mark.parametrize("path", SYSTEM_FOLDERS.split())
def test_system_folder_may_not_be_the_shared_volume(path: str) -> None:
    assert not folders().volumes.allows(path)


@pytest.mark.parametrize(
    "path", ["/paperclip", "/mnt/x", "/srv/x", "/data", "/var-of-mine", "/home/me/volume", "/opt/volume"]
)
def test_other_folder_may_be_the_shared_volume(path: str) -> None:
    assert folders().volumes.allows(path)


def test_only_folders_that_the_policy_names_may_be_shared_volumes() -> None:
    rule = folders(shared_volume_dirs=("/var/lib/volumes/*/data", "~/volume")).volumes
    allowed = ("/var/lib/volumes/a/data", "/var/lib/volumes/a/data/below", "/home/me/volume")
    assert all(map(rule.allows, allowed))
    refused = ("/var/lib/volumes/a", "/var/lib/volumes/a/b/data", "/mnt/x", "/paperclip", "/home/me/volume2")
    assert not any(map(rule.allows, refused))


def test_instructions_are_allowed_where_the_server_keeps_them_and_on_the_volume() -> None:
    rule = folders().instructions("/paperclip")
    allowed = (
        f"{INSTANCE}/companies/c/agents/a/instructions/AGENTS.md",
        f"{INSTANCE}/workspaces/a/AGENTS.md",
        f"{INSTANCE}/projects/c/p/_default/AGENTS.md",
        "/paperclip/any",
    )
    assert all(map(rule.allows, allowed))
    refused = (
        "/etc/shadow",
        "/proc/self/environ",
        "/home/me/.ssh/id_rsa",
        f"{INSTANCE}/secrets/master.key",
        f"{INSTANCE}/.env",
        f"{INSTANCE}/config.json",
        f"{INSTANCE}/data/backups/x.sql",
        f"{INSTANCE}/companies/c/codex-home/auth.json",
        f"{INSTANCE}/companies/c/agents/a/codex-home/auth.json",
        f"{INSTANCE}/companies/c/agents/a/instructions/../codex-home/auth.json",
        f"{INSTANCE}/workspaces/../secrets/master.key",
        f"{INSTANCE}/workspaces-of-others/x",
        "/paperclip/../etc/shadow",
    )
    assert not any(map(rule.allows, refused))


def test_volume_that_only_the_config_names_is_not_trusted() -> None:
    assert folders().trusted_volume("/srv/secrets") == "/paperclip"
    named = folders(shared_volume_dirs=("/srv",))
    assert named.trusted_volume("/srv/volume") == "/srv/volume"
    assert named.trusted_volume("/srv/../etc") == "/paperclip"
    assert not folders().instructions(None).allows("/paperclip/x")


def test_skills_of_the_server_are_allowed() -> None:
    env = HOME | {"CLAUDE_K8S_SERVER_SKILLS": "/app/server/skills:/app/skills", "PAPERCLIP_HOME": "/data"}
    rule = folders(env).skills(None)
    assert rule.allows("/app/server/skills/paperclip")
    assert rule.allows("/data/instances/default/skills/c/__runtime__/one")
    assert not rule.allows("/app/server/dist")
    assert not folders().skills(None).allows("/app/server/skills/paperclip")


def test_kubeconfig_may_be_anywhere_except_where_agents_and_users_write() -> None:
    rule = folders(shared_volume_dirs=("/mnt/volume",)).kubeconfigs
    assert all(map(rule.allows, ("/home/me/.kube/config", "/etc/kubernetes/admin.conf", "/srv/kubeconfig")))
    refused = (
        "/paperclip/x",
        "/mnt/volume/x",
        f"{INSTANCE}/data/storage/upload",
        "/proc/self/environ",
        "/dev/fd/3",
    )
    assert not any(map(rule.allows, refused))


def test_links_in_the_folders_of_the_policy_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    rule = folders(instruction_roots=(str(tmp_path / "link"),)).instructions(None)
    assert rule.allows(str(tmp_path / "real" / "AGENTS.md"))
    assert not rule.allows(str(tmp_path / "AGENTS.md"))


def test_only_the_star_is_special_in_a_folder_of_the_policy() -> None:
    rule = folders(instruction_roots=("/srv/[ab]/?",)).instructions(None)
    assert rule.allows("/srv/[ab]/?/x")
    assert not rule.allows("/srv/a/b/x")


def test_instance_folder_is_named_by_variables_and_needs_a_home() -> None:
    assert not folders({}).instructions(None).allows("/instances/default/workspaces/x")
    other = folders({"PAPERCLIP_HOME": "/data", "PAPERCLIP_INSTANCE_ID": "two"}).instructions(None)
    assert other.allows("/data/instances/two/workspaces/x")
    assert not other.allows("/data/instances/default/workspaces/x")
