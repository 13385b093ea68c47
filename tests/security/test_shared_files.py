"""The relay starts no agent whose files on the shared volume were changed by another agent."""

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.relay_shells import SHELLS, RelayRunner, relay_runner, summary

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.plan.shared_files import SharedFile, render_list

FOLDER = "b/0123 4567"
FILES = {
    f"{FOLDER}/agent-instructions.md": b"Be kind.",
    f"{FOLDER}/.claude/skills/s/SKILL.md": b"# Skill",
    f"{FOLDER}/.claude/skills/s/bin/run it": b"#!/bin/sh\necho the skill runs\n",
    f"{FOLDER}/.claude/skills/s/empty": b"",
    f"{FOLDER}/.claude/skills/s/bin/-n 3.04\u202fPM  \U0001f468\u200d\U0001f467: OK": b"odd name",
    "run-files/job/prompt.txt": b"y" + b"x" * 100_000,
}
PROMPT = "run-files/job/prompt.txt"
SKILL = f"{FOLDER}/.claude/skills/s"
AGENT = 'wc -c; cd "$1/.claude/skills/s" && cat "$1/agent-instructions.md" && ./bin/run\\ it && ls -A'
"""Prints the size of the prompt, the instructions, what the skill's program prints, and its files' names."""


@pytest.fixture(params=SHELLS)
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> RelayRunner:
    return relay_runner(request.param, tmp_path)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    for path, content in FILES.items():
        file = tmp_path / "volume" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "volume"


def relay_env(runner: RelayRunner, volume: Path, seconds: int = 20) -> dict[str, str]:
    listed = [
        SharedFile.of(path, content, executable=path.endswith("/run it")) for path, content in FILES.items()
    ]
    (runner.folder / "list").write_text(render_list(listed), encoding="utf-8")
    return {
        relay.VOLUME: str(volume),
        relay.FILES: str(runner.folder / "list"),
        relay.FILES_SEC: str(seconds),
        relay.PROMPT: str(copies_folder(runner) / PROMPT),
    }


def copies_folder(runner: RelayRunner) -> Path:
    return runner.folder / "scratch" / relay.COPIES


def agent_command(runner: RelayRunner) -> list[str]:
    return ["sh", "-c", AGENT, "agent", str(copies_folder(runner) / FOLDER)]


async def test_agent_reads_the_verified_copies(runner: RelayRunner, volume: Path) -> None:
    (volume / SKILL / "evil.md").write_text("a file that Paperclip did not write", encoding="utf-8")
    ended = await runner.run(*agent_command(runner), env=relay_env(runner, volume))
    assert ended.code == 0
    assert ended.stdout.split() == [
        *(b"100001", b"Be", b"kind.the", b"skill", b"runs"),
        *(b"SKILL.md", b"bin", b"empty"),
    ]


async def test_change_after_the_start_does_not_reach_the_agent(runner: RelayRunner, volume: Path) -> None:
    env = relay_env(runner, volume)
    script = f"cd {runner.folder}; touch started; until [ -e go ]; do sleep 0.05; done; {AGENT}"
    async with runner.started("sh", "-c", script, *agent_command(runner)[3:], env=env) as process:
        while not (runner.folder / "started").exists():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.02)
        (volume / FOLDER / "agent-instructions.md").write_text("EVIL", encoding="utf-8")
        (runner.folder / "go").touch()
        ended = await runner.wait(process)
    assert b"Be kind." in ended.stdout


async def test_many_small_files_are_copied_and_verified(runner: RelayRunner, tmp_path: Path) -> None:
    files = {f"{SKILL}/f {number}": b"%d" % number for number in range(450)}
    for path, content in files.items():
        (tmp_path / "many" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "many" / path).write_bytes(content)
    listed = [SharedFile.of(path, content, executable=False) for path, content in files.items()]
    env = relay_env(runner, tmp_path / "many")
    (runner.folder / "list").write_text(render_list(listed), encoding="utf-8")
    (runner.folder / "prompt").write_text("x", encoding="utf-8")
    env[relay.PROMPT] = str(runner.folder / "prompt")
    ended = await runner.run(
        "sh", "-c", 'cat "$1"/f* | wc -c', "sh", str(copies_folder(runner) / SKILL), env=env
    )
    assert ended.code == 0
    assert int(ended.stdout) == sum(map(len, files.values()))


def _rewrite(file: Path) -> None:
    file.write_bytes(file.read_bytes()[::-1])


def _replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _replace_by_endless_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def _replace_by_huge_file(file: Path) -> None:
    os.truncate(file, 0)
    os.truncate(file, 2**40)


def _rename_parents(file: Path) -> None:
    """Put another folder in place of the host's. An agent that owns the folder above can do this."""
    file.parent.rename(file.parent.with_name("stolen"))
    file.parent.mkdir()
    file.write_text("EVIL", encoding="utf-8")


CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten": _rewrite,
    "emptied": lambda file: os.truncate(file, 0),
    "removed": Path.unlink,
    "folder": _replace_by_folder,
    "pipe": _replace_by_pipe,
    "endless device": _replace_by_endless_device,
    "huge": _replace_by_huge_file,
    "parents renamed": _rename_parents,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("path", [PROMPT, f"{FOLDER}/agent-instructions.md", f"{SKILL}/SKILL.md"])
async def test_changed_file_keeps_the_agent_from_starting(
    runner: RelayRunner, volume: Path, change: str, path: str
) -> None:
    env = relay_env(runner, volume, seconds=1 if change == "pipe" else 20)
    CHANGES[change](volume / path)
    ended = await runner.run("touch", str(runner.folder / "started"), env=env)
    assert ended.code == relay.FILES_CHANGED_CODE
    assert not (runner.folder / "started").exists()
    assert any(b"is not what Paperclip wrote" in line for line in ended.stderr)
    changed = summary(ended).changed
    assert changed is not None
    # with these three changes, the relay may not know which file was changed
    assert change in ("pipe", "folder", "parents renamed") or Path(path).name in changed


async def test_stop_while_the_volume_hangs_ends_the_relay_at_once(runner: RelayRunner, volume: Path) -> None:
    env = relay_env(runner, volume, seconds=60)
    _replace_by_pipe(volume / PROMPT)
    async with runner.started(*agent_command(runner), env=env) as process:
        await asyncio.sleep(0.5)
        process.terminate()
        async with asyncio.timeout(10):
            ended = await runner.wait(process)
    assert ended.code == 143
    assert summary(ended).changed is None


SEARCH_NONCE = """
exec 2>/dev/null
for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
  tr '\\000' '\\n' <"$file" | grep -q "NONCE=$1\\|^$1$\\|\036$1" && echo "$file"
done
grep -l "$1" "$2"/*
env | grep -c RELAY_NONCE
"""


async def test_agent_does_not_find_the_nonce_in_proc_or_in_the_relays_folder(runner: RelayRunner) -> None:
    """The agent gets the nonce here in two halves, so that its own arguments do not show it."""
    nonce, folder = secrets.token_hex(4), str(runner.folder / "scratch")
    script = f"{SEARCH_NONCE.replace('$1', '$1$3')}true"
    ended = await runner.run("sh", "-c", script, "sh", nonce[:4], folder, nonce[4:], env={relay.NONCE: nonce})
    # a bookmark of the relay, and "0" from the last line of the script
    assert ended.log == b"\x1e%s b 0 0\n0\n" % nonce.encode()
