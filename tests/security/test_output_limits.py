"""An agent that prints too much: the relay stops it, keeps the log small, and lets the Pod end."""

import asyncio
from pathlib import Path

import pytest
from tests.support.relay_shells import PREFIX, SHELLS, RelayRunner, relay_runner, summary

from paperclip_claude_k8s import relay

MIB = 2**20
FLOOD = "trap '' TERM; while :; do cat lines; done"
LINE = b"x" * 70 + b"\n"


@pytest.fixture(params=SHELLS)
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> RelayRunner:
    (tmp_path / "lines").write_bytes(LINE * (5 * MIB // len(LINE)))
    return relay_runner(request.param, tmp_path)


def in_folder(runner: RelayRunner, script: str) -> list[str]:
    return ["sh", "-c", f"cd {runner.folder}; {script}"]


@pytest.mark.parametrize("stream", [1, 2])
async def test_agent_that_ignores_sigterm_is_killed_and_the_log_stays_small(
    runner: RelayRunner, stream: int
) -> None:
    flood = in_folder(runner, f"exec >&{stream}; {FLOOD}")
    ended = await runner.run(*flood, env={relay.LIMIT: str(MIB)})
    assert ended.code == 137
    assert summary(ended).limit_hit
    # 4 MiB: the marks that the relay puts before the lines of stderr
    assert len(ended.log) < MIB + relay.ABOVE_LIMIT + 4 * MIB
    assert ended.stderr[-1].startswith(b"paperclip relay: the rest of the output is left out")


async def test_copy_on_the_volume_ends_at_the_limit(runner: RelayRunner, tmp_path: Path) -> None:
    copy = tmp_path / "volume" / "r1.ndjson"
    env = {relay.LIMIT: str(MIB), relay.OUT: str(copy)}
    await runner.run(*in_folder(runner, FLOOD), env=env)
    assert copy.stat().st_size <= MIB + relay.ABOVE_LIMIT


async def test_stdout_and_stderr_count_together(runner: RelayRunner) -> None:
    script = in_folder(runner, "cat lines; cat lines >&2; sleep 30")
    ended = await runner.run(*script, env={relay.LIMIT: str(8 * MIB)})
    assert summary(ended).limit_hit
    assert ended.code == 143


async def test_agent_that_stops_on_sigterm_still_prints_its_last_lines(runner: RelayRunner) -> None:
    script = in_folder(runner, "trap 'echo the result; exit 0' TERM; cat lines; while :; do sleep 0.05; done")
    ended = await runner.run(*script, env={relay.LIMIT: str(MIB)})
    assert ended.code == 0
    assert ended.stdout.endswith(b"the result\n")
    assert summary(ended).limit_hit


async def test_much_stderr_is_copied_quickly_and_completely(runner: RelayRunner) -> None:
    script = in_folder(runner, "for i in 1 2 3 4; do cat lines; done >&2; printf end >&2; echo out")
    async with asyncio.timeout(30):
        ended = await runner.run(*script)
    assert ended.stdout == b"out\n"
    lines = 4 * (5 * MIB // len(LINE))
    assert len(ended.stderr) == lines + 1
    assert set(ended.stderr) == {LINE[:-1], b"end"}


async def test_long_line_of_stderr_is_split(runner: RelayRunner) -> None:
    script = in_folder(runner, "head -c 5000000 /dev/zero | tr '\\000' y >&2; echo >&2; echo short >&2")
    ended = await runner.run(*script)
    assert b"".join(ended.stderr) == b"y" * 5_000_000 + b"short"
    assert max(map(len, ended.stderr)) < 3 * MIB
    assert ended.log.startswith(PREFIX)
