"""The relay's copy of stdout on the shared volume. Its failures are reported and affect nothing else."""

import asyncio
import glob
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.programs import mounted_tmpfs, program
from tests.support.relay_shells import RelayEnd, RelayRunner, output_of, relay_runner, summary

from paperclip_claude_k8s import relay

UID = "0a1b2c3d-1111-2222-3333-444455556666"
SLOW_SCRIPT = "i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); sleep 0.05; done"
STEPS_SCRIPT = (
    "echo one; until [ -e two ]; do sleep 0.05; done; echo two; until [ -e end ]; do sleep 0.05; done"
)
"""Prints "two" when a file of that name exists, and ends when a file `end` exists."""
SLOW_OUTPUT = b"".join(b"line %d\n" % number for number in range(30))


def relay_lines(ended: RelayEnd) -> list[bytes]:
    """The lines on stderr, all of which must be the relay's."""
    assert all(line.startswith(b"paperclip relay: ") for line in ended.stderr)
    return ended.stderr


def bytes_of(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def mode_of(file: Path) -> int:
    return file.lstat().st_mode & 0o777


async def first_bytes(file: Path) -> bytes:
    """The file's content, as soon as it has any."""
    async with asyncio.timeout(10):
        while not (found := bytes_of(file)):  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.02)
    return found


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The file to which the relay copies stdout. It does not exist yet."""
    return tmp_path / "volume" / "agent" / "run.ndjson"


async def test_copy_equals_the_log_and_is_private(runner: RelayRunner, shared: Path) -> None:
    output = b"x" * 70_000 + b"\n" + b"y" * 9_000_000
    (runner.folder / "output").write_bytes(output)
    ended = await runner.run("cat", str(runner.folder / "output"), env={relay.OUT: str(shared)})
    assert ended.stdout == output
    assert bytes_of(shared) == output
    assert [mode_of(at) for at in (shared.parent, shared)] == [0o700, 0o600]
    assert (summary(ended).copied, summary(ended).copy_trouble) == (len(output), None)


async def test_copy_grows_while_the_agent_works(runner: RelayRunner, shared: Path) -> None:
    async with runner.started("sh", "-c", "echo one; sleep 20", env={relay.OUT: str(shared)}) as process:
        assert await first_bytes(shared) == b"one\n"
        process.terminate()
        await runner.wait(process)


async def test_copy_has_each_line_before_the_log(runner: RelayRunner, shared: Path) -> None:
    """Therefore a reader of the copy finds all lines that the log has lost."""
    async with runner.started("sh", "-c", SLOW_SCRIPT, env={relay.OUT: str(shared)}) as process:
        log, read = await output_of(process), b""
        while line := await log.readline():
            read += line
            assert bytes_of(shared).startswith(read)
    assert read == SLOW_OUTPUT


SLOW_DD = """#!/bin/sh
case $(readlink /proc/$$/fd/1) in *.ndjson) sleep 0.7 ;; esac
exec {dd} "$@"
"""
"""A `dd` that waits before it writes to a copy."""


@pytest.mark.parametrize("shell", ["dash", "bash"])  # busybox uses its own dd regardless of PATH
async def test_slow_copy_does_not_delay_the_log(shell: str, tmp_path: Path, shared: Path) -> None:
    runner, size = relay_runner(shell, tmp_path), 60_000_000
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dd").write_text(SLOW_DD.format(dd=program("dd")), encoding="utf-8")
    (tools / "dd").chmod(0o755)
    env = {relay.OUT: str(shared), relay.COPY_SEC: "1", "PATH": f"{tools}:{os.environ['PATH']}"}
    async with runner.started("sh", "-c", f"head -c {size} /dev/zero; sleep 60", env=env) as process:
        log = await output_of(process)
        await log.readexactly(size)
        assert len(bytes_of(shared)) < size
        process.terminate()
        ended = await runner.wait(process)
    assert ended.code == 143
    assert summary(ended).bytes == size
    assert "in time" in (summary(ended).copy_trouble or "")


async def test_relay_without_a_copy_reports_no_trouble(runner: RelayRunner) -> None:
    ended = await runner.run("echo", "hi", env={relay.OUT: "", relay.POD: UID})
    assert (ended.stdout, relay_lines(ended)) == (b"hi\n", [])
    assert (summary(ended).copied, summary(ended).copy_trouble) == (None, None)


async def test_each_pod_has_its_own_copy(runner: RelayRunner, shared: Path) -> None:
    for uid in (UID, "ffffffff-1111-2222-3333-444455556666"):
        await runner.run("echo", uid, env={relay.OUT: str(shared), relay.POD: uid})
    assert bytes_of(shared.with_name("run.0a1b2c3d.ndjson")) == f"{UID}\n".encode()
    assert len(list(shared.parent.iterdir())) == 2


async def test_agent_is_not_started_if_another_pod_is_the_only_one_allowed(
    runner: RelayRunner, shared: Path
) -> None:
    other = "ffffffff-1111-2222-3333-444455556666"
    ended = await runner.run(
        "echo", "hi", env={relay.OUT: str(shared), relay.POD: UID, relay.ONLY_POD: other}
    )
    assert ended.code == summary(ended).exit_code == relay.NOT_ONLY_POD_CODE
    assert ended.stdout == b""
    assert relay_lines(ended) == [
        b"paperclip relay: Pod %s of this Job has run the agent already; this one does not start it"
        % other.encode()
    ]
    assert not await asyncio.to_thread(shared.parent.exists)


@pytest.mark.parametrize("only", ["", UID])
async def test_agent_is_started_in_the_only_allowed_pod_or_if_none_is_named(
    runner: RelayRunner, only: str
) -> None:
    ended = await runner.run("env", env={relay.POD: UID, relay.ONLY_POD: only})
    assert ended.code == 0
    assert b"PAPERCLIP_RELAY" not in ended.stdout


async def test_agent_is_not_started_in_a_pod_without_uid_if_only_one_pod_is_allowed(
    runner: RelayRunner,
) -> None:
    assert (await runner.run("env", env={relay.ONLY_POD: UID})).code == relay.NOT_ONLY_POD_CODE


async def test_full_volume_does_not_affect_the_agent(runner: RelayRunner, shared: Path) -> None:
    script = "head -c 2000000 /dev/zero | tr '\\0' x && echo && echo done"
    with mounted_tmpfs(shared.parent):
        ended = await runner.run("sh", "-c", script, env={relay.OUT: str(shared)})
        kept = bytes_of(shared)
    assert ended.code == 0
    assert ended.stdout == b"x" * 2_000_000 + b"\ndone\n"
    assert summary(ended).bytes == 2_000_006
    assert summary(ended).copied == len(kept) < 400_000  # the volume has 300 KiB
    assert kept == b"x" * len(kept)
    assert len(relay_lines(ended)) == 1
    assert b"No space left on device" in relay_lines(ended)[0]
    assert "No space left on device" in (summary(ended).copy_trouble or "")


async def test_read_only_volume_does_not_affect_the_agent(runner: RelayRunner, shared: Path) -> None:
    with mounted_tmpfs(shared.parent, "ro"):
        ended = await runner.run("sh", "-c", SLOW_SCRIPT, env={relay.OUT: str(shared)})
    assert_trouble_reported_once(ended, 0)


def assert_trouble_reported_once(ended: RelayEnd, copied: int | None = None) -> None:
    assert ended.code == 0
    assert ended.stdout == SLOW_OUTPUT
    assert len(relay_lines(ended)) == 1
    counts = summary(ended)
    assert counts.bytes == len(SLOW_OUTPUT)
    assert counts.copy_trouble
    if copied is not None:
        assert counts.copied == copied
    else:
        assert 0 <= (counts.copied or 0) <= counts.bytes


@pytest.mark.parametrize("where", ["/proc/nowhere/run.ndjson", "/dev/null/run.ndjson"])
async def test_folder_of_the_copy_that_cannot_be_created_is_named(runner: RelayRunner, where: str) -> None:
    ended = await runner.run("sh", "-c", SLOW_SCRIPT, env={relay.OUT: where})
    assert_trouble_reported_once(ended, 0)
    assert where.rsplit("/", 1)[0].encode() in relay_lines(ended)[0]


def replace_by_fifo(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def replace_by_link(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"theirs")
    file.unlink(missing_ok=True)
    file.symlink_to(other)


def replace_by_folder(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir(parents=True)


def replace_by_equal_file(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)


def append_garbage(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"garbage\n")


DAMAGES: list[Callable[[Path], None]] = [
    Path.unlink,
    replace_by_fifo,
    replace_by_link,
    replace_by_folder,
    replace_by_equal_file,
    append_garbage,
    lambda file: os.truncate(file, 3),
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_copy_is_not_continued(
    runner: RelayRunner, shared: Path, damage: Callable[[Path], None]
) -> None:
    async with runner.started("sh", "-c", SLOW_SCRIPT, env={relay.OUT: str(shared)}) as process:
        await first_bytes(shared)
        damage(shared)
        assert_trouble_reported_once(await runner.wait(process))
    if damage is replace_by_link:
        assert bytes_of(shared.with_name("other")) == b"theirs"
    if damage is append_garbage:
        assert bytes_of(shared).endswith(b"garbage\n")


@pytest.mark.parametrize("make", [replace_by_fifo, replace_by_link])
async def test_fifo_or_link_in_place_of_the_copy_is_replaced(
    runner: RelayRunner, shared: Path, make: Callable[[Path], None]
) -> None:
    shared.parent.mkdir(parents=True)
    make(shared)
    ended = await runner.run("sh", "-c", SLOW_SCRIPT, env={relay.OUT: str(shared)})
    assert (relay_lines(ended), summary(ended).copied) == ([], len(SLOW_OUTPUT))
    assert mode_of(shared) == 0o600
    assert bytes_of(shared) == SLOW_OUTPUT


async def test_folder_in_place_of_the_copy_is_kept(runner: RelayRunner, shared: Path) -> None:
    replace_by_folder(shared)
    assert_trouble_reported_once(await runner.run("sh", "-c", SLOW_SCRIPT, env={relay.OUT: str(shared)}), 0)


def pids_that_opened(file: Path) -> list[int]:
    """The processes that have this file open."""
    found = []
    for link in map(Path, glob.iglob("/proc/[0-9]*/fd/*")):  # noqa: PTH207  # skips processes that end meanwhile
        try:
            if link.readlink() == file:
                found.append(int(link.parts[2]))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("ends_well", [True, False])
async def test_hanging_volume_delays_neither_agent_nor_log(
    runner: RelayRunner,
    shared: Path,
    ends_well: bool,  # noqa: FBT001
) -> None:
    env = {relay.OUT: str(shared), relay.COPY_SEC: "1"}
    async with runner.started("sh", "-c", f"cd {runner.folder}; {STEPS_SCRIPT}", env=env) as process:
        await first_bytes(shared)
        stopped = pids_that_opened(shared)
        for pid in stopped:
            # a short command of the copying process may have ended meanwhile
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        (runner.folder / "two").touch()
        log = await output_of(process)
        assert [await log.readline() for _ in range(2)] == [b"one\n", b"two\n"]
        if ends_well:
            (runner.folder / "end").touch()
        else:
            process.terminate()
        ended = await runner.wait(process)
    assert ended.code == (0 if ends_well else 143)
    assert summary(ended).bytes == 8
    assert summary(ended).copied == 4
    assert any(b"ends after 4 bytes" in line for line in ended.stderr)
    assert "in time" in (summary(ended).copy_trouble or "")
    for pid in set(stopped) & set(pids_that_opened(shared)):  # The relay could not end stopped processes.
        os.kill(pid, signal.SIGKILL)
