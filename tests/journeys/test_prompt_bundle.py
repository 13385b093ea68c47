"""Instructions and skills of an agent reach its Pod from the disk of the Paperclip host."""

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.support.runs import Site

SCRIPT = r"""
printf '{"type":"system","subtype":"init","session_id":"%s","model":"m"}\n' "$SESSION"
while [ $# -gt 0 ]; do case $1 in
  --append-system-prompt-file) echo "instructions: $(cat "$2")" ;;
  --add-dir) cd "$2/.claude/skills/helper" && echo "skill: $(cat SKILL.md)" && ./bin/run ;;
  --resume) echo "resumes $2" ;;
esac; shift; done
printf '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"%s"}\n' "$SESSION"
"""
"""An agent that prints its instructions, runs its skill, and names the session that it resumes."""


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Any]:
    """A host's config with instructions and one skill."""
    folder = tmp_path / "helper"
    (folder / "bin").mkdir(parents=True)
    (folder / "SKILL.md").write_text("# How to count", encoding="utf-8")
    (folder / "bin" / "run").write_text("#!/bin/sh\necho the skill runs\n", encoding="utf-8")
    (folder / "bin" / "run").chmod(0o755)
    instructions = tmp_path / "AGENTS.md"
    instructions.write_text("Count calmly. Grüße", encoding="utf-8")
    return {
        "instructionsFilePath": str(instructions),
        "paperclipRuntimeSkills": [{"key": "co/helper", "runtimeName": "helper", "source": str(folder)}],
        "paperclipSkillSync": {"desiredSkills": ["co/helper"]},
    }


def change_instructions(path: str) -> None:
    Path(path).write_text("Count fast.", encoding="utf-8")


@pytest.mark.real
async def test_shared_volume_bundle_is_delivered_once_per_session(real: Site, bundle: dict[str, Any]) -> None:
    session = str(uuid.uuid4())
    config = {**bundle, "sharedVolumeDir": os.environ["SHARED_VOLUME_FOR_TESTS"]}
    env = {"CLAUDE_SCRIPT": SCRIPT, "SESSION": session}

    first, host_log = await real.run(env, config=config | {"env": env})
    assert first.error_message is None
    assert "instructions: Count calmly. Grüße" in host_log.stdout
    assert "skill: # How to count\nthe skill runs\n" in host_log.stdout
    assert "Skills bundled (1): helper\n" in host_log.status
    assert "Skills (1): helper" in host_log.meta[0]["commandNotes"]
    assert first.session_params is not None
    assert first.session_params["promptBundleKey"]

    runtime = {"sessionParams": first.session_params}
    _, again = await real.run(env, config=config | {"env": env}, runtime=runtime)
    assert f"resumes {session}" in again.stdout
    assert "instructions:" not in again.stdout
    assert "the skill runs" in again.stdout

    change_instructions(bundle["instructionsFilePath"])
    _, changed = await real.run(env, config=config | {"env": env}, runtime=runtime)
    assert "Starting a fresh session: the prompt bundle changed" in changed.status
    assert "instructions: Count fast." in changed.stdout
    assert await real.leftovers() == []


async def test_bundle_is_delivered_without_a_shared_volume(site: Site, bundle: dict[str, Any]) -> None:
    env = {"CLAUDE_SCRIPT": SCRIPT, "SESSION": str(uuid.uuid4())}
    result, host_log = await site.run(config={**bundle, "env": env})
    assert result.error_message is None
    assert "instructions: Count calmly. Grüße" in host_log.stdout
    assert "Skills are not delivered" not in host_log.status
    assert "the skill runs" in host_log.stdout


async def test_large_skills_without_a_volume_are_unpacked_before_the_agent_starts(
    site: Site, bundle: dict[str, Any]
) -> None:
    source = Path(bundle["paperclipRuntimeSkills"][0]["source"])
    (source / "data").write_bytes(os.urandom(3_000_000))
    env = {"CLAUDE_SCRIPT": SCRIPT, "SESSION": str(uuid.uuid4())}
    result, host_log = await site.run(config={**bundle, "env": env})
    assert result.error_message is None, host_log.status
    assert "skill: # How to count\nthe skill runs\n" in host_log.stdout
    assert "instructions: Count calmly. Grüße" in host_log.stdout
    assert await site.leftovers() == []
