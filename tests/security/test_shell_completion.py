"""Odd names and ids add no command to shell completion, or to a command that the CLI proposes."""

import shlex
from pathlib import Path

import pytest
import yaml
from tests.support.cli_commands import claude_k8s

from paperclip_claude_k8s.cli.next_commands import next_commands
from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.state import State

UNSAFE = [
    "x\\",
    "$(touch x)",
    "`touch x`",
    "x) ; touch x",
    'x"',
    "x'",
    "-x",
    "x y",
    "x;y",
    "x|y",
    "\x1b[2J",
    "",
]
ORDINARY = ["admin@prod", "arn:aws:eks:eu-west-1:123456789012:cluster/x", "gke_a_b_c", "ns/host:6443/me"]


async def complete(args: str, env: dict[str, str]) -> list[str]:
    env = {**env, "_CLAUDE_K8S_COMPLETE": "complete_bash", "COMP_WORDS": args}
    _, out, _ = await claude_k8s(env={**env, "COMP_CWORD": str(len(args.split()))})
    return out.splitlines()


async def test_only_contexts_of_harmless_characters_are_offered(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump({"contexts": [{"name": name} for name in (*UNSAFE, *ORDINARY)]}))
    env = {"KUBECONFIG": f"{file}:{tmp_path / 'missing'}"}
    assert sorted(await complete("claude-k8s jobs --context", env)) == ORDINARY


@pytest.mark.parametrize("agent", [") ; $(touch x) ; (", "`touch x`", 'a"b', "a'b", "a\\"])
async def test_description_of_a_completed_run_id_has_no_shell_character(agent: str, tmp_path: Path) -> None:
    request = {"agent": {"id": agent}, "config": {}, "context": {}}
    State(tmp_path).write(Record("r1", "2026-01-01T00:00:00Z", request))
    env = {"CLAUDE_K8S_STATE_DIR": str(tmp_path), "_CLAUDE_K8S_COMPLETE": "complete_zsh"}
    _, out, _ = await claude_k8s(env={**env, "_TYPER_COMPLETE_ARGS": "claude-k8s logs "})
    word, description = out.strip().removeprefix("_arguments '*: :((").removesuffix("))'").split('":"')
    assert word == '"r1'
    assert not set(description.removesuffix('"')) & set("()$`\"';|&<>")


async def test_settings_are_offered_after_explain() -> None:
    assert await complete("claude-k8s explain", {}) != []


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("may_continue", [True, False])
def test_id_in_a_proposed_command_is_one_word(*, ended: bool, may_continue: bool) -> None:
    run = "x; touch $(id) #"
    proposed = next_commands(run, ended=ended, may_continue=may_continue, is_held=False)
    assert all(run in shlex.split(command) for command in proposed)
