"""The relay creates the folders of Claude Code on the session volume before the agent starts."""

from pathlib import Path

from tests.support.relay_shells import RelayRunner, summary

from paperclip_claude_k8s import relay

PRINT_FOLDERS = 'echo "$CLAUDE_CONFIG_DIR"; echo "$XDG_CACHE_HOME"; env'


def variables(volume: Path) -> dict[str, str]:
    return {
        relay.SESSION: str(volume),
        "CLAUDE_CONFIG_DIR": str(volume / "claude"),
        "XDG_CACHE_HOME": str(volume / "cache"),
    }


async def test_folders_are_created_for_the_agents_user_only(runner: RelayRunner, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o777)
    (volume / "claude").mkdir(mode=0o755)
    ended = await runner.run("sh", "-c", PRINT_FOLDERS, env=variables(volume))
    lines = ended.stdout.decode().splitlines()
    assert lines[:2] == [str(volume / "claude"), str(volume / "cache")]
    assert not [line for line in lines if line.startswith(relay.SESSION)]
    assert [(volume / name).stat().st_mode & 0o777 for name in ("claude", "cache")] == [0o700, 0o700]
    assert summary(ended).session_trouble is None


async def test_agent_starts_with_other_folders_if_the_volume_cannot_be_used(
    runner: RelayRunner, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.write_text("not a folder")
    ended = await runner.run("sh", "-c", PRINT_FOLDERS, env=variables(volume))
    config, cache = map(Path, ended.stdout.decode().splitlines()[:2])
    assert ended.code == 0
    assert (config.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o700, 0o700)
    assert runner.folder / "scratch" in config.parents
    trouble = summary(ended).session_trouble
    assert trouble is not None
    assert trouble.startswith("the session volume cannot be used: ")
    assert b"".join(ended.stderr).startswith(b"paperclip relay: this session ends with its Pod: the session")


async def test_variables_of_the_agent_are_unchanged_without_a_session_volume(runner: RelayRunner) -> None:
    ended = await runner.run(
        "sh", "-c", PRINT_FOLDERS, env={"CLAUDE_CONFIG_DIR": "/c", "XDG_CACHE_HOME": "/x"}
    )
    assert ended.stdout.decode().splitlines()[:2] == ["/c", "/x"]
    assert not Path("/c").exists()  # noqa: ASYNC240
