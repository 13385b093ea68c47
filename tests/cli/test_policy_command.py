"""`claude-k8s policy`, and what the options --kubeconfig and --config allow beyond the policy."""

from pathlib import Path

import pytest
import yaml

from paperclip_claude_k8s.cli.grants import grants, with_grants
from paperclip_claude_k8s.cli.policy_command import policy
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS
from paperclip_claude_k8s.ports import ProcessSettings


def test_printed_policy_is_a_policy_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert policy({}) == 0
    printed = capsys.readouterr().out
    assert Policy.read(yaml.safe_load(printed)) == Policy()
    file = tmp_path / "policy.yaml"
    file.write_text(printed.replace("docker: true", "docker: false"))
    assert policy({"CLAUDE_K8S_POLICY": str(file)}) == 0
    printed = capsys.readouterr().out
    assert f"# From {file}" in printed
    assert Policy.read(yaml.safe_load(printed)) == Policy(docker=False)


def test_printed_policy_explains_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    policy({})
    assert capsys.readouterr().out.replace("\n# ", " ").count(" Default ") == len(POLICY_FIELDS)


def test_unusable_policy_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("imagse: []")
    assert policy({"CLAUDE_K8S_POLICY": str(file)}) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: policy: ")
    assert "imagse is not a field of the policy" in captured.err


def test_kubeconfig_named_by_an_option_may_run_exec_plugins(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    settings = with_grants(ProcessSettings(), grants(kubeconfig=str(file), config_file=None))
    assert settings.policy.allows_exec_plugin("aws")
    assert settings.policy.allows_plugin_variable("AWS_SECRET_ACCESS_KEY")
    assert settings.folders.kubeconfigs.allows(str(file))
    assert not settings.folders.kubeconfigs.allows(str(tmp_path / "other"))


def test_config_file_may_name_instructions_beside_it_but_no_exec_plugin(tmp_path: Path) -> None:
    granted = grants(kubeconfig=None, config_file=tmp_path / "config.json")
    settings = with_grants(ProcessSettings(), granted)
    assert settings.folders.instructions(None).allows(str(tmp_path / "AGENTS.md"))
    assert settings.folders.skills(None).allows(str(tmp_path / "skills" / "one"))
    assert not settings.folders.instructions(None).allows("/etc/shadow")
    assert not settings.policy.allows_exec_plugin("aws")


def test_grants_do_not_lift_other_limits_of_the_policy() -> None:
    strict = ProcessSettings(policy=Policy(docker=False, kubeconfigs=("/srv/k",)))
    granted = with_grants(strict, grants(kubeconfig="/home/me/kubeconfig", config_file=None)).policy
    assert granted.kubeconfigs == ("/srv/k", "/home/me/kubeconfig")
    assert granted.docker is False
