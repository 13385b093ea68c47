"""The relay script under every installed shell: output, exit code, signals, marked lines."""

import asyncio
import hashlib
import os
import random
import signal
from pathlib import Path

import pytest
from tests.support.programs import program
from tests.support.relay_shells import APPLETS, FIRST_LINE, NONCE, PREFIX, RelayRunner, output_of, summary

from paperclip_claude_k8s import relay


async def wait_for(path: Path) -> None:
    """Wait until another process has created the file."""
    async with asyncio.timeout(40):
        while not path.exists():  # noqa: ASYNC110, ASYNC240  # another process writes it, on a local disk
            await asyncio.sleep(0.02)


async def test_relay_passes_stdin_stdout_stderr_and_exit_code(runner: RelayRunner) -> None:
    ended = await runner.run("sh", "-c", "cat; echo out; printf '%s\\n' 'bad  %s \\n thing' >&2; exit 3")
    assert ended.code == 3
    assert ended.stdout == b"the prompt\nout\n"
    assert ended.stderr == [b"bad  %s \\n thing"]
    assert summary(ended).exit_code == 3


async def test_log_begins_with_a_bookmark_before_any_output(runner: RelayRunner) -> None:
    async with runner.started("sh", "-c", "echo out") as process:
        assert process.stdout is not None
        assert await process.stdout.read() == FIRST_LINE + b"out\n"


async def test_any_bytes_arrive_with_counts_and_digest(runner: RelayRunner, tmp_path: Path) -> None:
    output = random.Random(1).randbytes(300_000).replace(b"\x1e", b"\n") + b"\n"  # noqa: S311
    (tmp_path / "output").write_bytes(output)
    ended = await runner.run("cat", str(tmp_path / "output"))
    assert ended.log == output
    counts = summary(ended)
    assert (counts.bytes, counts.lines) == (len(output), output.count(b"\n"))
    assert counts.sha256 == hashlib.sha256(output).hexdigest()


@pytest.mark.parametrize("reader_is_late", [False, True])
async def test_output_right_before_exit_is_not_lost(runner: RelayRunner, *, reader_is_late: bool) -> None:
    async with runner.started("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo; exit 0") as process:
        if reader_is_late:
            await asyncio.sleep(0.5)
        ended = await runner.wait(process)
    assert ended.log == b"x" * 3_000_000 + b"\n"


async def test_missing_last_newline_is_marked(runner: RelayRunner) -> None:
    ended = await runner.run("sh", "-c", "echo one; printf two")
    assert ended.log == b"one\ntwo" + PREFIX + b" n\n"
    assert (summary(ended).bytes, summary(ended).lines) == (7, 1)


async def test_stderr_never_splits_a_line_of_stdout(runner: RelayRunner) -> None:
    ended = await runner.run(
        "sh", "-c", "printf 'begin '; echo oops >&2; sleep 0.5; echo end; printf last >&2"
    )
    assert ended.stdout == b"begin end\n"
    assert ended.stderr == [b"oops", b"last"]
    assert b"begin end\n" in ended.log


async def test_flood_of_stderr_does_not_starve_stdout(runner: RelayRunner) -> None:
    ended = await runner.run(
        "sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; echo out"
    )
    assert ended.stdout == b"out\n"
    assert len(ended.stderr) == 2000


async def test_sigterm_is_passed_to_the_agent_and_its_exit_code_returned(runner: RelayRunner) -> None:
    script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    async with runner.started("sh", "-c", script) as process:
        log = await output_of(process)
        assert await log.readline() == b"ready\n"
        process.terminate()
        ended = await runner.wait(process)
    assert ended.code == 9
    assert ended.log == b"bye\n"


async def test_sigterm_is_passed_on_while_the_log_is_blocked(runner: RelayRunner, tmp_path: Path) -> None:
    trap = f"trap 'echo stopped > {tmp_path}/stopped; exit 0' TERM"
    script = f"{trap}; head -c 1000000 /dev/zero; echo; : > {tmp_path}/printed; sleep 60 & wait"
    async with runner.started("sh", "-c", script) as process:
        await wait_for(tmp_path / "printed")
        await asyncio.sleep(0.6)  # meanwhile, the relay fills the pipe
        process.terminate()
        await wait_for(tmp_path / "stopped")
        await runner.wait(process)


@pytest.mark.parametrize(("name", "code"), [("KILL", 137), ("TERM", 143)])
async def test_relay_exits_with_128_plus_the_signal_that_killed_the_agent(
    runner: RelayRunner, name: str, code: int
) -> None:
    assert (await runner.run("sh", "-c", f"kill -{name} $$")).code == code


async def test_bookmarks_during_silence_have_consistent_counts(runner: RelayRunner, tmp_path: Path) -> None:
    script = f"echo a; echo b; until [ -e {tmp_path}/enough ]; do sleep 0.1; done"
    async with runner.started("sh", "-c", script, env={relay.BOOKMARK_SEC: "1"}) as process:
        log = await output_of(process)
        seen = [await log.readline() for _ in range(4)]
        (tmp_path / "enough").touch()
        await runner.wait(process)
    assert seen == [b"a\n", b"b\n", *[PREFIX + b" b 4 2\n"] * 2]


async def test_missing_command_is_reported_as_a_line_of_stderr(runner: RelayRunner) -> None:
    ended = await runner.run("no-such-command")
    assert ended.code == 127
    assert any(b"no-such-command" in line for line in ended.stderr)


async def test_missing_prompt_is_reported_with_a_next_step(runner: RelayRunner, tmp_path: Path) -> None:
    (tmp_path / "prompt").unlink()
    ended = await runner.run("cat")
    assert ended.code == 66
    assert any(b"check the run Secret" in line for line in ended.stderr)


async def test_agent_over_the_output_limit_is_stopped_and_reported(runner: RelayRunner) -> None:
    ended = await runner.run(
        "sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxx; done", env={relay.LIMIT: "100000"}
    )
    assert summary(ended).limit_hit
    assert ended.code == 143


async def test_background_process_does_not_delay_the_end(runner: RelayRunner, tmp_path: Path) -> None:
    ended = await runner.run("sh", "-c", f"sleep 100 & echo $! > {tmp_path}/left; echo done")
    assert ended.stdout == b"done\n"
    # The background process still runs; otherwise this raises ProcessLookupError.
    os.kill(int((tmp_path / "left").read_text(encoding="utf-8")), signal.SIGKILL)


async def test_agent_does_not_see_the_relays_variables(runner: RelayRunner) -> None:
    ended = await runner.run("env")
    assert b"KEEP=kept" in ended.stdout
    assert b"PAPERCLIP_RELAY" not in ended.stdout


async def test_files_of_an_earlier_container_are_ignored(runner: RelayRunner) -> None:
    assert (await runner.run("echo", "first")).stdout == b"first\n"
    ended = await runner.run("sh", "-c", "sleep 0.7; echo second")
    assert ended.stdout == b"second\n"


async def test_agent_that_changes_the_scripts_does_not_change_the_relay(
    runner: RelayRunner, tmp_path: Path
) -> None:
    change = "for script in start.sh relay.sh; do echo 'echo forged' >$0/$script; done; sleep 0.7; echo done"
    ended = await runner.run("sh", "-c", change, str(tmp_path))
    assert (ended.stdout, ended.code) == (b"done\n", 0)


def test_script_has_no_comments_and_is_below_15_kb() -> None:
    text = relay.script("relay.sh")
    assert not any(line.lstrip().startswith("#") for line in text.splitlines())
    assert len(text) < 15_000


@pytest.mark.parametrize(
    "text", [None, "", "OOMKilled", "{", "[]", '{"relay":"other","bytes":1,"lines":1,"exit":0}']
)
def test_read_summary_is_none_for_another_termination_message(text: str | None) -> None:
    assert relay.read_summary(text, NONCE) is None


async def test_start_mark_is_created(runner: RelayRunner, tmp_path: Path) -> None:
    env = {relay.STARTED: str(tmp_path / "volume" / "run-starts"), relay.POD: "pod-uid"}
    mark = tmp_path / "volume" / "run-starts" / "pod-uid"
    ended = await runner.run("sh", "-c", f"until [ -e {mark} ]; do sleep 0.1; done; env", env=env)
    assert ended.code == 0
    assert mark.read_bytes() == b""
    assert mark.parent.stat().st_mode & 0o777 == 0o700
    assert b"PAPERCLIP_RELAY" not in ended.stdout


async def test_agent_runs_if_the_start_mark_cannot_be_created(runner: RelayRunner, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await runner.run(
        "echo", "done", env={relay.STARTED: str(tmp_path / "file"), relay.POD: "pod-uid"}
    )
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"done\n", [])


async def test_start_mark_follows_no_link(runner: RelayRunner, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept", encoding="utf-8")
    (tmp_path / "run-starts").mkdir()
    (tmp_path / "run-starts" / "pod-uid").symlink_to(tmp_path / "precious")
    await runner.run("sleep", "0.3", env={relay.STARTED: str(tmp_path / "run-starts"), relay.POD: "pod-uid"})
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("tool", ["dd", "head", "mkdir", "rm", "sleep", "wc"])
async def test_agent_is_not_started_in_an_image_without_a_needed_tool(tool: str, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in set(APPLETS) - {tool}:
        (programs / name).symlink_to(program("dash" if name == "sh" else name))
    runner = RelayRunner(tmp_path, str(programs))
    async with runner.started("sh", "-c", "echo worked") as process:
        assert await process.communicate() == (b"", f"paperclip relay: {tool}: not found\n".encode())
    assert process.returncode == 127
